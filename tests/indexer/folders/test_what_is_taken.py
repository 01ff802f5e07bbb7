"""What a scan takes for photos of an album: links, other programs' folders, Referent's own."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import select

from indexer.db.catalog import Catalog
from indexer.db.tables import Photo, Root
from indexer.folders import globs
from indexer.folders.albums import change_album, ensure_album
from indexer.folders.globs import Globs
from indexer.folders.own_output import ALL, MARKER, make_room, mark
from indexer.folders.scan import ScanReport, scan_album


def photo(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (hash(path.name) % 256, len(path.name), 7)).save(path, format="PNG")
    return path


def scan(catalog: Catalog, *folders: Path, **options: object) -> ScanReport:
    with catalog.session() as session:
        name = ensure_album(session, folders, name="test").name
    return scan_album(catalog, name, **options)  # type: ignore[arg-type]


def paths(catalog: Catalog) -> set[str]:
    with catalog.reading() as session:
        found = session.scalars(select(Photo.path).where(Photo.deleted_at.is_(None)))
        return {os.fsdecode(path) for path in found}


SYSTEMS = (
    "@eaDir", "#recycle", "#snapshot", "@Recycle", "@Recently-Snapshot", "@__thumb", ".Trash-1000",
    "$RECYCLE.BIN", "RECYCLER", "System Volume Information", "recycled",
    "P.photoslibrary/resources/derivatives", "P.photoslibrary/private",
    "Old.photolibrary/Thumbnails",
)  # fmt: skip


def test_folders_that_systems_keep_for_themselves_are_left_out_and_counted(
    catalog: Catalog, tmp_path: Path
) -> None:
    for folder in SYSTEMS:
        photo(tmp_path / "sub" / folder / "x" / "deleted.png")
        photo(tmp_path / "sub" / folder / "deleted.png")
    photo(tmp_path / "sub" / "P.photoslibrary" / "originals" / "A" / "kept.png")
    photo(tmp_path / "sub" / "kept.png")
    report = scan(catalog, tmp_path)
    kept = {"sub/P.photoslibrary/originals/A/kept.png", "sub/kept.png"}
    assert paths(catalog) == kept
    assert report.left_out >= len(SYSTEMS) - 1
    assert any("left out: what systems and other programs" in note for note in report.notes)
    with catalog.session() as session:
        change_album(session, "test", everything=True)
    assert scan(catalog, tmp_path).new == 2 * len(SYSTEMS)
    with catalog.session() as session:
        change_album(session, "test", everything=False)
    again = scan(catalog, tmp_path)  # though most of the album goes nobody is asked
    assert (again.missing, again.unconfirmed) == (2 * len(SYSTEMS), 0)
    assert paths(catalog) == kept


def test_a_photos_library_that_is_the_album_itself_gives_its_originals(
    catalog: Catalog, tmp_path: Path
) -> None:
    library = tmp_path / "Photos Library.photoslibrary"
    photo(library / "originals" / "0" / "a.png")
    photo(library / "resources" / "derivatives" / "a.png")
    scan(catalog, library)
    assert paths(catalog) == {"originals/0/a.png"}


def test_nomedia_and_ignore_files_are_heeded(catalog: Catalog, tmp_path: Path) -> None:
    photo(tmp_path / "a.png")
    photo(tmp_path / "secret" / "deep" / "b.png")
    (tmp_path / "secret" / ".nomedia").touch()
    photo(tmp_path / "work" / "c.png")
    photo(tmp_path / "work" / "raw" / "d.png")
    photo(tmp_path / "work" / "d_thumb.png")
    (tmp_path / "work" / ".referentignore").write_text("# ours\n\nraw\n*_thumb.*\n!never\n")
    photo(tmp_path / "prism" / "e.png")
    (tmp_path / "prism" / ".ppignore").write_text("*\n")
    assert scan(catalog, tmp_path).left_out == 4
    assert paths(catalog) == {"a.png", "work/c.png"}
    # A look at one path, as --watch does, heeds them just the same.
    with catalog.reading() as session:
        root = session.scalars(select(Root.id)).one()
    looked = [
        b"secret/deep/b.png",
        b"secret/deep",
        b"work/raw/d.png",
        b"work/d_thumb.png",
        b"prism",
    ]
    for path in looked:
        assert scan(catalog, tmp_path, only={root: [path]}).files == 0, path
    (tmp_path / ".nomedia").touch()  # somebody chose this folder
    assert scan(catalog, tmp_path).unchanged == 2
    with catalog.session() as session:
        change_album(session, "test", everything=True)
    assert scan(catalog, tmp_path).new == 4


def test_what_referent_wrote_into_an_album_is_no_photo_of_it(
    catalog: Catalog, tmp_path: Path
) -> None:
    photo(tmp_path / "a.png")
    photo(tmp_path / "old" / "b.png")
    before = scan(catalog, tmp_path).files
    written = (
        ("new", "new/masks/deep/a.png"),
        ("old", "old/overlays/b.jpg.png"),  # a folder of somebody's photos
        ("old", "old/b.png.png"),
        (".", "cut/a.png"),
        (".", "sheet.png"),
    )
    for base, name in written:
        make_room(tmp_path / base, tmp_path / name)
        photo(tmp_path / name)
    photo(tmp_path / "old" / "c.png")  # ours is what we wrote, not what comes to lie beside it
    assert (tmp_path / "new" / MARKER).is_file()
    report = scan(catalog, tmp_path)
    assert (before, report.files) == (2, 3)
    assert paths(catalog) == {"a.png", "old/b.png", "old/c.png"}
    with catalog.reading() as session:
        root = session.scalars(select(Root.id)).one()
    for _, name in written:
        assert scan(catalog, tmp_path, only={root: [name.encode()]}).files == 0, name
    with catalog.session() as session:
        change_album(session, "test", everything=True)  # not even then
    assert scan(catalog, tmp_path).files == 3
    with catalog.session() as session:  # but who names the folder itself means it
        ensure_album(session, [tmp_path / "new"], name="output")
    assert scan_album(catalog, "output").new == 1


def test_photos_indexed_before_their_folder_was_marked_leave_without_a_question(
    catalog: Catalog, tmp_path: Path
) -> None:
    photo(tmp_path / "a.png")
    for number in range(8):
        photo(tmp_path / "uploads" / f"{number}.png")
    assert scan(catalog, tmp_path).new == 9
    mark(tmp_path / "uploads", ALL)
    report = scan(catalog, tmp_path)
    assert (report.missing, report.unconfirmed, report.unchanged) == (8, 0, 1)


def test_kinds_that_are_not_read_are_counted(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(globs, "reads_raw", lambda: False)
    folder = photo(tmp_path / "album" / "a.png").parent
    for name in ("1.CR2", "2.cr2", "3.jxl", "4.MOV", "x/5.mov", "6.mov"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    (folder / "notes.txt").write_text("x")
    report = scan(catalog, folder)
    assert report.unread == {"cr2": 2, "jxl": 1, "mov": 3}
    assert "6 files of kinds that are not read: 3 mov, 2 cr2, 1 jxl" in report.notes
    assert report.skipped == 7


def test_links_are_followed_out_of_an_album_as_far_as_its_owner_allows(
    catalog: Catalog, tmp_path: Path
) -> None:
    album, other = tmp_path / "album", tmp_path / "other"
    photo(album / "a.png")
    photo(other / "2019" / "b.png")
    photo(other / "c.png")
    (album / "2019").symlink_to(other / "2019")
    (album / "c.png").symlink_to(other / "c.png")
    (album / "twice.png").symlink_to(album / "a.png")
    scan(catalog, album)
    assert paths(catalog) == {"a.png", "2019/b.png", "c.png"}
    with catalog.session() as session:
        session.scalars(select(Root)).one().follow_links = False
    report = scan_album(catalog, "test", confirm_deletions=True)
    assert (report.links_out, report.missing) == (2, 2)
    assert any("2 links lead out of the album" in note for note in report.notes)
    assert paths(catalog) == {"a.png"}


def test_hidden_objects_that_links_inside_an_album_lead_to_are_its_photos(
    catalog: Catalog, tmp_path: Path
) -> None:
    stored = photo(tmp_path / ".git" / "annex" / "objects" / "f8" / "SHA256E-s70--0af3.png")
    (tmp_path / "beach.png").symlink_to(os.path.relpath(stored, tmp_path))
    with catalog.session() as session:
        ensure_album(session, [tmp_path], name="test")
        session.scalars(select(Root)).one().follow_links = False  # they don't lead out of it
    assert scan_album(catalog, "test").new == 1
    assert paths(catalog) == {"beach.png"}


def test_a_linked_folder_whose_disk_is_away_loses_no_photo(
    catalog: Catalog, tmp_path: Path
) -> None:
    album, disk = tmp_path / "album", tmp_path / "disk"
    photo(album / "a.png")
    for number in range(3):
        photo(disk / "2019" / f"{number}.png")
    (album / "2019").symlink_to(disk / "2019")
    assert scan(catalog, album).new == 4
    disk.rename(tmp_path / "away")
    report = scan(catalog, album)
    assert (report.missing, report.unconfirmed) == (0, 0)
    assert len(paths(catalog)) == 4
    (album / "2019").unlink()
    assert scan(catalog, album, confirm_deletions=True).missing == 3


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_globs_know_names_in_either_unicode_form_and_any_case(form: str) -> None:
    def written(text: str) -> str:
        return unicodedata.normalize(form, text)  # type: ignore[arg-type]

    for other in ("NFC", "NFD"):
        path = os.fsencode(unicodedata.normalize(other, "Été 2023/Ü.HEIC"))  # type: ignore[arg-type]
        assert Globs([written("Été 2023")]).takes(path)
        assert not Globs(exclude=[written("été*/**")]).takes(path)
        assert not Globs(exclude=[written("?.heic")]).takes(path)
        assert Globs(["*.heic"]).takes(path)
    assert Globs([], ["x"]).takes(b"caf\xe9 \xff/a.jpg")
