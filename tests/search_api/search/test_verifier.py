"""A released network verifies a search's candidates: decisions, masks, coverage, budget, cancel."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from starlette.testclient import TestClient

from indexer.settings import Settings
from model.calibration import Calibration
from model.errors import UnknownModel, WeightsError
from search_api.http.app import create_app
from search_api.search import runs
from search_api.search.decisions import Decision, pack_decision, quantised, unpack_decision
from search_api.search.events import Done, Found, Progress, Started
from search_api.search.photos import one_photo
from search_api.search.pipeline import collect, search
from search_api.search.query import Query
from search_api.search.verifier import device_of
from search_api.show.shown import render, show
from tests.support.library import EXPRESSION, Library, make_library
from tests.support.official_trace import small_early_fusion

NAME = "rela-official-tiny"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    made = make_library(tmp_path_factory.mktemp("library"), 12)
    official = small_early_fusion()
    made.engine.verifiers.keep(official)
    logits = [
        d.no_target_logit for d in ask(made, mode="exhaustive", threshold=0.0, rejected=200).matched
    ]
    official.calibration = Calibration(bias=-float(np.median(logits)))
    yield made
    made.engine.close()


def ask(library: Library, **values: Any) -> Done:
    query = {"expression": EXPRESSION, "verifier": NAME, **values}
    return collect(library.engine, Query.model_validate(query))


def test_verifier_decides_instead_of_the_head(library: Library) -> None:
    done = ask(library, mode="exhaustive", rejected=200)
    assert done.coverage.verified == 12
    assert 0 < len(done.matched) < 12
    own = library.engine.verifiers.named(NAME)
    for decision in (*done.matched, *done.rejected):
        photo = one_photo(library.engine.catalog, decision.photo_id)
        (alone,) = own.encode([Image.open(photo.file).convert("RGB")]).judge([(0, EXPRESSION)])
        assert decision.no_target_logit == pytest.approx(alone.no_target_logit, abs=1e-5)
        assert np.allclose(decision.minimap, alone.minimap.ravel(), atol=1e-5)
        assert decision.accepted == (decision.confidence >= own.calibration.threshold)


def test_fast_mode_verifies_no_more_than_the_candidates(library: Library) -> None:
    done = ask(library, candidates=3)
    assert done.coverage.verified == done.coverage.prefiltered == 3
    everywhere = {d.photo_id for d in ask(library, mode="exhaustive").matched}
    assert {d.photo_id for d in done.matched} <= everywhere


def test_run_keeps_the_masks_and_names_the_verifier(library: Library) -> None:
    done = ask(library, mode="exhaustive")
    run, page = runs.page(library.engine.catalog, done.run_id, size=50)
    own = library.engine.verifiers.named(NAME)
    assert run.verifier == NAME
    assert run.fingerprints["verifier"] == own.fingerprint
    assert run.calibration_revision == own.calibration.revision
    assert run.threshold == own.calibration.threshold
    for hit, decision in zip(page.hits, done.matched, strict=True):
        photo = one_photo(library.engine.catalog, decision.photo_id)
        kept = render(library.engine, photo, hit.decision, "made by no cached features")
        fresh = render(library.engine, photo, decision, "")
        assert kept.array.shape == (photo.height, photo.width)
        assert np.array_equal(hit.decision.minimap, decision.minimap) and decision.minimap.size
        assert np.array_equal(kept.array, fresh.array)
    shown = show(library.engine, done.matched, "")
    assert all(hit.area is not None for hit in shown)


def test_api_offers_and_uses_the_verifier(library: Library) -> None:
    app = create_app(library.settings, host="127.0.0.1", engine=library.engine, warm_up=False)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get("/v1/models").json()["verifiers"] == [NAME]
        body = {"expression": EXPRESSION, "verifier": NAME, "mode": "exhaustive", "seconds": 600}
        answer = client.post("/v1/search", json=body).json()
        assert answer["run"]["coverage"]["verified"] == 12 and answer["hits"]
        run, photo = answer["run"]["id"], answer["hits"][0]["photo"]["id"]
        assert client.get(f"/v1/search/{run}").json()["verifier"] == NAME
        plain = client.post("/v1/search", json={"expression": EXPRESSION}).json()
        assert plain["run"]["verifier"] is None
        listed = {each["id"]: each["verifier"] for each in client.get("/v1/history").json()["runs"]}
        assert listed[run] == NAME and listed[plain["run"]["id"]] is None
        mask = client.get(f"/v1/search/{run}/hits/{photo}/mask.json")
        assert mask.status_code == 200 and mask.json()["rle"]["counts"]
        drawn = client.get(f"/v1/search/{run}/hits/{photo}/minimap.png?side=40")
        assert drawn.status_code == 200
        with Image.open(io.BytesIO(drawn.content)) as minimap:
            assert minimap.size == (40, 40) and len(minimap.getcolors(1600) or []) > 1
        refused = client.post("/v1/search", json={**body, "verifier": "rela-official-base"})
        assert 400 <= refused.status_code < 500
        assert "referent models import" in refused.text


def test_time_budget_stops_the_search_and_says_so(library: Library) -> None:
    done = ask(library, mode="exhaustive", seconds=1e-3)
    assert done.run.state == "stopped"
    assert done.coverage.verified < 12
    assert any("stopped after" in note.text for note in done.run.notes)


def test_progress_comes_with_every_batch_and_closing_cancels(library: Library) -> None:
    query = Query(expression=EXPRESSION, verifier=NAME, mode="exhaustive")
    kinds = [type(event) for event in search(library.engine, query)]
    assert kinds[0] is Started and kinds[-1] is Done
    assert kinds.count(Progress) == 2 and Found in kinds
    events = search(library.engine, query)
    started = next(events)
    assert isinstance(started, Started)
    next(event for event in events if isinstance(event, Progress))
    events.close()
    run = runs.load(library.engine.catalog, started.run_id)
    assert run.state == "stopped" and run.coverage.verified == 8


def test_photo_that_cannot_be_read_is_left_out_and_told(tmp_path: Path) -> None:
    own = make_library(tmp_path, 4)
    try:
        own.engine.verifiers.keep(small_early_fusion())
        next(own.photos.rglob("*.jpg")).write_bytes(b"no picture")
        done = ask(own, mode="exhaustive")
        assert done.coverage.verified == 3
        assert any(note.code == "unreadable" for note in done.run.notes)
    finally:
        own.engine.close()


def test_gpu_is_used_where_there_is_one_and_nobody_said_otherwise(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device_of(settings) == "cuda"
    monkeypatch.setenv("REFERENT_DEVICE", "cpu")
    assert device_of(Settings()) == "cpu"
    monkeypatch.delenv("REFERENT_DEVICE")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of(Settings()) == "cpu"


def test_verifier_that_was_not_imported_is_explained(tmp_path: Path) -> None:
    own = make_library(tmp_path, 1)
    try:
        with pytest.raises(WeightsError, match=r"referent models import FILE\.pth --as rela-off"):
            ask(own)
        with pytest.raises(UnknownModel, match="choose one of rela-official-base"):
            ask(own, verifier="rela-mini")
        with pytest.raises(ValidationError):
            ask(own, verifier="../../etc/passwd")
    finally:
        own.engine.close()


def test_kept_mask_logits_keep_their_sign_and_size() -> None:
    logits = np.array([[-40.0, -0.01, 0.0], [0.01, 1.06, 40.0]], np.float32)
    steps = quantised(logits)
    assert np.array_equal(np.sign(steps), np.sign(logits))
    assert abs(float(steps[1, 1]) * 0.125 - 1.06) <= 0.0625
    nothing = np.zeros(0, np.float32)
    regions = np.linspace(0, 1, 9, dtype=np.float32)
    blob = pack_decision(Decision(1, 0.5, True, 0.0, regions, nothing, steps))
    minimap, coefficients, kept = unpack_decision(blob)
    assert np.array_equal(kept, steps) and np.array_equal(minimap, regions)
    assert not coefficients.size
    # As older versions kept it: without a minimap.
    minimap, _, kept = unpack_decision(
        struct.pack("<BHH", 2, 2, 3) + zlib.compress(steps.tobytes())
    )
    assert np.array_equal(kept, steps) and not minimap.size
    for cut in (6, 9, 20):
        with pytest.raises(ValueError, match="damaged"):
            unpack_decision(blob[:cut])
    with pytest.raises(ValueError, match="damaged"):
        unpack_decision(blob[:6] + b"\x09" + blob[7:])
    with pytest.raises(ValueError, match="damaged"):
        unpack_decision(blob[:1] + b"\x09" + blob[2:])
    plain = Decision(1, 0.5, True, 0.0, np.ones(4, np.float32), np.ones(2, np.float32))
    minimap, coefficients, mask = unpack_decision(pack_decision(plain))
    assert len(minimap) == 4 and len(coefficients) == 2 and mask is None
