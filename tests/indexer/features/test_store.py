"""The feature store: what is written is read back, and no crash loses or leaves anything."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from indexer.db.catalog import Catalog
from indexer.db.owner import is_gone, new_owner
from indexer.db.tables import Album, FeatureRow, Photo, Root, Segment
from indexer.errors import (
    CatalogUnreachable,
    DamagedSegment,
    FeaturesMissing,
    LeaseLost,
    NoSpaceLeft,
)
from indexer.features import maintenance, segment
from indexer.features.store import FeatureStore, Part
from indexer.features.verify import verify

DTYPE = np.dtype([("sums", "<f2", (4, 3)), ("scale", "<f4", (4,))])
TOKENS = "a" * 16


@pytest.fixture
def store(catalog: Catalog, tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "features", catalog)


def digests(*numbers: int) -> list[str]:
    return [f"{number:040x}" for number in numbers]


def rows_of(*numbers: int) -> np.ndarray:
    """Rows whose every value is the number of their content."""
    rows = np.zeros(len(numbers), DTYPE)
    rows["sums"] = np.array(numbers)[:, None, None]
    rows["scale"] = np.array(numbers)[:, None]
    return rows


def part(*numbers: int, tier: str = "tokens", fingerprint: str = TOKENS) -> Part:
    return Part(tier, fingerprint, DTYPE, digests(*numbers), rows_of(*numbers))


def with_photos(catalog: Catalog, *numbers: int) -> None:
    """Photos of these contents, so that their rows are needed."""
    with catalog.session() as session:
        album = Album(name=f"album {numbers}", settings={})
        session.add(album)
        session.flush()
        root = Root(album_id=album.id, path=b"/photos")
        session.add(root)
        session.flush()
        for number, digest in zip(numbers, digests(*numbers), strict=True):
            session.add(
                Photo(
                    album_id=album.id,
                    root_id=root.id,
                    path=f"{number}.jpg".encode(),
                    content_hash=digest,
                    size=1,
                    mtime_ns=1,
                    inode=1,
                    status="indexed",
                )
            )


def files(store: FeatureStore) -> list[Path]:
    return sorted(path for path in store.folder.glob("*/*/*") if path.is_file())


def flip(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x10
    path.write_bytes(data)


def count(catalog: Catalog, state: str) -> int:
    with catalog.reading() as session:
        return session.scalar(select(func.count()).where(Segment.state == state)) or 0


# -- the file ----------------------------------------------------------------------------------


def test_segment_gives_back_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "one.seg"
    size, checksum = segment.write_segment(
        path,
        tier="tokens",
        fingerprint=TOKENS,
        rows=iter([rows_of(1, 2), rows_of(3)]),
        content_hashes=digests(1, 2, 3),
        dtype=DTYPE,
    )
    assert size == path.stat().st_size
    mapped = segment.map_rows(path)
    assert mapped.dtype == DTYPE
    assert not mapped.flags.writeable
    np.testing.assert_array_equal(mapped, rows_of(1, 2, 3))
    header = segment.read_header(path)
    assert (header.tier, header.fingerprint, header.rows) == ("tokens", TOKENS, 3)
    check = segment.check_segment(path)
    assert check.content_hashes == digests(1, 2, 3)
    assert (check.bad_positions, check.frame_intact, check.checksum) == ([], True, checksum)


def test_every_flipped_bit_of_a_segment_is_found(tmp_path: Path) -> None:
    path = tmp_path / "one.seg"
    segment.write_segment(
        path,
        tier="tokens",
        fingerprint=TOKENS,
        rows=rows_of(1, 2, 3),
        content_hashes=digests(1, 2, 3),
        dtype=DTYPE,
    )
    whole = path.read_bytes()
    header = segment.read_header(path)
    rng = np.random.default_rng(0)
    spots = {int(each) for each in rng.integers(0, len(whole), 150)} | {0, 9, len(whole) - 1}
    for spot in spots:
        flip(path, spot)
        try:
            check = segment.check_segment(path)
        except DamagedSegment:
            assert spot < header.data_offset
        else:
            if header.data_offset <= spot < header.table_offset:
                row = (spot - header.data_offset) // header.row_bytes
                assert (check.bad_positions, check.frame_intact) == ([row], True)
            else:
                assert not check.frame_intact
        path.write_bytes(whole)


@pytest.mark.parametrize("keep", [0, 5, 4000, 5000])
def test_segment_cut_short_is_refused_by_name(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "one.seg"
    segment.write_segment(
        path,
        tier="tokens",
        fingerprint=TOKENS,
        rows=rows_of(*range(100)),
        content_hashes=digests(*range(100)),
        dtype=DTYPE,
    )
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DamagedSegment, match=r"one\.seg.*the next index mends it"):
        segment.map_rows(path)


# -- the commit --------------------------------------------------------------------------------


def test_rows_are_there_once_whoever_commits_them(catalog: Catalog, store: FeatureStore) -> None:
    store.commit([part(1, 2, 3)], new_owner())
    store.commit([part(3, 4)], new_owner())
    with catalog.reading() as session:
        assert sorted(session.scalars(select(FeatureRow.content_hash))) == digests(1, 2, 3, 4)
    fetched = store.fetch(TOKENS, digests(4, 2, 3), DTYPE)
    np.testing.assert_array_equal(fetched, rows_of(4, 2, 3))
    with pytest.raises(FeaturesMissing):
        store.fetch(TOKENS, digests(9), DTYPE)


def test_tiers_are_committed_together_or_not_at_all(catalog: Catalog, store: FeatureStore) -> None:
    def refuse(session: object, written: object) -> None:
        raise RuntimeError("no")

    parts = [part(1), part(1, tier="masks", fingerprint="b" * 16)]
    with pytest.raises(RuntimeError):
        store.commit(parts, new_owner(), also=refuse)
    assert files(store) == []
    assert count(catalog, "intent") == count(catalog, "live") == 0
    store.commit(parts, new_owner())
    assert len(files(store)) == count(catalog, "live") == 2


@pytest.mark.parametrize(
    "where", ["indexer.features.store.write_segment", "model.replacing.sync_folder"]
)
def test_full_disk_leaves_no_file_and_says_what_to_do(
    catalog: Catalog, store: FeatureStore, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    store.commit([part(1)], new_owner())

    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(where, full)
    with pytest.raises(NoSpaceLeft, match="free some"):
        store.commit([part(2)], new_owner())
    assert len(files(store)) == 1
    assert count(catalog, "intent") == 0


def test_worker_whose_lease_ran_out_commits_nothing(
    catalog: Catalog, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = segment.write_segment

    def slow(path: Path, **options: object) -> tuple[int, str]:
        with catalog.session() as session:
            session.execute(update(Segment).values(lease_until=1.0))
        return write(path, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("indexer.features.store.write_segment", slow)
    with pytest.raises(LeaseLost):
        store.commit([part(1)], new_owner())
    assert files(store) == []
    with catalog.reading() as session:
        assert session.scalars(select(FeatureRow.content_hash)).all() == []


def test_commit_whose_answer_was_lost_keeps_its_files(
    catalog: Catalog, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection broke after the database had committed: its rows need their file."""
    session = catalog.session
    answers = iter([True, False])

    @contextmanager
    def lossy() -> Iterator[Session]:
        with session() as made:
            yield made
        if not next(answers, True):
            raise CatalogUnreachable("server closed the connection unexpectedly")

    monkeypatch.setattr(catalog, "session", lossy)
    with pytest.raises(CatalogUnreachable):
        store.commit([part(1)], new_owner())
    np.testing.assert_array_equal(store.fetch(TOKENS, digests(1), DTYPE), rows_of(1))
    assert len(files(store)) == count(catalog, "live") == 1


