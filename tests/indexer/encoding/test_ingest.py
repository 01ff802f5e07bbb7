"""Ingest: what is encoded, how often, and what a killed or hindered run leaves behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from indexer.db.catalog import Catalog
from indexer.db.tables import EncodeClaim, FeatureRow, IndexVersion, Photo, Segment
from indexer.encoding import claims, commits
from indexer.encoding.alone import IndexReport, index_album
from indexer.encoding.batches import Batches
from indexer.encoding.commits import Tally
from indexer.encoding.encode import Ingest
from indexer.errors import EncodingFailed, NoSpaceLeft
from indexer.features import maintenance, versions
from indexer.features.segment import read_header
from indexer.features.snapshot import open_snapshot
from indexer.features.store import FeatureStore
from indexer.features.verify import verify
from indexer.folders.scan import scan_album
from indexer.photos.decode import Decoder
from indexer.settings import Settings
from referent.index_output import summary
from tests.support.albums import album, folder_of, photo
from tests.support.fake_predictor import FakePredictor
from tests.support.kills import Trial


@pytest.fixture(autouse=True)
def one_decoder(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFERENT_DECODE_WORKERS", "1")


@pytest.fixture
def small(catalog: Catalog, tmp_path: Path) -> int:
    """An album of ten photos."""
    return album(catalog, "small", folder_of(tmp_path / "photos", 10))


@pytest.fixture
def lite(settings: Settings) -> Catalog:
    """A catalog on SQLite, where the server makes no difference."""
    return Catalog.open(settings)


def run(catalog: Catalog, predictor: FakePredictor, name: str = "small") -> IndexReport:
    return index_album(Settings(encode_batch=4), name, predictor, catalog=catalog)


def features(catalog: Catalog, tier: str = "tokens") -> dict[str, bytes]:
    """Content hash → bytes of its record."""
    store = FeatureStore.open(Settings(), catalog)
    predictor = FakePredictor()
    fingerprint = predictor.fingerprints[tier]
    with catalog.reading() as session:
        query = select(FeatureRow.content_hash).where(FeatureRow.fingerprint == fingerprint)
        digests = list(session.scalars(query))
    rows = store.fetch(fingerprint, digests, predictor.dtypes[tier])
    return {digest: row.tobytes() for digest, row in zip(digests, rows, strict=True)}


def statuses(catalog: Catalog) -> dict[str, str]:
    with catalog.reading() as session:
        rows = session.execute(select(Photo.path, Photo.status))
        return {path.decode(): status for path, status in rows}


# -- what is encoded ---------------------------------------------------------------------------


def test_every_photo_is_encoded_once_and_a_second_run_encodes_none(
    catalog: Catalog, small: int
) -> None:
    predictor = FakePredictor()
    seen: list[str] = []
    report = index_album(
        Settings(encode_batch=4),
        "small",
        predictor,
        catalog=catalog,
        progress=lambda at: seen.append(at.phase),
    )
    assert (report.indexed, report.failed, report.total, report.encoded) == (10, 0, 10, 10)
    assert {"encode", "finish"} <= set(seen)
    again = FakePredictor()
    report = run(catalog, again)
    assert (report.indexed, report.encoded, again.encoded) == (10, 0, 0)
    assert predictor.shapes == {4}  # the last two are padded
    for tier in ("tokens", "masks", "vectors"):
        assert len(features(catalog, tier)) == 10
    with catalog.reading() as session:
        assert session.scalars(select(Photo.width).distinct()).all() == [40]
        assert session.scalars(select(EncodeClaim.content_hash)).all() == []


def test_edited_moved_and_copied_files_cost_only_what_changed(
    lite: Catalog, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "photos", 6)
    album(lite, "small", folder)
    run(lite, FakePredictor())
    photo(folder / "0000.jpg", 100)
    (folder / "0001.jpg").rename(folder / "moved.jpg")
    shutil.copy(folder / "0002.jpg", folder / "copy.jpg")
    album(lite, "other", folder_of(tmp_path / "elsewhere", 2, first=4))
    predictor = FakePredictor()
    report = run(lite, predictor)
    assert (report.encoded, report.duplicates, report.total) == (1, 1, 7)
    assert report.scan is not None
    assert report.scan.moved == 1
    report = run(lite, predictor, "other")
    assert (report.encoded, report.indexed) == (0, 2)
    with lite.reading() as session:
        assert set(session.scalars(select(Photo.width).where(Photo.status == "indexed"))) == {40}


def test_bad_photos_are_named_and_stop_nothing(catalog: Catalog, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "photos", 5)
    (folder / "broken.jpg").write_bytes(b"no photo")
    (folder / "empty.png").write_bytes(b"")
    album(catalog, "small", folder)
    report = run(catalog, FakePredictor())
    assert (report.indexed, report.failed, report.total) == (5, 2, 7)
    named = [path for path, _ in report.failures]
    assert named == [str(folder / "broken.jpg"), str(folder / "empty.png")]
    assert all(reason for _, reason in report.failures)
    photo(folder / "broken.jpg", 77)
    report = run(catalog, FakePredictor())
    assert (report.indexed, report.failed, report.encoded) == (6, 1, 1)


def test_failed_photo_is_left_alone_after_three_runs_until_asked(
    lite: Catalog, tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "photos", 1)
    (folder / "broken.jpg").write_bytes(b"no photo")
    album(lite, "small", folder)
    tried = []
    for retry in (False, False, False, False, True):
        index_album(Settings(), "small", FakePredictor(), catalog=lite, retry_failed=retry)
        with lite.reading() as session:
            tried.append(session.scalar(select(func.max(Photo.attempts))))
    assert tried == [1, 2, 3, 3, 4]
    assert statuses(lite)["broken.jpg"] == "failed"


def test_photo_that_the_network_fails_on_costs_only_itself(lite: Catalog, tmp_path: Path) -> None:
    class Choking(FakePredictor):
        def encode(
            self, pixels: np.ndarray, tiers: Sequence[str] = ("tokens",)
        ) -> dict[str, np.ndarray]:
            if (pixels.reshape(len(pixels), -1).min(1) == 255).any():
                raise ValueError("white")
            return super().encode(pixels, tiers)

    from PIL import Image

    folder = folder_of(tmp_path / "photos", 5)
    Image.new("RGB", (20, 20), "white").save(folder / "white.png")
    album(lite, "small", folder)
    report = run(lite, Choking())
    assert (report.indexed, report.failed) == (5, 1)
    assert report.failures == [(str(folder / "white.png"), "the network fails on it (white)")]


def test_model_that_fails_on_everything_ends_the_run_and_blames_no_photo(
    lite: Catalog, tmp_path: Path
) -> None:
    class Broken(FakePredictor):
        def encode(
            self, pixels: np.ndarray, tiers: Sequence[str] = ("tokens",)
        ) -> dict[str, np.ndarray]:
            raise RuntimeError("device lost")

    album(lite, "small", folder_of(tmp_path / "photos", 5))
    with pytest.raises(EncodingFailed, match="device lost"):
        run(lite, Broken())
    assert set(statuses(lite).values()) == {"new"}
    assert run(lite, FakePredictor()).indexed == 5


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")]
)
def test_full_memory_halves_the_batch_and_goes_on(
    lite: Catalog, tmp_path: Path, error: Exception
) -> None:
    class Large(FakePredictor):
        def encode(
            self, pixels: np.ndarray, tiers: Sequence[str] = ("tokens",)
        ) -> dict[str, np.ndarray]:
            if len(pixels) > 3:
                raise error
            return super().encode(pixels, tiers)

    album(lite, "small", folder_of(tmp_path / "photos", 9))
    predictor = Large()
    report = index_album(Settings(encode_batch=8), "small", predictor, catalog=lite)
    assert (report.indexed, report.failed) == (9, 0)
    assert predictor.shapes == {2}


def test_memory_that_runs_out_while_photos_are_tried_alone_fails_none_of_them() -> None:
    asked: list[int] = []

    def encode(block: np.ndarray) -> dict[str, np.ndarray]:
        asked.append(len(block))
        if len(asked) == 1:
            raise ValueError("of one of them")
        if len(block) > 2:
            raise MemoryError
        return {"tokens": np.zeros(len(block), np.dtype([("sum", "<f4")]))}

    outcomes = Batches(8, "large").run(np.zeros((8, 2)), encode)
    assert [isinstance(each, dict) for each in outcomes] == [True] * 8


# -- versions and tiers ------------------------------------------------------------------------


def test_new_head_is_indexed_from_kept_features_without_decoding(
    lite: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFERENT_KEEP_PYRAMID", "true")
    folder = folder_of(tmp_path / "photos", 10)
    album(lite, "small", folder)
    run(lite, FakePredictor())
    for file in folder.iterdir():
        file.write_bytes(b"no photo any more, so decoding it would fail")
    head = FakePredictor(head="22")
    settings = Settings(encode_batch=4)
    report = index_album(settings, "small", head, catalog=lite, scan=False)
    assert (report.indexed, report.encoded, report.activated) == (10, 10, True)
    assert (head.encoded, head.from_pyramid) == (0, 12)
    direct = FakePredictor(head="22")
    assert versions.serving(lite, 1).fingerprints == direct.fingerprints  # type: ignore[union-attr]


def test_new_model_is_built_beside_the_old_one_and_swapped_when_complete(
    catalog: Catalog, small: int
) -> None:
    run(catalog, FakePredictor())
    store = FeatureStore.open(Settings(), catalog)
    old, new = FakePredictor(), FakePredictor("2")
    during: list[tuple[str, int]] = []

    def look(at: object) -> None:
        serving = versions.serving(catalog, small)
        assert serving is not None
        with open_snapshot(catalog, store, small, serving.fingerprints) as snapshot:
            during.append((serving.fingerprints["tokens"], len(snapshot)))

    report = index_album(Settings(encode_batch=4), "small", new, catalog=catalog, progress=look)
    assert report.activated
    assert {(old.fingerprints["tokens"], 10)} == set(during)
    assert versions.serving(catalog, small).fingerprints == new.fingerprints  # type: ignore[union-attr]
    back = versions.rollback(catalog, small)
    assert back.fingerprints == old.fingerprints
    assert run(catalog, FakePredictor()).encoded == 0
    retired = [each.id for each in versions.versions(catalog, small) if each.state == "retired"]
    assert versions.drop(catalog, retired[0]) == 30
    maintenance.collect(catalog, store)
    with catalog.reading() as session:
        assert session.scalar(select(func.count()).select_from(FeatureRow)) == 30
        states = session.scalars(select(IndexVersion.state)).all()
    assert states == ["serving"]


def test_stopped_run_keeps_the_old_model_and_the_next_one_goes_on(
    lite: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commits, "COMMIT_PHOTOS", 4)
    album(lite, "small", folder_of(tmp_path / "photos", 24))
    run(lite, FakePredictor())
    new = FakePredictor("2")
    report = index_album(
        Settings(encode_batch=4),
        "small",
        new,
        catalog=lite,
        should_stop=lambda: new.encoded >= 8,
    )
    assert report.stopped
    assert not report.activated
    assert (report.indexed, report.total) == (24, 24)  # under the old model, still
    assert report.lacking == 24 - report.encoded > 0
    assert any("lacks" in line and "is searched as before" in line for line in summary(report))
    with lite.reading() as session:
        assert session.scalars(select(EncodeClaim.content_hash)).all() == []
    again = FakePredictor("2")
    assert run(lite, again).activated
    assert new.encoded + again.encoded <= 24 + 4


# -- many workers ------------------------------------------------------------------------------


def test_workers_that_race_encode_each_photo_once(catalog: Catalog, tmp_path: Path) -> None:
    album_id = album(catalog, "small", folder_of(tmp_path / "photos", 40))
    index_album(Settings(), "small", FakePredictor(), catalog=catalog, should_stop=lambda: False,
                only={})  # knows no photo yet  # fmt: skip
    from indexer.folders.scan import scan_album

    scan_album(catalog, "small")
    predictors = [FakePredictor() for _ in range(3)]
    failures: list[BaseException] = []
    tallies: list[Tally] = []

    def work(predictor: FakePredictor) -> None:
        try:
            settings = Settings(encode_batch=2)
            with Ingest(settings, catalog, album_id, predictor) as ingest:
                while ingest.run() != "done":
                    time.sleep(0.01)
                tallies.append(ingest.tally)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(each,)) for each in predictors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert (sum(each.encoded for each in tallies), sum(each.lost for each in tallies)) == (40, 0)
    assert len(features(catalog)) == 40
    with Ingest(Settings(), catalog, album_id, FakePredictor()) as ingest:
        assert ingest.run() == "done"
    assert ingest.tally.encoded == 0
    with catalog.reading() as session:
        stored = session.scalar(select(func.sum(Segment.rows)).where(Segment.tier == "tokens"))
    assert stored == 40


def test_content_that_another_worker_has_just_finished_is_not_claimed(
    lite: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    album(lite, "small", folder_of(tmp_path / "photos", 4))
    scan_album(lite, "small")
    reading, turns = lite.reading, iter([True])

    @contextmanager
    def and_then_the_other() -> Iterator[Session]:
        with reading() as session:
            yield session
        if next(turns, False):
            run(lite, FakePredictor())

    monkeypatch.setattr(lite, "reading", and_then_the_other)
    wanted = versions.wanted_tiers(FakePredictor().fingerprints, keep_pyramid=False)
    assert claims.claim(lite, 1, wanted, "the late one", limit=9)[0] == []
    with reading() as session:
        assert session.scalars(select(EncodeClaim.content_hash)).all() == []


def test_claim_of_before_the_clock_was_put_back_holds_nothing_up(
    lite: Catalog, tmp_path: Path
) -> None:
    album(lite, "small", folder_of(tmp_path / "photos", 2))
    scan_album(lite, "small")
    fingerprints = {"tokens": "t"}
    assert len(claims.claim(lite, 1, fingerprints, "elsewhere/1/1/x", limit=5)[0]) == 2
    assert claims.claim(lite, 1, fingerprints, "another", limit=5)[0] == []
    with lite.session() as session:
        session.execute(update(EncodeClaim).values(lease_until=time.time() + 7200))
    assert len(claims.claim(lite, 1, fingerprints, "another", limit=5)[0]) == 2


def test_claims_of_a_worker_that_is_silent_too_long_pass_on(lite: Catalog, tmp_path: Path) -> None:
    album(lite, "small", folder_of(tmp_path / "photos", 4))
    run(lite, FakePredictor())
    photo(tmp_path / "photos" / "new.jpg", 50)
    scan_album(lite, "small")
    with lite.session() as session:
        digest = session.scalars(select(Photo.content_hash).where(Photo.status == "new")).one()
        session.add(
            EncodeClaim(
                fingerprint=FakePredictor().fingerprints["tokens"],
                content_hash=digest,
                lease_owner="elsewhere/1/1/x",
                lease_until=time.time() + 100,
                attempts=1,
            )
        )
    with Ingest(Settings(), lite, 1, FakePredictor()) as ingest:
        assert ingest.run() == "wait"
        with lite.session() as session:
            session.execute(update(EncodeClaim).values(lease_until=1.0))
        assert ingest.run() == "done"
    assert ingest.tally.encoded == 1


class Death(BaseException):
    """Stands for what no process survives."""


def test_only_a_death_inside_the_network_is_held_against_a_photo(
    lite: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Deadly(FakePredictor):
        def encode(
            self, pixels: np.ndarray, tiers: Sequence[str] = ("tokens",)
        ) -> dict[str, np.ndarray]:
            raise Death

    album(lite, "small", folder_of(tmp_path / "photos", 1))
    commit = commits.Commits._write

    def die(*arguments: object) -> None:
        raise Death

    def attempts() -> int | None:
        # As if the worker's process were gone: its claim is free.
        with lite.session() as session:
            session.execute(update(EncodeClaim).values(lease_owner=None, lease_until=None))
            return session.scalar(select(EncodeClaim.attempts))

    monkeypatch.setattr(claims, "release", lambda *arguments: None)
    monkeypatch.setattr(commits.Commits, "_write", die)
    for _ in range(claims.SUSPECT_AFTER + 2 * claims.ALONE_MAX):
        with pytest.raises(Death):
            run(lite, FakePredictor())
        tried = attempts()
    assert tried == claims.SUSPECT_AFTER
    for _ in range(claims.ALONE_MAX):
        with pytest.raises(Death):
            run(lite, Deadly())
        tried = attempts()
    assert tried == claims.SUSPECT_AFTER + claims.ALONE_MAX
    monkeypatch.setattr(commits.Commits, "_write", commit)
    assert run(lite, Deadly()).failures == [
        (str(tmp_path / "photos" / "0000.jpg"), "took its worker down 3 times in a row, alone")
    ]
    report = index_album(Settings(), "small", FakePredictor(), catalog=lite, retry_failed=True)
    assert (report.indexed, report.failed) == (1, 0)


# -- harm --------------------------------------------------------------------------------------


def test_photo_that_kills_its_workers_is_given_up_however_often_others_stop_before_its_turn(
    lite: Catalog, tmp_path: Path
) -> None:
    number = album(lite, "small", folder_of(tmp_path / "photos", 1))
    scan_album(lite, "small")
    wanted = {"tokens": "t"}

    def take(owner: str) -> claims.Work | None:
        work, _ = claims.claim(lite, number, wanted, owner, limit=1)
        return work[0] if work else None

    def die() -> None:
        with lite.session() as session:
            session.execute(update(EncodeClaim).values(lease_until=0.0))

    tries = 0
    for turn in range(30):
        owner = f"worker {turn}"
        work = take(owner)
        assert work is not None
        if turn % 2:  # asked to stop before it was this photo's turn
            claims.release(lite, owner)
        elif work.attempts < claims.SUSPECT_AFTER:
            tries += 1
            die()  # in a batch with others
        elif claims.try_alone(lite, "t", owner, work.content_hash):
            tries += 1
            die()
        else:
            break
    assert tries == claims.SUSPECT_AFTER - 1 + claims.ALONE_MAX


def test_damaged_rows_are_encoded_again_and_no_others(lite: Catalog, tmp_path: Path) -> None:
    album(lite, "small", folder_of(tmp_path / "photos", 10))
    run(lite, FakePredictor())
    before = features(lite)
    store = FeatureStore.open(Settings(), lite)
    with lite.reading() as session:
        path = session.scalars(select(Segment.path).where(Segment.tier == "tokens")).first()
    file = store.path_of(str(path))
    header = read_header(file)
    data = bytearray(file.read_bytes())
    for row in (1, 3):
        data[header.data_offset + row * header.row_bytes + 7] ^= 0x80
    file.write_bytes(data)
    assert len(verify(lite, store).photos) == 2
    predictor = FakePredictor()
    report = run(lite, predictor)
    assert (report.encoded, report.indexed) == (2, 10)
    assert features(lite) == before


def limited(code: str, home: Path, folder: Path, mebibytes: int) -> subprocess.CompletedProcess:
    """Run code where the library's disk is small: a tmpfs where we may mount one, else a limit.

    The code finds the library at ``sys.argv[1]``.
    """
    script = f"""
        if mount -t tmpfs -o size={mebibytes}m tmpfs {home} 2>/dev/null; then kind=tmpfs
        else ulimit -f {mebibytes * 1024}; kind=limit; fi
        "$@"; status=$?; find {home} -type f -size +0 -name '*part' >&2; exit $status
    """
    home.mkdir(parents=True, exist_ok=True)
    isolate = ["unshare", "--mount", "--user", "--map-root-user"]
    allowed = subprocess.run([*isolate, "true"], capture_output=True, check=False).returncode == 0
    command = [*(isolate if allowed else []), "sh", "-c", script, "sh", sys.executable, "-c", code]
    return subprocess.run(
        [*command, str(home), str(folder)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        check=False,
    )


FULL_DISK = """
import sys
from pathlib import Path
from tests.support.albums import album
from tests.support.fake_predictor import FakePredictor
from tests.support.kills import Trial
from indexer.encoding import commits
from indexer.db.catalog import Catalog
from indexer.errors import NoSpaceLeft
from indexer.encoding.alone import index_album
from indexer.settings import Settings
from indexer.features.store import FeatureStore
from indexer.features.verify import verify
commits.COMMIT_PHOTOS = 8
class Big(FakePredictor):
    def __init__(self):
        super().__init__()
        import numpy as np
        self.dtypes["tokens"] = np.dtype(
            [("sums", "<f2", (16, 3)), ("scale", "<f4"), ("filling", "u1", (400_000,))])
