"""The networks that searches and jobs share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from indexer.settings import Settings
from search_api.search import models


def test_network_is_loaded_on_the_device_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Network:
        name = "rela-mini"

    def load(name: str, **options: Any) -> Network:
        asked.append((name, options["device"]))
        return Network()

    monkeypatch.setattr(models, "load_predictor", load)
    settings = Settings(home=tmp_path, device="cuda:1", model="rela-mini")
    loaded = models.Models(settings)
    assert loaded.default is loaded.default
    assert asked == [("rela-mini", "cuda:1")]