# -- leftovers ---------------------------------------------------------------------------------


def dead_owner() -> str:
    """The name of a process that lives no more."""
    code = "from indexer.db.owner import new_owner; print(new_owner())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_holder_of_a_lease_is_gone_when_its_process_is() -> None:
    assert not is_gone(new_owner())
    assert is_gone(dead_owner())
    assert not is_gone("another-machine/1/1/x")
    assert not is_gone(None)


def test_collection_takes_what_a_dead_worker_left_and_nothing_else(
    catalog: Catalog, store: FeatureStore
) -> None:
    store.commit([part(1)], new_owner())
    kept = files(store)
    for owner in (dead_owner(), new_owner()):
        [(_, path)] = store._intend([part(2)], owner)
        for name in (path, f"{path}.part"):
            store.path_of(name).write_bytes(b"x" * 100)
    stranger = store.folder / "tokens" / "unknown" / "restored.seg"
    stranger.parent.mkdir()
    stranger.write_bytes(b"a segment of a lost catalog")
    collected = maintenance.collect(catalog, store)
    assert (collected.files, collected.bytes) == (2, 200)
    assert set(kept) | {stranger} <= set(files(store))
    assert count(catalog, "intent") == 1
    with catalog.session() as session:
        session.execute(update(Segment).where(Segment.state == "intent").values(lease_until=1.0))
    assert maintenance.collect(catalog, store).files == 2
    assert set(files(store)) == {*kept, stranger}


