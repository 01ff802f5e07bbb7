"""Names in two Unicode forms are one name; the bytes on disk stay as they are."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from sqlalchemy import select

from indexer.backup.restore import _rehome
from indexer.db.audit import Actor
from indexer.db.catalog import Catalog, album_named
from indexer.db.tables import Album, Photo, Root
from indexer.errors import AlbumExists, UnknownAlbum, UnknownGlob
from indexer.folders.albums import change_album, drop_folder, ensure_album, rename_album
from indexer.folders.scan import scan_album
from search_api.errors import AlreadyExists
from search_api.search.albums import album_id_of, create_album
from search_api.search.filters import compile_glob
from search_api.search.timeline import Timelines
from tests.support.library import paint

COMPOSED = unicodedata.normalize("NFC", "Été 2023")
DECOMPOSED = unicodedata.normalize("NFD", "Été 2023")
ME = Actor("me")
FORMS = [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)]


@pytest.mark.parametrize(("on_disk", "asked"), FORMS)
def test_an_album_and_its_folder_are_found_by_either_form(
    catalog: Catalog, tmp_path: Path, on_disk: str, asked: str
) -> None:
    paint(tmp_path / on_disk / "Ü" / "a.png", 1)
    with catalog.session() as session:
        album = ensure_album(session, [tmp_path / asked])
        assert ensure_album(session, [tmp_path / on_disk]).id == album.id
        assert album_named(session, asked).id == album_named(session, on_disk).id == album.id
        assert session.scalars(select(Root.path)).all() == [os.fsencode(tmp_path / on_disk)]
        number = album.id
    assert album_id_of(catalog, asked) == number
    assert scan_album(catalog, asked).new == 1
    with catalog.session() as session:
        assert session.scalars(select(Photo.path)).one() == "Ü/a.png".encode()
        album = album_named(session, on_disk)
        change_album(session, asked, exclude=[on_disk])
        change_album(session, asked, drop_globs=[asked])
        with pytest.raises(UnknownGlob):
            change_album(session, asked, drop_globs=[asked])
        assert drop_folder(session, album, tmp_path / asked) == 1
        with pytest.raises(UnknownAlbum):
            album_named(session, "Ete 2023")


@pytest.mark.parametrize(("first", "second"), FORMS)
def test_no_two_albums_have_one_name_in_two_forms(
    catalog: Catalog, first: str, second: str
) -> None:
    create_album(catalog, first, actor=ME)
    with pytest.raises(AlreadyExists):
        create_album(catalog, second, actor=ME)
    other = create_album(catalog, "other", actor=ME)
    with catalog.session() as session, pytest.raises(AlbumExists):
        rename_album(session, session.get_one(Album, other.id), second)
    with catalog.session() as session:  # as an earlier version kept it
        album_named(session, first).name = DECOMPOSED
    assert album_id_of(catalog, COMPOSED) == album_id_of(catalog, DECOMPOSED)


@pytest.mark.parametrize(("on_disk", "asked"), FORMS)
def test_a_restored_library_s_folder_is_found_by_either_form(
    catalog: Catalog, tmp_path: Path, on_disk: str, asked: str
) -> None:
    (tmp_path / on_disk / "2023").mkdir(parents=True)
    (tmp_path / f"{on_disk} too").mkdir()
    with catalog.session() as session:
        ensure_album(session, [tmp_path / on_disk / "2023", tmp_path / f"{on_disk} too"])
        assert _rehome(session, os.fsencode(tmp_path / asked), b"/new place/") == 1
        paths = set(session.scalars(select(Root.path)))
    assert paths == {b"/new place/2023", os.fsencode(tmp_path / f"{on_disk} too")}


def test_names_stand_in_one_order_whichever_system_wrote_them(
    catalog: Catalog, tmp_path: Path
) -> None:
    for number, name in enumerate(("z.png", "e.png", "É1.png", "É2.png")):
        paint(tmp_path / unicodedata.normalize("NFD" if number % 2 else "NFC", name), number)
    with catalog.session() as session:
        ensure_album(session, [tmp_path], name="test")
    scan_album(catalog, "test")
    made = Timelines(catalog).of("test", "name")
    assert [(each.key, each.photos) for each in made.groups] == [("E", 1), ("Z", 1), ("É", 2)]


@pytest.mark.parametrize(("written", "asked"), FORMS)
def test_a_search_s_glob_matches_either_form_and_any_case(written: str, asked: str) -> None:
    path = f"{written}/IMG_0001.HEIC"
    for glob in ("*.heic", "img_*", f"{asked}/*.Heic", f"**/{asked.lower()}/**", "ÉTÉ*/**"):
        assert compile_glob(glob)(path), glob
    assert not compile_glob("*.jpg")(path)
    assert not compile_glob("Ete*/**")(path)
