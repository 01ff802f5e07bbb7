"""Scanning folders into an album's rows."""

from __future__ import annotations

import os
import queue
import shutil
import threading
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import select

from indexer.db.catalog import Catalog, album_named, count_by_status
from indexer.db.tables import Album, Photo, Root
from indexer.errors import FolderError
from indexer.folders.albums import ensure_album, list_albums
from indexer.folders.globs import Globs
from indexer.folders.scan import ScanProgress, ScanReport, scan_album
from indexer.folders.watch import watch_albums


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of photos of different colours: a.png, b.png, sub/c.png, sub/d.png."""
    root = tmp_path / "photos"
    for number, name in enumerate(("a.png", "b.png", "sub/c.png", "sub/d.png")):
        photo(root / name, number)
    return root


def photo(path: Path, colour: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (colour, colour // 256, 7)).save(path, format="PNG")
    return path


def scan(catalog: Catalog, *folders: Path, **options: object) -> ScanReport:
    with catalog.session() as session:
        name = ensure_album(session, folders, name="test").name
    return scan_album(catalog, name, **options)  # type: ignore[arg-type]


def rows(catalog: Catalog, album: str = "test") -> dict[bytes, Photo]:
    query = select(Photo).join(Album, Album.id == Photo.album_id)
    with catalog.reading() as session:
        photos = session.scalars(query.where(Photo.deleted_at.is_(None), Album.name == album)).all()
        return {row.path: row for row in photos}


def mark_all(catalog: Catalog, status: str) -> None:
    with catalog.session() as session:
        for row in session.scalars(select(Photo)):
            row.status = status


def test_new_photos_wait_for_the_index(catalog: Catalog, folder: Path) -> None:
    report = scan(catalog, folder)
    assert (report.new, report.files, report.errors) == (4, 4, [])
    found = rows(catalog)
    assert sorted(found) == [b"a.png", b"b.png", b"sub/c.png", b"sub/d.png"]
    row = found[b"sub/c.png"]
    assert row.status == "new"
    assert row.size == (folder / "sub/c.png").stat().st_size
    assert row.content_hash and len(row.content_hash) == 40


def test_unchanged_photos_are_not_read_again(catalog: Catalog, folder: Path) -> None:
    scan(catalog, folder)
    mark_all(catalog, "indexed")
    report = scan(catalog, folder)
    assert (report.unchanged, report.read_bytes) == (4, 0)
    assert {row.status for row in rows(catalog).values()} == {"indexed"}


def test_renamed_and_moved_photos_keep_their_row(catalog: Catalog, folder: Path) -> None:
    scan(catalog, folder)
    mark_all(catalog, "indexed")
    before = rows(catalog)
    (folder / "a.png").rename(folder / "zebra.png")
    (folder / "deep").mkdir()
    (folder / "sub/c.png").rename(folder / "deep/c.png")
    report = scan(catalog, folder)
    assert (report.moved, report.new, report.missing, report.unchanged) == (2, 0, 0, 2)
    after = rows(catalog)
    assert after[b"zebra.png"].id == before[b"a.png"].id
    assert after[b"deep/c.png"].id == before[b"sub/c.png"].id
    assert {row.status for row in after.values()} == {"indexed"}


def test_a_photo_that_returns_from_the_missing_is_found_by_its_content(
    catalog: Catalog, folder: Path
) -> None:
    scan(catalog, folder)
    before = rows(catalog)
    data = (folder / "a.png").read_bytes()
    (folder / "a.png").unlink()
    assert scan(catalog, folder).missing == 1
    assert b"a.png" not in rows(catalog)
    (folder / "elsewhere.png").write_bytes(data)
    report = scan(catalog, folder)
    assert (report.moved, report.new) == (1, 0)
    row = rows(catalog)[b"elsewhere.png"]
    assert (row.id, row.status) == (before[b"a.png"].id, "new")


def test_a_deleted_photo_is_a_tombstone_and_comes_back_to_its_place(
    catalog: Catalog, folder: Path
) -> None:
    scan(catalog, folder)
    (folder / "b.png").rename(folder.parent / "b.png")
    assert scan(catalog, folder).missing == 1
    with catalog.reading() as session:
        row = session.scalars(select(Photo).where(Photo.path == b"b.png")).one()
        assert row.status == "missing" and row.deleted_at is not None
        counts = count_by_status(session, row.album_id)
        assert counts == {"new": 3, "indexed": 0, "failed": 0, "missing": 1}
    assert scan(catalog, folder).unchanged == 3
    (folder.parent / "b.png").rename(folder / "b.png")
    assert scan(catalog, folder).returned == 1
    assert len(rows(catalog)) == 4


def test_an_edited_photo_waits_for_the_index_again(catalog: Catalog, folder: Path) -> None:
    scan(catalog, folder)
    mark_all(catalog, "indexed")
    before = rows(catalog)[b"a.png"]
    photo(folder / "a.png", 999)
    report = scan(catalog, folder)
    assert (report.changed, report.unchanged) == (1, 3)
    after = rows(catalog)[b"a.png"]
    assert (after.id, after.status, after.width) == (before.id, "new", None)
    assert after.content_hash != before.content_hash


def test_a_touched_photo_is_read_but_not_encoded_again(catalog: Catalog, folder: Path) -> None:
    scan(catalog, folder)
    mark_all(catalog, "indexed")
    os.utime(folder / "a.png", ns=(1, 1))
    report = scan(catalog, folder)
    assert (report.changed, report.unchanged) == (0, 4)
    assert report.read_bytes == (folder / "a.png").stat().st_size
    assert rows(catalog)[b"a.png"].status == "indexed"
    assert scan(catalog, folder).read_bytes == 0


def test_same_size_and_time_but_another_file_is_read(catalog: Catalog, folder: Path) -> None:
    first = b"\x89PNG one"
    (folder / "x.png").write_bytes(first)
    os.utime(folder / "x.png", ns=(5, 5))
    scan(catalog, folder)
    (folder / "new").write_bytes(b"\x89PNG two")
    os.utime(folder / "new", ns=(5, 5))
    (folder / "new").replace(folder / "x.png")
    assert scan(catalog, folder).changed == 1


def test_copies_are_rows_of_one_content(catalog: Catalog, folder: Path) -> None:
    (folder / "copy.png").write_bytes((folder / "a.png").read_bytes())
    assert scan(catalog, folder).new == 5
    found = rows(catalog)
    assert found[b"copy.png"].content_hash == found[b"a.png"].content_hash
    with catalog.reading() as session:
        assert list_albums(session, "test")[0].duplicates == 1
    (folder / "a.png").unlink()
    report = scan(catalog, folder)
    assert (report.missing, report.moved) == (1, 0)  # the copy was there before: nothing moved


def test_an_offline_root_deletes_nothing(catalog: Catalog, folder: Path, tmp_path: Path) -> None:
    scan(catalog, folder)
    folder.rename(tmp_path / "unplugged")
    for place in ("nothing", "empty folder", "file"):
        if place == "empty folder":
            folder.mkdir()
        elif place == "file":
            folder.rmdir()
            folder.touch()
        report = scan_album(catalog, "test", confirm_deletions=True)
        assert report.missing == 0 and len(report.offline) == 1
        assert report.offline[0][0] == str(folder)
        assert len(rows(catalog)) == 4
    folder.unlink()
    (tmp_path / "unplugged").rename(folder)
    assert scan(catalog, folder).unchanged == 4


def test_a_mount_that_is_gone_deletes_nothing_even_where_other_files_lie(
    catalog: Catalog, folder: Path
) -> None:
    scan(catalog, folder)
    with catalog.session() as session:  # as if "sub" and the root had been mount points
        root = session.scalars(select(Root)).one()
        root.mounts = [b"sub".hex()]
    for name in ("c.png", "d.png"):
        (folder / "sub" / name).unlink()
    report = scan_album(catalog, "test", confirm_deletions=True)
    assert report.missing == 0 and "mount point" in report.offline[0][1]
    (folder / "sub").rmdir()
    assert scan_album(catalog, "test", confirm_deletions=True).missing == 0
    with catalog.session() as session:
        session.scalars(select(Root)).one().mounts = [b"".hex()]
    report = scan_album(catalog, "test")
    assert report.missing == 0 and "--confirm-deletions" in report.offline[0][1]
    assert scan_album(catalog, "test", confirm_deletions=True).missing == 2


def test_more_than_half_of_an_album_asks_before_it_goes(catalog: Catalog, folder: Path) -> None:
    scan(catalog, folder)
    for name in ("a.png", "sub/c.png", "sub/d.png"):
        (folder / name).unlink()
    photo(folder / "e.png", 5)
    report = scan(catalog, folder)
    assert (report.missing, report.unconfirmed, report.new) == (0, 3, 1)
    assert report.question is not None and "--confirm-deletions" in report.question
    assert len(rows(catalog)) == 5
    report = scan(catalog, folder, confirm_deletions=True)
    assert (report.missing, report.unconfirmed, report.question) == (3, 0, None)
    assert sorted(rows(catalog)) == [b"b.png", b"e.png"]


def test_moving_the_whole_album_asks_nothing(catalog: Catalog, folder: Path) -> None:
    scan(catalog, folder)
    ids = {row.id for row in rows(catalog).values()}
    (folder / "2024").mkdir()
    for name in ("a.png", "b.png", "sub"):
        (folder / name).rename(folder / "2024" / name)
    report = scan(catalog, folder)
    assert (report.moved, report.missing, report.question) == (4, 0, None)
    assert {row.id for row in rows(catalog).values()} == ids


def test_photos_move_between_the_roots_of_an_album(
    catalog: Catalog, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "archive").mkdir()
    photo(tmp_path / "archive" / "old.png", 77)
    assert scan(catalog, folder, tmp_path / "archive").new == 5
    ids = {row.id for row in rows(catalog).values()}
    (folder / "b.png").rename(tmp_path / "archive" / "b.png")
    (folder / "a.png").rename(tmp_path / "archive" / "a.png")
    report = scan(catalog, folder, tmp_path / "archive")
    assert (report.moved, report.missing, report.new) == (2, 0, 0)
    assert {row.id for row in rows(catalog).values()} == ids


def test_a_root_inside_another_is_not_counted_twice(catalog: Catalog, folder: Path) -> None:
    assert scan(catalog, folder, folder / "sub").new == 4
    assert sorted(rows(catalog)) == [b"a.png", b"b.png", b"c.png", b"d.png"]
    assert scan(catalog, folder, folder / "sub").unchanged == 4


def test_links_are_followed_once_and_loops_end(
    catalog: Catalog, folder: Path, tmp_path: Path
) -> None:
    photo(tmp_path / "outside" / "o.png", 50)
    (tmp_path / "outside" / "back").symlink_to(folder)
    (folder / "linked").symlink_to(tmp_path / "outside")
    (folder / "again").symlink_to(tmp_path / "outside")
    (folder / "sub" / "loop").symlink_to(folder)
    (folder / "sub" / "self.png").symlink_to("self.png")
    (folder / "same.png").symlink_to(folder / "a.png")
    (folder / "nowhere.png").symlink_to(tmp_path / "absent.png")
    photo(tmp_path / "single.png", 60)
    (folder / "single.png").symlink_to(tmp_path / "single.png")
    report = scan(catalog, folder)
    assert report.errors == []
    expected = [b"a.png", b"again/o.png", b"b.png", b"single.png", b"sub/c.png", b"sub/d.png"]
    assert sorted(rows(catalog)) == expected
    assert scan(catalog, folder).unchanged == 6


def test_names_that_are_not_utf_8_survive(catalog: Catalog, folder: Path) -> None:
    names = [b"caf\xe9.png", b"\xff\xfe.jpg", "日本.png".encode(), b"new\nline.png", b" .png"]
    for number, name in enumerate(names):
        photo(folder / os.fsdecode(name), 100 + number)
    assert scan(catalog, folder).new == 9
    assert set(names) <= rows(catalog).keys()
    report = scan(catalog, folder)
    assert (report.unchanged, report.missing) == (9, 0)


def test_pipes_and_what_is_no_photo_are_skipped(catalog: Catalog, folder: Path) -> None:
    os.mkfifo(folder / "pipe.jpg")
    (folder / "notes.txt").write_text("no photo")
    (folder / ".hidden.png").write_bytes(b"x")
    photo(folder / ".thumbnails" / "t.png", 9)
    photo(folder / "@eaDir" / "t.png", 9)
    report = scan(catalog, folder)
    assert (report.new, report.skipped) == (4, 3)


def test_globs_include_and_exclude(catalog: Catalog, folder: Path) -> None:
    photo(folder / "raw" / "r.png", 20)
    photo(folder / "2019" / "may" / "raw" / "m.png", 21)
    photo(folder / "2019" / "may" / "n.JPG", 22)
    assert scan(catalog, folder).new == 7
    with catalog.session() as session:
        ensure_album(session, [], name="test", exclude=["raw", "sub/c.*"])
    report = scan_album(catalog, "test")
    assert (report.missing, report.unconfirmed) == (3, 0)  # excluded on purpose: nothing is asked
    assert sorted(rows(catalog)) == [b"2019/may/n.JPG", b"a.png", b"b.png", b"sub/d.png"]
    with catalog.session() as session:
        ensure_album(session, [], name="test", include=["2019", "*.gif"])
    scan_album(catalog, "test")
    assert sorted(rows(catalog)) == [b"2019/may/n.JPG"]


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("raw", b"a/raw", True),
        ("raw", b"a/rawer", False),
        ("*.gif", b"deep/down/x.gif", True),
        ("2019/*/raw", b"2019/may/raw", True),
        ("2019/*/raw", b"2019/may/late/raw", False),
        ("2019/**/raw", b"2019/may/late/raw", True),
        ("2019/**/raw", b"2019/raw", True),
        ("[ab]?.png", b"bx.png", True),
        ("[!ab]?.png", b"bx.png", False),
        ("IMG_[0-9].png", b"x/IMG_7.png", True),
        ("a.b", b"aXb", False),
        ("caf\udce9", b"caf\xe9", True),
        ("**/raw/*b*b", b"a/b/raw/xbab", True),
        ("**/raw/*b*b", b"a/b/raw/xba", False),
        ("a/**/b/c/**/d", b"a/b/b/c/x/d", True),
        ("a/**/b/c/**/d", b"a/b/x/c/d", False),
        ("2019**", b"2019-05", True),
        ("[+-9]", b"a/b", False),
        ("[z-a]x", b"mx", False),
        ("[!z-a]x", b"mx", True),
        ("[]]", b"]", True),
    ],
)
def test_globs_match_names_or_whole_paths(glob: str, path: bytes, matches: bool) -> None:
    assert Globs(exclude=[glob]).skips_folder(path) is matches


@pytest.mark.parametrize(
    "glob", ["/".join(["*a*a*a*a*a*a*b"] * 8 + ["**"] * 40), "*a" * 60 + "b", "**/*a*b/" * 20 + "c"]
)
def test_no_glob_of_an_album_takes_long(glob: str) -> None:
    globs = Globs([glob], [glob])
    assert not globs.takes(b"/".join([b"a" * 200] * 20) + b".jpg")
    assert not globs.takes(b"/".join([b"a"] * 1500) + b".jpg")


def test_an_unreadable_folder_keeps_its_photos(
    catalog: Catalog, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan(catalog, folder)
    forbid(monkeypatch, "scandir", folder / "sub")
    (folder / "b.png").unlink()
    report = scan(catalog, folder)
    assert report.missing == 1
    assert report.errors == [(str(folder / "sub"), "Permission denied")]
    assert sorted(rows(catalog)) == [b"a.png", b"sub/c.png", b"sub/d.png"]


def test_an_unreadable_photo_is_a_failed_row_until_it_can_be_read(
    catalog: Catalog, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        forbid(patch, "open", folder / "a.png")
        report = scan(catalog, folder)
        assert report.errors == [(str(folder / "a.png"), "cannot be read: Permission denied")]
        row = rows(catalog)[b"a.png"]
        assert (row.status, row.error) == ("failed", "cannot be read: Permission denied")
        assert row.content_hash is None
    report = scan(catalog, folder)
    assert report.changed == 1
    row = rows(catalog)[b"a.png"]
    assert (row.status, row.error) == ("new", None)


def test_known_photo_that_grows_over_the_limit_or_cannot_be_read_any_more_fails(
    catalog: Catalog, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan(catalog, folder)
    mark_all(catalog, "indexed")
    before = rows(catalog)[b"a.png"].id
    good = (folder / "a.png").read_bytes()
    with (folder / "a.png").open("wb") as file:
        file.truncate(3 * 2**20)
    photo(folder / "b.png", 77)
    with monkeypatch.context() as patch:
        forbid(patch, "open", folder / "b.png")
        report = scan(catalog, folder, max_file_bytes=2**20)
    assert (report.unreadable, report.unchanged, report.files) == (2, 2, 4)
    for path, reason in ((b"a.png", "has 3 MiB"), (b"b.png", "cannot be read")):
        row = rows(catalog)[path]
        assert (row.status, row.content_hash, row.width) == ("failed", None, None)
        assert row.error is not None and row.error.startswith(reason)
    (folder / "a.png").write_bytes(good)
    assert scan(catalog, folder, max_file_bytes=2**20).changed == 2
    row = rows(catalog)[b"a.png"]
    assert (row.id, row.status, row.error) == (before, "new", None)


def forbid(patch: pytest.MonkeyPatch, call: str, place: Path) -> None:
    """Make an os call fail at one place, as permissions do (which root ignores)."""
    real = getattr(os, call)

    def checked(path: bytes | str, *arguments: object) -> object:
        if os.fsencode(path).rstrip(b"/") == os.fsencode(place):
            raise PermissionError(13, "Permission denied", path)
        return real(path, *arguments)

    patch.setattr(os, call, checked)


def test_a_file_over_the_limit_of_bytes_is_not_read(catalog: Catalog, folder: Path) -> None:
    with (folder / "huge.jpg").open("wb") as file:
        file.truncate(3 * 2**20)
    report = scan(catalog, folder, max_file_bytes=2**20)
    assert report.read_bytes < 2**20
    row = rows(catalog)[b"huge.jpg"]
    assert row.status == "failed" and row.error is not None
    assert row.error.startswith("has 3 MiB, the limit is 1 MiB")
    assert scan(catalog, folder, max_file_bytes=2**20).unchanged == 5
    assert scan(catalog, folder).changed == 1


def test_a_scan_that_is_stopped_deletes_nothing_and_the_next_one_ends_it(
    catalog: Catalog, folder: Path
) -> None:
    scan(catalog, folder)
    (folder / "a.png").rename(folder / "zz.png")
    report = scan(catalog, folder, should_stop=lambda: True)
    assert report.stopped and report.missing == 0
    report = scan(catalog, folder)
    assert (report.moved, report.missing) == (1, 0)
    assert len(rows(catalog)) == 4


def test_two_scans_at_once_make_each_row_once(catalog: Catalog, folder: Path) -> None:
    for number in range(200):
        photo(folder / f"{number}.png", 1000 + number)
    with catalog.session() as session:
        ensure_album(session, [folder], name="test")
    failures = []

    def work() -> None:
        try:
            scan_album(catalog, "test")
        except Exception as error:  # handed to the test's thread
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(rows(catalog)) == 204


def test_only_the_named_paths_are_looked_at(catalog: Catalog, folder: Path) -> None:
    scan(catalog, folder)
    root_id = rows(catalog)[b"a.png"].root_id
    photo(folder / "sub" / "e.png", 31)
    photo(folder / "f.png", 32)
    (folder / "sub" / "c.png").unlink()
    (folder / "b.png").unlink()
    report = scan_album(catalog, "test", only={root_id: [b"sub", b"sub/e.png", b"absent"]})
    assert (report.new, report.missing, report.unchanged) == (1, 1, 1)
    assert sorted(rows(catalog)) == [b"a.png", b"b.png", b"sub/d.png", b"sub/e.png"]
    report = scan_album(catalog, "test", only={root_id: [b"f.png", b"b.png"]})
    assert (report.new, report.missing) == (1, 1)


def test_progress_tells_how_far_a_scan_is(catalog: Catalog, folder: Path) -> None:
    told: list[ScanProgress] = []
    scan(catalog, folder, progress=told.append)
    assert told[-1].files == 4 and told[-1].new == 4 and told[-1].read_bytes > 0


def test_a_scan_raises_the_albums_revision_only_when_something_changed(
    catalog: Catalog, folder: Path
) -> None:
    def revision() -> int:
        with catalog.reading() as session:
            return album_named(session, "test").revision

    scan(catalog, folder)
    first = revision()
    scan(catalog, folder)
    assert revision() == first
    (folder / "a.png").unlink()
    scan(catalog, folder)
    assert revision() > first


def watching(
    catalog: Catalog, names: list[str], reports: queue.Queue[ScanReport], stop: threading.Event
) -> threading.Thread:
    """Scan whatever `watch_albums` tells of, in a thread."""

    def work() -> None:
        for name, only in watch_albums(catalog, names, stop=stop, quiet_ms=100):
            reports.put(scan_album(catalog, name, only=only))

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_watching_keeps_albums_current(catalog: Catalog, folder: Path, tmp_path: Path) -> None:
    photo(tmp_path / "second" / "s.png", 41)
    with catalog.session() as session:
        ensure_album(session, [folder], name="test")
        ensure_album(session, [tmp_path / "second", folder / "sub"], name="other")
    reports: queue.Queue[ScanReport] = queue.Queue()
    stop = threading.Event()
    watcher = watching(catalog, ["test", "other"], reports, stop)
    try:
        assert [reports.get(timeout=60).new for _ in range(2)] == [4, 3]
        photo(folder / "new" / "n.png", 40)
        (folder / "a.png").rename(folder / "moved.png")
        (folder / "b.png").unlink()
        (folder / "sub" / "c.png").rename(folder / "sub" / "e.png")
        wanted = {b"moved.png", b"new/n.png", b"sub/d.png", b"sub/e.png"}
        others = {b"s.png", b"d.png", b"e.png"}
        while rows(catalog).keys() != wanted or rows(catalog, "other").keys() != others:
            reports.get(timeout=60)
    finally:
        stop.set()
        watcher.join()


def test_watching_survives_names_that_are_not_utf_8(catalog: Catalog, folder: Path) -> None:
    with catalog.session() as session:
        ensure_album(session, [folder], name="test")
    reports: queue.Queue[ScanReport] = queue.Queue()
    stop = threading.Event()
    watcher = watching(catalog, ["test"], reports, stop)
    try:
        reports.get(timeout=60)
        (folder / "a.png").rename(folder / os.fsdecode(b"\xff.png"))
        while b"\xff.png" not in rows(catalog):
            reports.get(timeout=60)
        photo(folder / "z.png", 42)
        while b"z.png" not in rows(catalog):
            reports.get(timeout=60)
    finally:
        stop.set()
        watcher.join()


def test_all_is_looked_at_again_now_and_then(catalog: Catalog, folder: Path) -> None:
    with catalog.session() as session:
        ensure_album(session, [folder], name="test")
    looks = watch_albums(catalog, ["test"], stop=threading.Event(), rescan_s=0.0)
    assert [next(looks) for _ in range(3)] == [("test", None)] * 3


def test_watching_albums_without_folders_says_so(catalog: Catalog, folder: Path) -> None:
    scan(catalog, folder)
    shutil.rmtree(folder)
    with pytest.raises(FolderError, match="none of the folders of 'test'"):
        next(watch_albums(catalog, ["test"], stop=threading.Event()))
