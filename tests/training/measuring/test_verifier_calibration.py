"""A verifier's decisions are calibrated on pairs, or in an album by its marks."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from torch import save

from model.calibration import Calibration
from model.importing import import_checkpoint
from model.official.verifier import load_verifier
from search_api.search import album_decisions, corrections, runs
from search_api.search.events import Done
from search_api.search.pipeline import collect
from search_api.search.query import Query
from tests.support.library import EXPRESSION, Library, make_library
from tests.support.official_trace import HERE, case_config, official_weights, small_early_fusion
from tests.support.terminal import Terminal
from training.data.album import AlbumPlan, write_album
from training.measuring.evaluate import PAIR_POINT

NAME = "rela-official-tiny"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    made = make_library(tmp_path_factory.mktemp("verified"), 12)
    own = small_early_fusion(NAME)
    made.engine.verifiers.keep(own)
    done = ask(made, NAME)
    logits = [each.no_target_logit for each in (*done.matched, *done.rejected)]
    own.calibration = Calibration(bias=-float(np.median(logits)))  # half of the photos match
    yield made
    made.engine.close()


def ask(library: Library, verifier: str | None) -> Done:
    query = {"expression": EXPRESSION, "verifier": verifier, "mode": "exhaustive", "rejected": 12}
    return collect(library.engine, Query.model_validate(query))


def test_album_decides_by_its_marks_for_the_verifier_and_for_nothing_else(
    library: Library,
) -> None:
    engine, catalog = library.engine, library.engine.catalog
    own = engine.verifiers.named(NAME)
    before = {verifier: ask(library, verifier) for verifier in (None, NAME)}
    everything = [*before[NAME].matched, *before[NAME].rejected]
    for at, each in enumerate(everything):
        verdict: corrections.Verdict = "wrong" if at % 3 else "right"
        if not each.accepted:
            verdict = "missed"
        corrections.mark(catalog, before[NAME].run_id, each.photo_id, verdict)
    album = engine.views("small")[0].album_id
    fit = corrections.fit_album(engine, album, verifier=NAME)
    assert fit.marks == 12
    assert fit.calibration.fitted_to == own.fingerprint
    album_decisions.keep(catalog, album, fit.calibration)
    after = ask(library, NAME)
    run = runs.load(catalog, after.run_id)
    assert run.calibration_revision == fit.calibration.revision
    assert run.threshold == round(fit.calibration.threshold, 6)
    for decision in (*after.matched, *after.rejected):
        confidence = fit.calibration.confidence(decision.no_target_logit)
        assert decision.confidence == pytest.approx(float(confidence), abs=1e-6)
        assert decision.accepted == (decision.confidence >= run.threshold)
    assert ask(library, None).matched_pairs() == before[None].matched_pairs()
    assert album_decisions.reset(catalog, album, own.fingerprint) == 1
    assert ask(library, NAME).matched_pairs() == before[NAME].matched_pairs()


def test_command_fits_an_imported_verifier_on_a_folder_of_pairs(
    referent: Terminal, library: Library, tmp_path: Path
) -> None:
    save({"model": dict(official_weights(HERE, "tiny_a"))}, tmp_path / "released.pth")
    small = dataclasses.replace(case_config(HERE, "tiny_a"), input_size=64)
    folder = library.settings.home / "models"
    weights = import_checkpoint(tmp_path / "released.pth", NAME, folder, config=small)
    for _ in write_album(AlbumPlan(photos=4, megapixels=0.02), tmp_path / "pairs"):
        pass
    code, out, _ = referent("calibrate", NAME, "--data", str(tmp_path / "pairs"), "--json")
    assert code == 0
    told = json.loads(out)
    verifier = load_verifier(weights)
    assert Path(told["path"]).parent == folder
    assert verifier.calibration.revision == told["revision"]
    assert verifier.calibration.fitted_to == verifier.fingerprint
    assert verifier.calibration.prior_shift == 0  # candidates of a prefilter are no album
    assert PAIR_POINT in verifier.calibration.points


def test_verifier_that_was_not_imported_is_not_calibrated(referent: Terminal) -> None:
    code, _, err = referent("calibrate", "rela-official-base")
    assert code == 2
    assert "referent models import" in err
