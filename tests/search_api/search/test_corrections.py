"""Verdicts on hits: kept, replaced, exported, and an album's decision fitted to them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from indexer.db import audit
from model.calibration import Calibration
from search_api.errors import BadQuery
from search_api.http.app import create_app
from search_api.search import album_decisions, corrections, runs
from search_api.search.corrections import TooFewMarks
from search_api.search.events import Done
from search_api.search.pipeline import collect
from search_api.search.query import Query
from search_api.show import exports, marked
from tests.support.library import EXPRESSION, Library, make_library
from tests.support.terminal import Terminal
from training.data.grefcoco import read


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    made = make_library(tmp_path_factory.mktemp("marks"), 12)
    yield made
    made.engine.close()


@pytest.fixture
def done(library: Library) -> Done:
    query = Query(
        expression=EXPRESSION, threshold=library.threshold(), mode="exhaustive", rejected=12
    )
    return collect(library.engine, query)


def test_verdict_is_kept_replaced_and_taken_back_over_the_api(library: Library, done: Done) -> None:
    app = create_app(library.settings, host="127.0.0.1", engine=library.engine, warm_up=False)
    photo = done.matched[0].photo_id
    place = f"/v1/search/{done.run_id}/hits/{photo}/mark"
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.put(place, json={"verdict": "right"}).status_code == 200
        assert client.put(place, json={"verdict": "wrong_mask"}).status_code == 200
        assert client.put(place, json={"verdict": "missed"}).status_code == 422
        listed = client.get(f"/v1/search/{done.run_id}/marks").json()["marks"]
        assert [(m["photo"], m["verdict"]) for m in listed] == [(photo, "wrong_mask")]
        assert client.delete(place).status_code == 204
        assert client.get(f"/v1/search/{done.run_id}/marks").json()["marks"] == []


def test_rejected_photo_can_only_be_missed(library: Library, done: Done) -> None:
    photo = done.rejected[0].photo_id
    with pytest.raises(BadQuery, match="missed"):
        corrections.mark(library.engine.catalog, done.run_id, photo, "right")
    assert (
        corrections.mark(library.engine.catalog, done.run_id, photo, "missed").verdict == "missed"
    )
    corrections.unmark(library.engine.catalog, done.run_id, photo)


def test_right_and_wrong_verdicts_are_training_pairs(
    library: Library, done: Done, tmp_path: Path
) -> None:
    catalog = library.engine.catalog
    verdicts = ("right", "wrong", "wrong_mask")
    for decision, verdict in zip(done.matched, verdicts, strict=False):
        corrections.mark(catalog, done.run_id, decision.photo_id, verdict)
    album = library.engine.views("small")[0].album_id
    pairs = marked.training_pairs(library.engine, album)
    assert exports.grefcoco(library.engine, pairs, tmp_path) == 2
    rows = json.loads((tmp_path / "grefs(unc).json").read_text())
    wrong = next(row for row in rows if row["image_id"] == done.matched[1].photo_id)
    assert wrong["no_target"] is True
    assert len(read(tmp_path, "train").samples) == 2
    for run in runs.history(catalog)[0]:
        runs.forget(catalog, run.id)
    without_runs = list(marked.training_pairs(library.engine, album))
    assert [each.photo.id for _, each in without_runs] == [done.matched[1].photo_id]


def test_too_few_verdicts_are_refused(library: Library) -> None:
    album = library.engine.views("small")[0].album_id
    with pytest.raises(TooFewMarks, match="at least"):
        corrections.fit_album(library.engine, album)


def mark_all(library: Library) -> None:
    """The best nine are right and three wrong; the model, which is random, doubts most of them."""
    found = collect(library.engine, Query(expression=EXPRESSION, threshold=0.0, mode="exhaustive"))
    for rank, each in enumerate(found.matched):
        verdict: corrections.Verdict = "right" if rank < 9 else "wrong"
        corrections.mark(library.engine.catalog, found.run_id, each.photo_id, verdict)


def test_verdicts_lower_the_held_out_error_and_the_album_decides_by_them(
    library: Library,
) -> None:
    catalog = library.engine.catalog
    mark_all(library)
    view = library.engine.views("small")[0]
    fit = corrections.fit_album(library.engine, view.album_id)
    assert fit.marks == 12
    assert fit.log_loss_after < fit.log_loss_before
    album_decisions.keep(catalog, view.album_id, fit.calibration)
    assert library.engine.views("small")[0].calibration.revision == fit.calibration.revision
    head = view.predictor.fingerprints["head"]
    assert album_decisions.reset(catalog, view.album_id, "another network's") == 0
    assert album_decisions.reset(catalog, view.album_id, head) == 1
    assert library.engine.views("small")[0].calibration.revision == view.calibration.revision
    said = [(line.action, line.what) for line in audit.lines(catalog, limit=2)]
    of_album = f"album {view.album_id} (small), decides by {fit.calibration.revision}"
    assert said == [("album changed", f"{of_album} no more"), ("album changed", of_album)]


def test_command_prints_the_error_before_and_after_and_searches_decide_by_it(
    library: Library, referent: Terminal
) -> None:
    mark_all(library)
    code, out, err = referent("calibrate", "--album", "small")
    assert code == 0, err
    told = re.search(
        r"12 verdicts; held out, log loss ([\d.]+) before and ([\d.]+) after, "
        r"wrong decisions ([\d.]+)% before and ([\d.]+)% after", out
    )  # fmt: skip
    kept = re.search(r"kept as revision (\w{12})", out)
    assert told and kept
    assert float(told[2]) < float(told[1])
    _, out, _ = referent("search", EXPRESSION, "--json")
    run = runs.load(library.engine.catalog, json.loads(out)["run"])
    assert run.calibration_revision == kept[1]
    code, out, _ = referent("calibrate", "--album", "small", "--reset")
    assert code == 0 and "1 calibration of its own dropped" in out
    _, out, _ = referent("search", EXPRESSION, "--json")
    run = runs.load(library.engine.catalog, json.loads(out)["run"])
    assert run.calibration_revision == library.predictor.calibration.revision


@pytest.mark.parametrize("option", [("--reset",), ("--verifier", "rela-official-tiny")])
def test_options_of_an_album_are_refused_without_one(
    referent: Terminal, option: tuple[str, ...]
) -> None:
    code, _, err = referent("calibrate", *option)
    assert code == 2 and "--album" in err


def test_fit_helps_where_a_models_bias_is_off() -> None:
    dice = np.random.default_rng(1)
    target = dice.random(60) < 0.5
    logits = np.where(target, -1.0, 1.0) + dice.normal(0, 0.7, 60) + 3.0
    fit = corrections._fit(logits, target, np.repeat(np.arange(12), 5), Calibration())
    assert fit.helps
    assert fit.wrong_after < fit.wrong_before