settings = Settings(home=Path(sys.argv[1]), encode_batch=4, decode_workers=1)
catalog = Catalog.open(settings)
album(catalog, "small", Path(sys.argv[2]))
try:
    index_album(settings, "small", Big(), catalog=catalog)
except NoSpaceLeft as error:
    print("full:", error)
store = FeatureStore.open(settings, catalog)
report = verify(catalog, store)
print("damaged", len(report.damaged), "rows", report.rows > 0)
live = {str(p.relative_to(store.folder)) for p in store.folder.glob("*/*/*")}
from sqlalchemy import select
from indexer.db.tables import Segment
with catalog.reading() as session:
    print("orphans", len(live - set(session.scalars(select(Segment.path)))))
"""


def test_full_disk_stops_the_run_cleanly(settings: Settings, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "photos", 60)
    done = limited(FULL_DISK, tmp_path / "disk", folder, 3 if os.getuid() else 12)
    assert done.returncode == 0, done.stderr
    assert "full: no space left" in done.stdout
    assert "damaged 0" in done.stdout
    assert "orphans 0" in done.stdout
    assert "part" not in done.stderr


def test_features_that_cannot_be_written_are_said_so(
    lite: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    album(lite, "small", folder_of(tmp_path / "photos", 3))

    def refuse(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("indexer.features.store.make_folder", refuse)
    with pytest.raises(NoSpaceLeft):
        run(lite, FakePredictor())
    monkeypatch.undo()
    assert set(statuses(lite).values()) == {"new"}


# -- kill -9 -----------------------------------------------------------------------------------


def test_killed_runs_lose_nothing_and_leave_nothing(settings: Settings, tmp_path: Path) -> None:
    trial = Trial(tmp_path, photos=24, seed=1)
    trial.run(kills=4, in_finish=1)
    trial.end()


# -- the real network --------------------------------------------------------------------------


def test_real_networks_features_do_not_depend_on_neighbours(lite: Catalog, tmp_path: Path) -> None:
    from model.build import load_predictor
    from tests.support.tiny_model import write_tiny_model

    predictor = load_predictor(write_tiny_model(tmp_path / "tiny.safetensors"))
    album(lite, "small", folder_of(tmp_path / "photos", 5))
    report = index_album(Settings(encode_batch=4), "small", predictor, catalog=lite)
    assert (report.indexed, report.failed) == (5, 0)
    store = FeatureStore.open(Settings(), lite)
    with open_snapshot(lite, store, None, predictor.fingerprints) as snapshot:
        together = snapshot.gather("tokens", np.arange(5))
        with lite.reading() as session:
            names = dict(iter(session.execute(select(Photo.id, Photo.path)).all()))
        with Decoder(Settings(), predictor.input_size, workers=1) as decoder:
            for number, photo_id in enumerate(snapshot.photo_ids.tolist()):
                pixels = decoder.decode_one(tmp_path / "photos" / names[photo_id].decode()).pixels
                assert pixels is not None
                alone = predictor.encode(np.repeat(pixels[None], 4, axis=0), ("tokens",))
                assert alone["tokens"][0].tobytes() == together[number].tobytes()
