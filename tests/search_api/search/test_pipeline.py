"""One search: what it covers, what it decides, how it is kept, paged and opened again."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from uuid import UUID

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, update

from indexer.db.tables import Album, CalibrationRow, Photo
from indexer.errors import FeatureStoreAway, UnknownAlbum
from indexer.features.store import FeatureStore
from model.calibration import Calibration
from model.precision import HeadDtype
from search_api.errors import NotIndexed, StillRunning, UnknownRun
from search_api.search import planning, retention, runs
from search_api.search.booleans import Part
from search_api.search.engine import Engine
from search_api.search.events import Done, Found, Progress, Started
from search_api.search.filters import Filters, GpsBox, compile_glob
from search_api.search.photos import by_id
from search_api.search.pipeline import collect, search
from search_api.search.query import Asker, Query
from search_api.search.similar import similar
from search_api.show.shown import polygons, render, show
from tests.support.library import EXPRESSION, Library, make_library, paint
from tests.support.rle import from_rle
from tests.support.tiny_model import TINY


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """A library that tests only read."""
    made = make_library(tmp_path_factory.mktemp("library"))
    yield made
    made.engine.close()


@pytest.fixture
def own_library(tmp_path: Path) -> Iterator[Library]:
    """A small library that a test may change."""
    made = make_library(tmp_path, 6)
    yield made
    made.engine.close()


def ask(library: Library, **values: object) -> Done:
    values = {"expression": EXPRESSION, "threshold": library.threshold(), **values}
    return collect(library.engine, Query.model_validate(values))


def ids(done: Done) -> list[int]:
    return [decision.photo_id for decision in done.matched]


def test_answer_says_what_was_covered_and_how_long_each_stage_took(library: Library) -> None:
    done = ask(library)
    assert done.coverage.as_json() == {
        "total": 24,
        "filtered": 24,
        "prefiltered": 24,
        "verified": 24,
        "matched": len(done.matched),
    }
    assert 0 < len(done.matched) < 24
    assert {"text", "filter", "prefilter", "gather", "judge", "total"} <= done.run.timings.keys()


def test_hits_come_most_confident_first_and_ties_by_photo(library: Library) -> None:
    done = ask(library, mode="exhaustive")
    assert done.matched == tuple(sorted(done.matched, key=lambda d: (-d.confidence, d.photo_id)))


def test_small_filtered_set_is_verified_whole_in_fast_mode(library: Library) -> None:
    done = ask(library, candidates=3)
    assert done.coverage.verified == done.coverage.filtered == 24


def test_fast_mode_verifies_only_candidates_and_finds_nothing_else_than_exhaustive(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "WHOLE_SET", 0)
    everything = ask(library, mode="exhaustive")
    for candidates in (1, 5, 17):
        fast = ask(library, candidates=candidates)
        assert fast.coverage.verified == fast.coverage.prefiltered == candidates
        assert fast.coverage.filtered == 24
        assert set(fast.matched_pairs()) <= set(everything.matched_pairs())


filter_sets = st.builds(
    Filters,
    taken_from=st.none() | st.datetimes(datetime(2019, 1, 1), datetime(2021, 6, 1)),
    taken_before=st.none() | st.datetimes(datetime(2021, 6, 2), datetime(2023, 1, 1)),
    path=st.sampled_from([None, "*.jpg", "2020/*", "**/*1*", "2021/**", "nothing"]),
    camera=st.sampled_from([None, "leica", "PIXEL", "%", "_"]),
    orientation=st.sampled_from([None, "landscape", "portrait", "square"]),
    gps=st.none()
    | st.builds(
        GpsBox,
        west=st.integers(-180, 180),
        south=st.integers(-90, 0),
        east=st.integers(-180, 180),
        north=st.integers(0, 90),
    ),
    formats=st.sampled_from([(), ("jpg",), ("PNG", "webp")]),
)


def passes(photo: object, filters: Filters) -> bool:
    """The filters again, in plain Python over one photo."""
    p = photo
    if filters.taken_from and not (p.taken_at and p.taken_at >= filters.taken_from):
        return False
    if filters.taken_before and not (p.taken_at and p.taken_at < filters.taken_before):
        return False
    if filters.path and not compile_glob(filters.path)(p.path):
        return False
    if filters.camera and filters.camera.lower() not in (p.camera or "").lower():
        return False
    shape = "square" if p.width == p.height else "landscape" if p.width > p.height else "portrait"
    if filters.orientation and shape != filters.orientation:
        return False
    if filters.gps is not None:
        box = filters.gps
        if p.lat is None or not box.south <= p.lat <= box.north:
            return False
        inside = (
            box.west <= p.lon <= box.east
            if box.west <= box.east
            else p.lon >= box.west or p.lon <= box.east
        )
        if not inside:
            return False
    names = {"jpg": "jpeg"}
    wanted = {names.get(name.lower(), name.lower()) for name in filters.formats}
    return not wanted or p.format.lower() in wanted


@pytest.mark.parametrize("head_dtype", ["float32", "bfloat16"])
def test_photo_is_decided_alike_in_every_batch_and_order(
    tmp_path: Path, head_dtype: HeadDtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(TINY, rla_layers=3, word_heads=2, pooling="attention")
    library = make_library(tmp_path, config=config, head_dtype=head_dtype)
    monkeypatch.setattr(planning, "WHOLE_SET", 0)
    everything = ask(library, mode="exhaustive", threshold=0.0)
    decided = dict(everything.matched_pairs())
    assert len(decided) == 24
    logits = {d.photo_id: d.no_target_logit for d in everything.matched}
    for batch, start, values in (
        (5, 10, {"mode": "exhaustive"}),
        (1, 3, {"mode": "exhaustive", "filters": {"orientation": "portrait"}}),
        (7, 99, {"candidates": 11}),
        (50, 99, {"candidates": 4, "filters": {"formats": ["png"]}}),
    ):
        monkeypatch.setattr(planning, "BATCH", batch)
        monkeypatch.setattr(planning, "HEAD_START", start)
        found = ask(library, threshold=0.0, **values)
        assert found.coverage.verified == found.coverage.matched > 0
        assert {d.photo_id: d.no_target_logit for d in found.matched}.items() <= logits.items()
        assert set(found.matched_pairs()) <= decided.items()
    library.engine.close()


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    filters=filter_sets, candidates=st.integers(1, 30), mode=st.sampled_from(["fast", "exhaustive"])
)
def test_decision_never_depends_on_filters_or_batches(
    library: Library, filters: Filters, candidates: int, mode: str
) -> None:
    everything = ask(library, mode="exhaustive")
    photos = by_id(library.engine.catalog, range(1, 25))
    expected = [pair for pair in everything.matched_pairs() if passes(photos[pair[0]], filters)]
    whole, batch = planning.WHOLE_SET, planning.BATCH
    planning.WHOLE_SET, planning.BATCH = 0, 5
    try:
        found = ask(library, mode=mode, filters=filters.model_dump(), candidates=candidates)
    finally:
        planning.WHOLE_SET, planning.BATCH = whole, batch
    assert found.coverage.filtered == sum(passes(photo, filters) for photo in photos.values())
    if mode == "exhaustive":
        assert list(found.matched_pairs()) == expected
    else:
        assert set(found.matched_pairs()) <= set(expected)


def test_search_within_an_earlier_run_looks_only_at_its_matches(library: Library) -> None:
    first = ask(library)
    second = ask(library, filters={"run": first.run_id}, expression="a blue circle", threshold=0)
    assert second.coverage.filtered == len(first.matched)
    assert set(ids(second)) == set(ids(first))


def test_search_within_a_run_that_is_gone_is_an_error_not_an_empty_answer(
    library: Library,
) -> None:
    with pytest.raises(UnknownRun, match="no search run"):
        ask(library, filters={"run": "00000000-0000-4000-8000-000000000000"})


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("*.jpg", ["a.jpg", "x/y/a.jpg"], ["a.jpg.png", "a.JPG2"]),
        ("2024/*", ["2024/a.jpg"], ["2024/x/a.jpg", "a/2024/b"]),
        ("2024/**", ["2024/a.jpg", "2024/x/y/a.jpg"], ["2023/a.jpg"]),
        ("**/x/*.png", ["x/a.png", "a/b/x/c.png"], ["x/y/a.png"]),
        ("a[0-9].jpg", ["a1.jpg"], ["ab.jpg"]),
        ("**", ["a", "a/b"], []),
    ],
)
def test_glob_stays_within_folders_unless_it_says_otherwise(
    pattern: str, matching: list[str], other: list[str]
) -> None:
    matches = compile_glob(pattern)
    assert all(matches(path) for path in matching)
    assert not any(matches(path) for path in other)


def test_evil_glob_takes_no_time() -> None:
    matches = compile_glob("/".join(["*a*a*a*a*a*a*b"] * 8 + ["**"] * 40))
    assert not matches("/".join(["a" * 200] * 40))


def test_paging_gives_each_match_exactly_once_while_indexing_goes_on(
    own_library: Library,
) -> None:
    library = own_library
    done = collect(library.engine, Query(expression=EXPRESSION, threshold=0.0))
    seen: list[int] = []
    after = -1
    for number in itertools.count():
        run, page = runs.page(library.engine.catalog, done.run_id, after=after, size=2)
        assert run.coverage.matched == 6
        seen += [hit.decision.photo_id for hit in page.hits]
        after = page.hits[-1].rank
        if not page.more:
            break
        if number == 0:
            paint(library.photos / "new.png", 99)
            library.index()
    assert seen == ids(done)
    assert len(set(seen)) == 6
    assert collect(library.engine, Query(expression=EXPRESSION)).coverage.total == 7


def test_run_opened_again_holds_the_same_decisions_and_masks(library: Library) -> None:
    done = ask(library, rejected=3)
    run, page = runs.page(library.engine.catalog, done.run_id, size=100)
    assert (run.expression, run.state, run.coverage) == (EXPRESSION, "done", done.coverage)
    assert run.fingerprints == library.predictor.fingerprints
    assert run.calibration_revision == library.predictor.calibration.revision
    photos = by_id(library.engine.catalog, ids(done))
    for hit, decision in zip(page.hits, done.matched, strict=True):
        assert hit.decision.confidence == decision.confidence
        again = render(library.engine, photos[decision.photo_id], hit.decision, run.fingerprints)
        first = render(library.engine, photos[decision.photo_id], decision, run.fingerprints)
        assert np.array_equal(again.array, first.array)
    _, nearest = runs.page(library.engine.catalog, done.run_id, size=100, accepted=False)
    assert [hit.decision.photo_id for hit in nearest.hits] == [d.photo_id for d in done.rejected]
    assert len(nearest.hits) == 3
    assert not any(hit.decision.accepted for hit in nearest.hits)


def test_unknown_run_and_pruned_run_are_named(library: Library) -> None:
    with pytest.raises(UnknownRun):
        runs.load(library.engine.catalog, "nope")


def test_pruning_keeps_the_newest_runs(own_library: Library) -> None:
    made = [ask(own_library, threshold=number / 10).run_id for number in range(4)]
    assert retention.prune_runs(own_library.engine.catalog, 2) == 2
    left, more = runs.history(own_library.engine.catalog, size=1)
    older, yet_more = runs.history(own_library.engine.catalog, before=left[-1].id, size=5)
    assert [run.id for run in left + older] == made[:1:-1]
    assert (more, yet_more) == (True, False)


def test_identical_searches_are_one_row_of_the_history_and_are_forgotten_together(
    own_library: Library,
) -> None:
    catalog = own_library.engine.catalog
    made = [ask(own_library).run_id for _ in range(3)]
    other = ask(own_library, mode="exhaustive").run_id
    theirs = collect(own_library.engine, Query(expression=EXPRESSION), asker=Asker(7)).run_id
    left, _ = runs.history(catalog)
    assert [run.id for run in left] == [theirs, other, made[-1]]
    runs.forget(catalog, made[-1])
    left, _ = runs.history(catalog)
    assert [run.id for run in left] == [theirs, other]
    with pytest.raises(UnknownRun):
        runs.load(catalog, made[0])


def test_hit_shows_where_the_referent_is_in_upright_pixels(library: Library) -> None:
    done = ask(library)
    fingerprint = library.predictor.fingerprints
    for hit in show(library.engine, done.matched, fingerprint):
        assert hit.mask is not None
        assert hit.mask.array.shape == (hit.photo.height, hit.photo.width)
        assert hit.area == hit.mask.array.sum()
        assert np.array_equal(from_rle(hit.mask.rle), hit.mask.array)
        for ring in polygons(hit.mask, 1.0):
            assert len(ring) >= 6
            assert max(ring[::2]) < hit.photo.width
            assert max(ring[1::2]) < hit.photo.height


def test_events_tell_of_the_run_first_then_hits_and_progress_then_the_end(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "BATCH", 5)
    query = Query(expression=EXPRESSION, mode="exhaustive", threshold=library.threshold())
    events = list(search(library.engine, query))
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Done)
    verified = [event.coverage.verified for event in events if isinstance(event, Progress)]
    assert verified == [5, 10, 15, 20, 24]
    found = {event.decision.photo_id for event in events if isinstance(event, Found)}
    assert found == set(ids(events[-1]))


def test_mask_of_a_streamed_hit_can_be_asked_for_before_the_end(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "BATCH", 5)
    stream = search(library.engine, Query(expression=EXPRESSION, threshold=0.0))
    found = next(event for event in stream if isinstance(event, Found))
    _, hit = runs.one_hit(library.engine.catalog, found.run_id, found.decision.photo_id)
    assert hit.decision.confidence == found.decision.confidence
    with pytest.raises(StillRunning):
        runs.page(library.engine.catalog, found.run_id, size=5)
    stream.close()
    run = runs.load(library.engine.catalog, found.run_id)
    assert run.state == "stopped"
    assert 0 < run.coverage.verified < run.coverage.prefiltered


def test_search_stops_at_its_time_limit_after_one_batch_and_says_so(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "BATCH", 8)
    query = Query(expression=EXPRESSION, threshold=1.0)
    done = collect(library.engine, query, time_limit_s=0.0)
    assert done.run.state == "stopped"
    assert done.coverage.verified == 8
    assert [note.code for note in done.run.notes] == ["stopped"]
    assert "photos that were looked at matches; 8 of 24" in done.coverage.sentence()


def test_nothing_found_says_how_many_photos_were_verified(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ask(library, threshold=1.0)
    assert whole.coverage.sentence() == "Nothing in 24 photos matches; every one was verified."
    monkeypatch.setattr(planning, "WHOLE_SET", 0)
    some = ask(library, threshold=1.0, candidates=5)
    assert "5 of 24 photos were verified" in some.coverage.sentence()


@pytest.mark.parametrize("streaming", [True, False])
def test_matches_too_few_to_be_right_are_held_back_and_shown_as_the_nearest(
    library: Library, streaming: bool
) -> None:
    plain = library.engine.views(None)[0].calibration
    threshold = library.threshold()

    def asked(least: float, **values: object) -> tuple[list[object], Done]:
        view = library.engine.views(None)[0]
        view.calibration = replace(
            plain, threshold=threshold, least_expected=least, measured_on=view.total
        )
        query = Query.model_validate({"expression": EXPRESSION, "rejected": 50, **values})
        try:
            *events, done = search(library.engine, query, streaming=streaming)
        finally:
            view.calibration = plain
        assert isinstance(done, Done)
        return events, done

    _, whole = asked(0)
    expected = sum(each.confidence for each in whole.matched)
    answered, same = asked(expected * 0.999)
    assert ids(same) == ids(whole)
    assert sum(isinstance(event, Found) for event in answered) == len(whole.matched)
    events, done = asked(expected * 1.001)
    assert not done.matched and not any(isinstance(event, Found) for event in events)
    assert done.coverage.matched == 0
    (note,) = (note for note in done.run.notes if note.code == "unsure")
    assert f"{len(whole.matched)} photos of 24" in note.text
    nearest = [each.photo_id for each in done.rejected]
    assert nearest == [*ids(whole), *(each.photo_id for each in whole.rejected)]
    assert not any(each.accepted for each in done.rejected)
    assert done.run.at_threshold == whole.run.at_threshold
    for own in ({"threshold": threshold}, {"expression": f"NOT {EXPRESSION}"}):
        assert asked(expected * 50, **own)[1].matched  # a person's own choice, and what is absent
    few = Filters(run=UUID(whole.run_id), run_photos=(ids(whole)[0],))
    assert asked(expected * 1.001, filters=few)[1].matched  # one photo of 24 asks for a 24th


def test_unknown_album_names_those_that_exist(library: Library) -> None:
    with pytest.raises(UnknownAlbum, match="small"):
        ask(library, album="nope")


def test_album_without_features_says_how_to_index_it(own_library: Library) -> None:
    with own_library.engine.catalog.session() as session:
        session.add(Album(name="empty", settings={}))
    with pytest.raises(NotIndexed, match="referent index"):
        ask(own_library, album="empty")


def test_answer_during_indexing_is_marked_partial(own_library: Library) -> None:
    with own_library.engine.catalog.session() as session:
        session.execute(update(Photo).where(Photo.id == 1).values(status="new"))
        session.execute(update(Album).values(revision=Album.revision + 1))
    done = ask(own_library)
    assert done.coverage.total == 6
    assert done.coverage.filtered == 5
    assert [note.code for note in done.run.notes] == ["indexing"]


def test_photo_that_vanished_since_indexing_is_kept_and_marked(own_library: Library) -> None:
    gone = by_id(own_library.engine.catalog, [1])[1]
    gone.file.unlink()
    done = ask(own_library, threshold=0.0)
    hits = show(own_library.engine, done.matched, own_library.predictor.fingerprints)
    assert {hit.photo.id: hit.vanished for hit in hits} == {i: i == 1 for i in range(1, 7)}


def test_damaged_faiss_file_is_rebuilt_from_the_store_and_said_so(own_library: Library) -> None:
    before = ask(own_library)
    files = [f for f in (own_library.settings.features_dir / "faiss").rglob("*") if f.is_file()]
    for file in files:
        if file.suffix != ".json":
            file.write_bytes(b"garbage")
    fresh = Engine.open(own_library.settings, own_library.predictor)
    query = Query(expression=EXPRESSION, threshold=own_library.threshold())
    after = collect(fresh, query)
    fresh.close()
    assert [note.code for note in after.run.notes] == ["prefilter-rebuilt"]
    assert list(after.matched_pairs()) == list(before.matched_pairs())


def test_albums_own_calibration_decides_without_encoding_anything(own_library: Library) -> None:
    head = own_library.predictor.fingerprints["head"]
    strict = Calibration(threshold=1.0, fitted_to=head)
    with own_library.engine.catalog.session() as session:
        album = session.scalar(select(Album.id))
        session.execute(
            insert(CalibrationRow).values(
                album_id=album, revision=strict.revision, json=strict.to_dict()
            )
        )
    done = collect(own_library.engine, Query(expression=EXPRESSION))
    assert not done.matched
    run = runs.load(own_library.engine.catalog, done.run_id)
    assert run.calibration_revision == strict.revision
    assert run.threshold == 1.0


def test_search_over_every_album_covers_them_together(own_library: Library, tmp_path: Path) -> None:
    for number in range(3):
        paint(tmp_path / "more" / f"{number}.png", 50 + number)
    own_library.add_album(tmp_path / "more", "more")
    everything = collect(own_library.engine, Query(expression=EXPRESSION, threshold=0.0))
    assert everything.coverage.total == everything.coverage.matched == 9
    only = collect(own_library.engine, Query(expression=EXPRESSION, threshold=0.0, album="more"))
    assert set(ids(only)) < set(ids(everything))
    assert only.coverage.total == 3


def test_more_like_this_finds_the_same_picture_first_and_only_it_among_duplicates(
    own_library: Library,
) -> None:
    original = by_id(own_library.engine.catalog, [1])[1]
    (own_library.photos / "copy.jpg").write_bytes(original.file.read_bytes())
    own_library.index()
    like = similar(own_library.engine, photo_id=1)
    assert like[0].photo.path == "copy.jpg"
    assert like[0].same_file
    assert like[0].similarity == pytest.approx(1.0, abs=1e-3)
    assert len(like) == 6
    same = similar(own_library.engine, photo_id=1, duplicates=True)
    assert "copy.jpg" in [each.photo.path for each in same]
    done = ask(own_library, threshold=0.0)
    region = similar(own_library.engine, photo_id=1, run_id=done.run_id)
    assert region[0].photo.path == "copy.jpg"


def test_expression_is_tidied_and_empty_ones_are_refused() -> None:
    assert Query(expression="  kid \n in\tblue ").expression == "kid in blue"
    for bad in ("", "   ", "?!", "a" * 301, "\x00", "\ud800x"):
        with pytest.raises(ValueError):
            Query(expression=bad)


@pytest.mark.parametrize(
    ("second", "shares"), [("v h", (10, 0)), ("v other", (5, 5)), ("other h", (5, 5))]
)
def test_albums_share_candidates_by_score_of_one_network_and_by_rank_of_two(
    second: str, shares: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "WHOLE_SET", 0)

    def view(network: str, best: float) -> SimpleNamespace:
        prefilter = SimpleNamespace(
            _photos=lambda among: np.arange(100),
            _scores=lambda *asked: np.linspace(best, best - 1, 100, dtype=np.float32),
            _refresh=lambda: None,
            _file=None,
        )
        return SimpleNamespace(
            snapshot=SimpleNamespace(photo_ids=np.arange(100)),
            predictor=SimpleNamespace(
                fingerprints=dict(zip(("vectors", "head"), network.split(), strict=True)),
                reranks=False,
            ),
            prefilter=prefilter,
        )

    words = SimpleNamespace(sentence=np.zeros((1, 2), np.float32))
    query = Query(expression=EXPRESSION, candidates=10)
    views = [view("v h", 9.0), view(second, 1.0)]
    each = [(words,), (words,)]
    question = Part(EXPRESSION)
    plans = planning.plan(views, [None, None], each, query, question)  # type: ignore[arg-type]
    assert tuple(len(plan.rows) for plan in plans) == shares


def test_rough_judgement_chooses_what_a_fast_search_verifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "WHOLE_SET", 0)
    library = make_library(tmp_path, 12)
    with library.engine as engine:
        view = engine.views("small")[0]
        words = engine.models.words(view.predictor, EXPRESSION)
        vectors = view.snapshot.gather("vectors", np.arange(12))
        order = np.argsort(-view.predictor.rerank(vectors, words), kind="stable")
        assert view.candidates(words, 4, None)[0].tolist() == order[:4].tolist()
        query = Query(expression=EXPRESSION, candidates=4, threshold=0.0)
        found = {d.photo_id for d in collect(engine, query).matched}
        assert found == {int(view.snapshot.photo_ids[row]) for row in order[:4]}


def lose(library: Library, tier: str) -> None:
    """Delete every feature file of a tier behind the back of a server that then starts anew."""
    for file in (library.settings.features_dir / tier).rglob("*.seg"):
        file.unlink()
    for file in library.settings.features_dir.rglob("*.faiss"):
        file.unlink()
    engine = library.engine
    store = FeatureStore.open(library.settings, engine.catalog)
    library.engine = Engine(library.settings, engine.catalog, store, library.predictor)


@pytest.mark.parametrize(("tier", "verified"), [("vectors", 8), ("tokens", 2)])
def test_album_with_a_lost_feature_file_is_searched_without_it_and_healed_by_the_next_index(
    own_library: Library, tier: str, verified: int
) -> None:
    library = own_library
    lost = library.settings.features_dir / tier
    before = set(lost.rglob("*.seg"))
    for number in (90, 91):
        paint(library.photos / f"{number}.png", number)
    library.index()  # another file of the tier, which stays
    query = Query(expression=EXPRESSION, mode="exhaustive", threshold=library.threshold())
    whole = collect(library.engine, query)
    assert (whole.coverage.verified, whole.run.notes) == (8, ())
    kept = {file: file.read_bytes() for file in lost.rglob("*.seg") if file not in before}
    assert kept
    lose(library, tier)
    for file, data in kept.items():
        file.write_bytes(data)
    done = collect(library.engine, query)
    assert (done.run.state, done.coverage.total, done.coverage.verified) == ("done", 8, verified)
    assert [note.code for note in done.run.notes] == ["prefilter-rebuilt", "damaged-features"]
    assert "6 photos" in done.run.notes[1].text
    photo = int(library.engine.views("small")[0].snapshot.photo_ids[-1])
    assert len(similar(library.engine, photo_id=photo, size=7)) == (1 if tier == "vectors" else 7)
    library.index()
    again = collect(library.engine, query)
    assert (again.coverage, again.run.notes) == (whole.coverage, ())
    assert again.matched_pairs() == whole.matched_pairs()


def test_index_does_not_make_a_whole_store_anew_that_is_only_away(own_library: Library) -> None:
    for tier in ("tokens", "masks", "vectors"):
        lose(own_library, tier)
    with pytest.raises(FeatureStoreAway, match="is its disk mounted"):
        own_library.index()


@pytest.mark.parametrize("streaming", [True, False])
def test_run_that_is_removed_while_it_runs_ends_its_search_with_that_reason(
    own_library: Library, streaming: bool
) -> None:
    query = Query(expression=EXPRESSION, mode="exhaustive", threshold=0.0)
    events = search(own_library.engine, query, streaming=streaming)
    started = next(events)
    runs.forget(own_library.engine.catalog, started.run_id)
    with pytest.raises(UnknownRun, match="removed while it ran"):
        list(events)
    events = search(own_library.engine, query, streaming=streaming)
    runs.forget(own_library.engine.catalog, next(events).run_id)
    events.close()  # its client goes away as well


def test_photo_that_leaves_the_album_while_a_search_runs_is_no_hit(own_library: Library) -> None:
    catalog = own_library.engine.catalog
    query = Query(expression=EXPRESSION, mode="exhaustive", threshold=0.0)
    events = search(own_library.engine, query)
    next(events)
    with catalog.session() as session:
        session.execute(delete(Photo).where(Photo.id == 2))
    done = list(events)[-1]
    assert isinstance(done, Done)
    _, page = runs.page(catalog, done.run_id, size=50)
    assert sorted(hit.decision.photo_id for hit in page.hits) == [1, 3, 4, 5, 6]


def test_run_of_a_server_that_was_killed_is_stopped_with_what_it_found(
    own_library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "from indexer.db.owner import new_owner; print(new_owner())"
    dead = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    catalog = own_library.engine.catalog
    monkeypatch.setattr(runs, "new_owner", lambda: dead)
    events = search(own_library.engine, Query(expression=EXPRESSION, threshold=0.0))
    run_id = next(events).run_id
    assert isinstance(next(events), Found)  # and then it was killed
    run, page = runs.page(catalog, run_id, size=50)
    assert (run.state, run.coverage.matched, len(page.hits)) == ("stopped", 6, 6)
    assert [note.code for note in run.notes] == ["stopped"]
    assert [each.state for each in runs.history(catalog)[0]] == ["stopped"]