def test_compaction_keeps_features_and_old_files_until_no_reader_is_left(
    catalog: Catalog, store: FeatureStore
) -> None:
    with_photos(catalog, *range(9))
    for start in (0, 3, 6):
        store.commit([part(start, start + 1, start + 2)], new_owner())
    with store.lock_reader():
        report = maintenance.compact(catalog, store)
        assert (report.merged, report.made, report.rows) == (3, 1, 9)
        assert maintenance.collect(catalog, store).kept_for_readers == 3
        assert len(files(store)) == 4
    maintenance.collect(catalog, store)
    assert len(files(store)) == 1
    numbers = range(8, -1, -1)
    np.testing.assert_array_equal(store.fetch(TOKENS, digests(*numbers), DTYPE), rows_of(*numbers))
    assert count(catalog, "retired") == 0
    assert maintenance.compact(catalog, store).merged == 0


def test_compaction_drops_what_no_photo_needs(catalog: Catalog, store: FeatureStore) -> None:
    with_photos(catalog, 1, 2)
    store.commit([part(1, 2, 3)], new_owner())
    assert maintenance.compact(catalog, store).dropped == 1
    maintenance.collect(catalog, store)
    [left] = files(store)
    assert segment.check_segment(left).content_hashes == digests(1, 2)


def test_killed_reader_holds_nothing_up(store: FeatureStore) -> None:
    code = (
        "import sys; from indexer.features.readers import ReaderLock; from pathlib import Path\n"
        "lock = ReaderLock(Path(sys.argv[1]), 5.0); print('held', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(store.folder / "readers")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    assert store.oldest_reader() == 5.0
    child.kill()
    child.communicate()
    assert store.oldest_reader() is None
    assert list((store.folder / "readers").iterdir()) == []


# -- damage ------------------------------------------------------------------------------------


def test_verification_names_the_photos_of_damaged_rows_and_keeps_the_others(
    catalog: Catalog, store: FeatureStore
) -> None:
    with_photos(catalog, *range(6))
    store.commit([part(0, 1, 2)], new_owner())
    store.commit([part(3, 4, 5)], new_owner())
    assert verify(catalog, store).damaged == []
    with catalog.reading() as session:
        damaged = session.scalars(select(Segment.path).order_by(Segment.id)).first()
    assert damaged is not None
    header = segment.read_header(store.path_of(damaged))
    flip(store.path_of(damaged), header.data_offset + header.row_bytes + 5)
    report = verify(catalog, store)
    assert report.photos == ["/photos/1.jpg"]
    assert report.damaged == [(str(store.path_of(damaged)), "1 of 3 rows changed")]
    with catalog.reading() as session:
        waiting = session.scalars(select(Photo.path).where(Photo.status == "new")).all()
        assert waiting == [b"1.jpg"]
    left = (0, 2, 3, 4, 5)
    np.testing.assert_array_equal(store.fetch(TOKENS, digests(*left), DTYPE), rows_of(*left))
    assert verify(catalog, store).damaged == []


@pytest.mark.parametrize("harm", ["missing", "header", "table", "swapped"])
def test_verification_finds_missing_and_foreign_files(
    catalog: Catalog, store: FeatureStore, harm: str
) -> None:
    with_photos(catalog, *range(6))
    store.commit([part(0, 1, 2)], new_owner())
    store.commit([part(3, 4, 5)], new_owner())
    with catalog.reading() as session:
        first, second = session.scalars(select(Segment.path).order_by(Segment.id)).all()
    path = store.path_of(first)
    header = segment.read_header(path)
    if harm == "missing":
        path.unlink()
    elif harm == "header":
        flip(path, 3)
    elif harm == "table":
        flip(path, header.table_offset + 40)
    else:
        path.write_bytes(store.path_of(second).read_bytes())
    report = verify(catalog, store)
    assert len(report.damaged) == 1
    lost = 1 if harm == "table" else 3
    assert report.lost_rows == len(report.photos) == lost
    assert verify(catalog, store).damaged == []
    np.testing.assert_array_equal(store.fetch(TOKENS, digests(4), DTYPE), rows_of(4))


def test_files_of_a_lost_catalog_are_attached_again(
    catalog: Catalog, store: FeatureStore, tmp_path: Path
) -> None:
    other = Catalog.open(f"sqlite:///{tmp_path / 'lost.sqlite'}")
    FeatureStore(store.folder, other).commit([part(1, 2)], new_owner())
    other.close()
    assert verify(catalog, store).attached == 2
    np.testing.assert_array_equal(store.fetch(TOKENS, digests(2, 1), DTYPE), rows_of(2, 1))
