"""A search over all albums costs batches by photos, not by albums, and answers as each alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest

from indexer.features import prefilter, vector_builds
from indexer.features.codes import Codes
from model.predictor import Predictor
from search_api.search import planning
from search_api.search.engine import candidates
from search_api.search.events import Found, Progress
from search_api.search.pipeline import collect, search
from search_api.search.query import Query
from tests.support.library import EXPRESSION, Library, make_library, paint

ALBUMS = 5
PHOTOS = 3


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """A library of several small albums."""
    folder = tmp_path_factory.mktemp("albums")
    made = make_library(folder, PHOTOS)
    for number in range(1, ALBUMS):
        for photo in range(PHOTOS):
            paint(folder / f"album{number}" / f"{photo}.png", 100 * number + photo)
        made.add_album(folder / f"album{number}", f"album{number}")
    yield made
    made.engine.close()


@pytest.fixture
def calls(library: Library, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """How many records the network was given at each call."""
    seen: dict[str, list[int]] = {"judge": [], "rerank": []}
    for name in seen:
        real = getattr(Predictor, name)

        def counted(self: Predictor, records: Any, words: Any, real=real, name=name) -> Any:  # type: ignore[no-untyped-def]
            seen[name].append(len(records))
            return real(self, records, words)

        monkeypatch.setattr(Predictor, name, counted)
    return seen


def asked(mode: str = "exhaustive", album: str | None = None) -> Query:
    return Query(expression=EXPRESSION, mode=mode, album=album, threshold=0.0)


@pytest.mark.parametrize("mode", ["exhaustive", "fast"])
def test_small_albums_share_the_networks_batches(
    library: Library, calls: dict[str, list[int]], mode: str
) -> None:
    done = collect(library.engine, asked(mode))
    assert done.coverage.verified == ALBUMS * PHOTOS
    assert calls["judge"] == [ALBUMS * PHOTOS]
    assert len(calls["rerank"]) <= 1


def test_photo_in_a_common_batch_gets_the_answer_that_it_gets_alone(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [view.album for view in library.engine.views(None)]
    alone = {
        photo: confidence
        for name in names
        for photo, confidence in collect(library.engine, asked(album=name)).matched_pairs()
    }
    assert len(alone) == ALBUMS * PHOTOS
    together = collect(library.engine, asked())
    assert dict(together.matched_pairs()) == alone
    monkeypatch.setattr(planning, "BATCH", 4)
    assert dict(collect(library.engine, asked()).matched_pairs()) == alone


def test_batches_are_full_whatever_the_albums_sizes(
    library: Library, calls: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "BATCH", 4)
    collect(library.engine, asked())
    total = ALBUMS * PHOTOS
    assert sum(calls["judge"]) == total
    assert len(calls["judge"]) == math.ceil(total / 4)


def test_the_best_photos_of_all_albums_are_judged_first(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "BATCH", 2)
    monkeypatch.setattr(planning, "HEAD_START", 6)
    views = library.engine.views(None)
    words = library.engine.models.words(views[0].predictor, EXPRESSION)
    ranking = candidates(views, words, ALBUMS * PHOTOS, [None] * ALBUMS)
    ranked = [
        int(views[which].snapshot.photo_ids[row])
        for which, row in zip(ranking.which, ranking.rows, strict=True)
    ]
    streamed: list[set[int]] = [set()]
    for event in search(library.engine, asked()):
        if isinstance(event, Found):
            streamed[-1].add(event.decision.photo_id)
        elif isinstance(event, Progress):
            streamed.append(set())
    assert streamed[:3] == [set(ranked[:2]), set(ranked[2:4]), set(ranked[4:6])]
    assert sorted(photo for batch in streamed for photo in batch) == sorted(ranked)


def test_albums_of_one_model_map_its_vectors_once(library: Library) -> None:
    views = library.engine.views(None)
    indexes = {
        id(view.prefilter._file._index) for view in views if view.prefilter._file is not None
    }
    assert len(indexes) <= 1


def test_large_albums_of_one_model_have_its_vectors_scored_once(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What albums of more than a thousand photos do, at three photos an album."""
    monkeypatch.setattr(prefilter, "RERANKED_MIN", 1)
    monkeypatch.setattr(prefilter, "DEPTH", 1)
    # As a compaction does: until then a new album's vectors lie beside the file.
    first = library.engine.views(None)[0]
    vector_builds.build(library.settings.features_dir, first.snapshot, first.predictor)
    library.engine.let_go(0.0)
    views = library.engine.views(None)
    words = library.engine.models.words(first.predictor, EXPRESSION)
    among = [None] * ALBUMS
    alone = {
        (which, row): score
        for which, view in enumerate(views)
        for row, score in zip(
            *(each.tolist() for each in view.candidates(words, 3, None)), strict=True
        )
    }
    scored: list[int] = []
    real = Codes.scores

    def counted(self: Codes, query: Any, out: Any) -> None:
        scored.append(len(self.codes))
        real(self, query, out)

    monkeypatch.setattr(Codes, "scores", counted)
    monkeypatch.setattr(prefilter, "DEPTH", 2)
    found = candidates(views, words, 4, among)
    assert scored == [ALBUMS * PHOTOS * first.predictor.config.vectors]
    together = list(zip(found.which.tolist(), found.rows.tolist(), strict=True))
    assert len(together) == 4
    assert [alone[each] for each in together] == found.scores.tolist()
    assert sorted(found.scores.tolist(), reverse=True) == found.scores.tolist()


def test_as_many_records_are_looked_at_in_many_albums_as_in_one(
    library: Library, calls: dict[str, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a library of more than a thousand photos does: the best of all, not of each album."""
    monkeypatch.setattr(prefilter, "RERANKED_MIN", 1)
    monkeypatch.setattr(prefilter, "DEPTH", 2)
    views = library.engine.views(None)
    words = library.engine.models.words(views[0].predictor, EXPRESSION)
    best = candidates(views, words, 2, [None] * ALBUMS)
    assert len(best) == 2
    assert calls["rerank"] == [4]
    some = [view.rows_of(view.snapshot.photo_ids[1:]) for view in views]
    assert 0 not in candidates(views, words, 4, list(some)).rows
    assert [each.tolist() for each in best.apart(ALBUMS)] == [
        [place for place, which in enumerate(best.which) if which == album]
        for album in range(ALBUMS)
    ]
