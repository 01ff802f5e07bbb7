"""docs/operations.md: its sizing and its monitoring say what the code does."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from indexer.db.catalog import Catalog
from indexer.settings import Settings
from model import build, packing
from search_api.http.limits import Slots
from search_api.http.metrics import Metrics
from tests.support.servers import REPOSITORY
from workers.metrics import register

TABLE = (REPOSITORY / "docs" / "operations.md").read_text()


def cells(row: str) -> list[str]:
    """The cells of the table row that begins so."""
    found = re.search(rf"^\| {re.escape(row)} \|(.+)\|$", TABLE, re.MULTILINE)
    assert found is not None, row
    return [cell.strip() for cell in found.group(1).split("|")]


@pytest.mark.parametrize(
    ("row", "tier"),
    [
        ("region tokens", "tokens"),
        ("mask features", "masks"),
        ("prefilter vectors (4,096) and the rough head's tokens", "vectors"),
    ],
)
def test_bytes_a_photo_are_those_of_the_record_types(row: str, tier: str) -> None:
    for model, cell in zip(("rela-photo", "rela-mini", "rela-base"), cells(row), strict=True):
        size = packing.record_types(build.SIZES[model])[tier].itemsize
        assert cell == f"{size:,}", (row, model)


def test_a_million_photos_take_a_million_times_one() -> None:
    said = cells("1 M")[0]
    taken = []
    for model in ("rela-mini", "rela-base"):
        types = packing.record_types(build.SIZES[model])
        one = sum(types[tier].itemsize for tier in ("tokens", "masks", "vectors"))
        taken.append(f"{one * 1_000_000 / 1e9:.0f} GB")
    assert said == " / ".join(taken)


def metric_names(text: str) -> set[str]:
    """Names of our metrics in an expression, without what a histogram or counter adds."""
    found = set(re.findall(r"\breferent_[a-z_]+", text))
    return {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in found}


def test_dashboard_and_alerts_ask_for_metrics_that_there_are(settings: Settings) -> None:
    folder = REPOSITORY / "docs" / "monitoring"
    dashboard = json.loads((folder / "referent-dashboard.json").read_text())
    asked = set()
    for panel in dashboard["panels"]:
        assert panel["targets"], panel["title"]
        for target in panel["targets"]:
            asked |= metric_names(target["expr"])
    rules = yaml.safe_load((folder / "referent-alerts.yml").read_text())
    for rule in rules["groups"][0]["rules"]:
        asked |= metric_names(rule["expr"])
    assert len(asked) > 15
    with Catalog.open(settings) as catalog:
        served = Metrics(catalog, Slots(1, 1, 1.0))
        served.library.queue_lengths = lambda: {"encode": 0}
        register(served.registry)
        there = {metric.name for metric in served.registry.collect()}
    assert asked - there == set()


def test_scrape_sends_the_key_as_bearer() -> None:
    scrape = yaml.safe_load((REPOSITORY / "docs" / "monitoring" / "prometheus.yml").read_text())
    api = next(job for job in scrape["scrape_configs"] if job["job_name"] == "referent-api")
    assert api["authorization"]["type"] == "Bearer"
