"""One file in two albums, one folder by two names: shown once, indexed once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.db.audit import at_the_command_line
from indexer.encoding.alone import index_album
from indexer.folders.albums import ensure_album, list_albums
from model.build import load_predictor
from search_api.search import albums, planning, runs
from search_api.search.events import Done
from search_api.search.photos import by_id
from search_api.search.pipeline import collect
from search_api.search.query import Query
from search_api.show.shown import show
from tests.support.library import EXPRESSION, Library, make_library
from tests.support.page import let_match
from tests.support.tiny_model import write_tiny_model


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """Six photos; another album holds copies of four of them, under other names."""
    folder = tmp_path_factory.mktemp("twins")
    made = make_library(folder, 6)
    (folder / "copies").mkdir()
    for number, file in enumerate(sorted(made.photos.rglob("*.*"))[:4]):
        shutil.copy(file, folder / "copies" / f"copy{number}{file.suffix}")
    made.add_album(folder / "copies", "copies")
    yield made
    made.engine.close()


def found(library: Library, **values: object) -> list[int]:
    query = Query(expression=EXPRESSION, threshold=0.0, **values)  # type: ignore[arg-type]
    done = collect(library.engine, query)
    ids = [each.photo_id for each in done.matched]
    assert len(set(ids)) == len(ids) == done.coverage.matched
    _, page = runs.page(library.engine.catalog, done.run_id, size=100)
    assert [hit.decision.photo_id for hit in page.hits] == ids
    return ids


@pytest.mark.parametrize("mode", ["fast", "exhaustive"])
def test_a_file_in_two_albums_is_one_match_of_a_search_over_all(
    library: Library, mode: str
) -> None:
    assert sorted(found(library, mode=mode)) == sorted(found(library, mode=mode, album="small"))
    assert len(found(library, mode=mode, album="copies")) == 4  # each album still shows its own


def test_a_filter_that_only_the_copy_passes_finds_the_copy(library: Library) -> None:
    copies = found(library, filters={"path": "copy*"})
    assert sorted(copies) == sorted(found(library, album="copies"))


def test_a_file_in_albums_of_two_models_is_one_match_of_the_first_that_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same copy is shown however few photos were judged, and whichever was judged first."""
    library = make_library(tmp_path, 12)
    try:
        second = tmp_path / "second"
        shutil.copytree(library.photos, second)
        other = load_predictor(write_tiny_model(tmp_path / "other.safetensors", seed=2))
        with library.engine.catalog.session() as session:
            ensure_album(session, [second], name="second")
        index_album(library.settings, "second", other, catalog=library.engine.catalog)
        # As if it were installed by name.
        library.engine.models._held[other.name] = other
        library.engine.models._alive[other.name] = other
        let_match(library, "small", 0.4)
        let_match(library, "second", 1.0)

        def run(**values: object) -> Done:
            query = Query(expression=EXPRESSION, **values)  # type: ignore[arg-type]
            return collect(library.engine, query)

        def named(done: Done) -> dict[str, str]:
            """Album by file of each match."""
            ids = [each.photo_id for each in done.matched]
            photos = by_id(library.engine.catalog, ids).values()
            assert len({photo.path for photo in photos}) == len(ids)
            return {photo.path: photo.album for photo in photos}

        own = set(named(run(album="small", mode="exhaustive")))
        assert 0 < len(own) < 12
        everywhere = run(mode="exhaustive", rejected=100)
        shown = named(everywhere)
        assert {path for path, album in shown.items() if album == "small"} == own
        assert len(shown) == 12 == everywhere.coverage.matched
        assert everywhere.rejected == ()  # the first network's are shown by the second
        masks = runs.load(library.engine.catalog, everywhere.run_id).fingerprints
        assert all(hit.mask for hit in show(library.engine, everywhere.matched, masks))
        monkeypatch.setattr(planning, "WHOLE_SET", 0)
        for few in (1, 3, 7):
            some = named(run(candidates=few))
            assert some and some.items() <= shown.items()
    finally:
        library.engine.close()


def test_a_folder_by_a_link_is_the_folder(library: Library, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(library.photos)
    (tmp_path / "year").symlink_to(library.photos / "2020")
    catalog, by = library.engine.catalog, at_the_command_line()
    with catalog.session() as session:
        album = ensure_album(session, [tmp_path / "link"])  # as the command line names it
        assert album.name == "small"
        album_id = album.id
    albums.add_folder(catalog, album_id, tmp_path / "link", actor=by)  # as the API does
    albums.add_folder(catalog, album_id, tmp_path / "year", actor=by)
    library.index("small")
    with catalog.reading() as session:
        summary = list_albums(session, "small")[0]
    assert str(library.photos) in summary.folders
    assert len(summary.folders) == 2  # the album's folder, and one inside it
    assert (summary.photos, summary.duplicates) == (6, 0)
