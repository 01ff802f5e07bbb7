"""Views of albums: opened in few statements, and let go once they are out of date."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import event

from indexer.db.audit import Actor
from indexer.db.tables import Album
from indexer.features import maintenance
from search_api.search import albums, engine
from tests.support.library import Library, make_library, paint


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    """A library of three albums."""
    made = make_library(tmp_path, 3)
    for number in range(2):
        paint(tmp_path / f"more{number}" / "a.png", 50 + number)
        made.add_album(tmp_path / f"more{number}", f"more{number}")
    yield made
    made.engine.close()


@pytest.fixture
def statements(library: Library) -> list[str]:
    """What is asked of the database from now on."""
    asked: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        if not statement.startswith("BEGIN"):
            asked.append(statement)

    event.listen(library.engine.catalog.engine, "before_cursor_execute", note)
    return asked


def test_known_views_of_all_albums_cost_a_constant_number_of_statements(
    library: Library, statements: list[str]
) -> None:
    assert len(library.engine.views(None)) == 3
    statements.clear()
    assert len(library.engine.views(None)) == 3
    assert len(statements) == 3


def test_opening_many_albums_costs_as_many_statements_as_opening_a_few(
    library: Library, statements: list[str], tmp_path: Path
) -> None:
    def opened() -> int:
        library.engine.let_go(0.0)
        statements.clear()
        views = library.engine.views(None)
        assert all(len(view.snapshot) for view in views)
        return len(statements)

    few = opened()
    for number in range(4):
        paint(tmp_path / f"even{number}" / "a.png", 70 + number)
        library.add_album(tmp_path / f"even{number}", f"even{number}")
    assert opened() == few


def test_views_that_are_opened_together_are_those_that_are_opened_alone(library: Library) -> None:
    def shown() -> dict[str, object]:
        return {
            view.album: (
                view.key,
                view.by_status,
                view.index_version_id,
                view.calibration.revision,
                view.snapshot.revision,
                view.snapshot.photo_ids.tolist(),
                view.snapshot.gather("tokens", np.arange(len(view.snapshot))).tobytes(),
                view.snapshot.gather("masks", np.arange(len(view.snapshot))).tobytes(),
                view.prefilter.covered,
            )
            for view in library.engine.views(None)
        }

    together = shown()
    library.engine.let_go(0.0)
    for name in together:
        library.engine.views(name)
    assert shown() == together


def test_listing_albums_costs_a_constant_number_of_statements(
    library: Library, statements: list[str]
) -> None:
    found = albums.list_albums(library.engine.catalog)
    assert [(each.name, each.photos) for each in found] == [
        ("more0", 1),
        ("more1", 1),
        ("small", 3),
    ]
    assert all(each.model and each.roots for each in found)
    assert albums.album_info(library.engine.catalog, found[0].id) == found[0]
    several = len(statements)
    with library.engine.catalog.session() as session:
        session.add_all(Album(name=f"empty {number}") for number in range(40))
    statements.clear()
    assert len(albums.list_albums(library.engine.catalog)) == 43
    assert len(statements) * 2 == several  # the listing and the one album cost the same


def test_view_of_a_removed_or_changed_album_is_let_go(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "REUSE", 0.0)
    made = library.engine
    views = {view.album: view for view in made.views(None)}
    assert made.let_outdated_go() == 0
    albums.remove_album(made.catalog, library.settings, views["more0"].album_id, actor=Actor("me"))
    paint(tmp_path / "more1" / "b.png", 77)
    library.index("more1")
    del views
    assert made.let_outdated_go() == 2
    assert [view.album for view in made.views(None)] == ["small", "more1"]


def test_segments_that_only_views_of_the_past_needed_are_removed(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "REUSE", 0.0)
    made = library.engine
    made.views(None)
    for number in range(2):
        paint(tmp_path / "more1" / f"c{number}.png", 80 + number)
        library.index("more1")
    maintenance.compact(made.catalog, made.store)
    kept = maintenance.collect(made.catalog, made.store).kept_for_readers
    assert kept > 0
    made.let_outdated_go()
    made.views(None)  # opened after the compaction: none of the old files is theirs
    assert maintenance.collect(made.catalog, made.store).kept_for_readers == 0
