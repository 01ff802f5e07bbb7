"""Another model for an album: built beside the serving one, swapped in at once, rolled back."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select

from indexer.db.catalog import Catalog, count_by_status
from indexer.db.tables import FeatureRow, Segment
from indexer.encoding import ingest, run
from indexer.encoding.encode import Ingest
from indexer.errors import VersionConflict
from indexer.features import maintenance, versions
from indexer.features.snapshot import open_snapshot
from indexer.features.store import FeatureStore
from indexer.features.vector_file import manifest_path
from indexer.folders import scan
from indexer.jobs import jobs, slots
from indexer.jobs.failures import failures_of
from indexer.photos.decode import Decoder
from indexer.settings import Settings
from tests.support import albums
from tests.support.fake_predictor import SIDE, FakePredictor
from workers import indexing, work
from workers.held import Held
from workers.inprocess import run_job


@pytest.fixture
def quick(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Settings]:
    monkeypatch.setenv("REFERENT_DECODE_WORKERS", "1")
    monkeypatch.setenv("REFERENT_DECODE_TIMEOUT_S", "60")
    monkeypatch.setenv("REFERENT_MODEL", "old")
    return Settings


@pytest.fixture
def models(quick: Callable[[], Settings]) -> Iterator[Held]:
    held = Held(quick(), load=lambda name: FakePredictor(name, name=name))  # type: ignore[arg-type,return-value]
    yield held
    held.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return albums.folder_of(tmp_path / "photos", 12)


def job_of(catalog: Catalog, kind: str, album: int, **parameters: object) -> int:
    return jobs.create(catalog, kind, album_id=album, parameters=parameters).id


def found_by(catalog: Catalog, settings: Settings, album: int) -> tuple[str, int]:
    """What a search has: the serving model, and how many photos have its features."""
    version = versions.serving(catalog, album)
    assert version is not None
    store = FeatureStore.open(settings, catalog)
    with open_snapshot(catalog, store, album, version.fingerprints) as snapshot:
        for tier in ("tokens", "masks", "vectors"):
            assert (snapshot.places(tier).segment >= 0).all()
        return version.model, len(snapshot)


def test_searches_use_the_old_model_until_every_photo_has_the_new_one(
    catalog: Catalog,
    quick: Callable[[], Settings],
    models: Held,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = quick()
    album = albums.album(catalog, "family", folder)
    run_job(settings, catalog, job_of(catalog, "index", album), models)
    assert found_by(catalog, settings, album) == ("old", 12)
    seen: list[tuple[str, int]] = []
    original = work.Turn.report

    def watch(turn: work.Turn, **progress: object) -> None:
        seen.append(found_by(catalog, settings, album))
        original(turn, **progress)  # type: ignore[arg-type]

    monkeypatch.setattr(work.Turn, "report", watch)
    done = run_job(settings, catalog, job_of(catalog, "reindex", album, model="new"), models)
    assert done.state == "done"
    assert done.result is not None
    assert (done.result["indexed"], done.result["failed"]) == (12, 0)
    assert found_by(catalog, settings, album) == ("new", 12)
    # Always one version, always whole: the old one to the end, then the new one.
    assert set(seen) <= {("old", 12), ("new", 12)}
    assert seen[0] == ("old", 12)


def test_album_of_another_build_of_its_model_is_not_indexed_until_a_person_says_with_what(
    catalog: Catalog, quick: Callable[[], Settings], models: Held, folder: Path
) -> None:
    album = albums.album(catalog, "family", folder)
    run_job(quick(), catalog, job_of(catalog, "index", album), models)
    rebuilt = Held(quick(), load=lambda name: FakePredictor("rebuilt", name=name))  # type: ignore[arg-type,return-value]
    refused = run_job(quick(), catalog, job_of(catalog, "index", album), rebuilt)
    assert refused.state == "failed"
    assert "searched with old, whose weights are not known here" in (refused.message or "")
    named = run_job(quick(), catalog, job_of(catalog, "index", album, model="old"), rebuilt)
    rebuilt.close()
    assert named.state == "done"
    assert (named.result or {})["index_state"] == "serving"


def test_rollback_is_one_step_and_encodes_nothing(
    catalog: Catalog, quick: Callable[[], Settings], models: Held, folder: Path
) -> None:
    settings = quick()
    album = albums.album(catalog, "family", folder)
    run_job(settings, catalog, job_of(catalog, "index", album), models)
    run_job(settings, catalog, job_of(catalog, "reindex", album, model="new"), models)
    back = run_job(settings, catalog, job_of(catalog, "reindex", album, rollback=True))
    assert back.state == "done"
    assert found_by(catalog, settings, album) == ("old", 12)
    again = run_job(settings, catalog, job_of(catalog, "reindex", album, rollback=True))
    assert again.state == "done"
    assert found_by(catalog, settings, album) == ("new", 12)


def test_rollback_leaves_statuses_and_progress_as_the_old_version_has_them(
    catalog: Catalog, quick: Callable[[], Settings], models: Held, folder: Path
) -> None:
    settings = quick()
    (folder / "broken.jpg").write_bytes(b"no image")
    album = albums.album(catalog, "family", folder)
    run_job(settings, catalog, job_of(catalog, "index", album), models)
    run_job(settings, catalog, job_of(catalog, "reindex", album, model="new"), models)
    albums.folder_of(folder, 3, first=12)
    run_job(settings, catalog, job_of(catalog, "index", album), models)
    back = run_job(settings, catalog, job_of(catalog, "reindex", album, rollback=True))
    with catalog.reading() as session:
        counts = count_by_status(session, album)
    assert counts == {"indexed": 12, "failed": 1, "new": 3, "missing": 0}
    assert (back.done, back.total, back.failed) == (12, 16, 1)
    assert [one.photo_id for one in failures_of(catalog, back.id)] == [1 + 12]
    assert found_by(catalog, settings, album) == ("old", 12)


def test_rollback_ends_a_reindex_that_has_not_finished(
    catalog: Catalog, quick: Callable[[], Settings], models: Held, folder: Path
) -> None:
    settings = quick()
    album = albums.album(catalog, "family", folder)
    run_job(settings, catalog, job_of(catalog, "index", album), models)
    run_job(settings, catalog, job_of(catalog, "reindex", album, model="new"), models)
    unfinished = job_of(catalog, "reindex", album, model="newest")
    place = slots.take(catalog, unfinished, 0, owner="another machine's", lease_s=60)
    assert place is not None
    rollback = job_of(catalog, "reindex", album, rollback=True)
    # Not before the worker at it has let go, for it may be just about to swap.
    run_job(settings, catalog, rollback, models, should_stop=asked(3))
    assert jobs.get(catalog, unfinished).state == "cancelling"
    assert found_by(catalog, settings, album) == ("new", 12)
    slots.release(catalog, place)
    assert run_job(settings, catalog, rollback, models).state == "done"
    assert jobs.get(catalog, unfinished).state == "cancelled"
    assert found_by(catalog, settings, album) == ("old", 12)


def asked(times: int) -> Callable[[], bool]:
    """False until it was asked so often."""
    answers = iter([False] * times)
    return lambda: next(answers, True)


def test_rollback_that_was_killed_after_the_swap_does_not_swap_again(
    catalog: Catalog, quick: Callable[[], Settings], models: Held, folder: Path
) -> None:
    settings = quick()
    album = albums.album(catalog, "family", folder)
    run_job(settings, catalog, job_of(catalog, "index", album), models)
    run_job(settings, catalog, job_of(catalog, "reindex", album, model="new"), models)
    rollback = job_of(catalog, "reindex", album, rollback=True)
    versions.rollback(catalog, album)  # and then its worker was killed
    assert run_job(settings, catalog, rollback, models).state == "done"
    assert found_by(catalog, settings, album) == ("old", 12)


def test_worker_that_began_before_a_swap_leaves_statuses_to_the_version_that_serves(
    catalog: Catalog, quick: Callable[[], Settings], models: Held, folder: Path
) -> None:
    settings = quick()
    album = albums.album(catalog, "family", folder)
    run_job(settings, catalog, job_of(catalog, "index", album), models)
    run_job(settings, catalog, job_of(catalog, "reindex", album, model="new"), models)
    albums.folder_of(folder, 4, first=12)
    index = job_of(catalog, "index", album)
    with Ingest(settings, catalog, album, models.network("new")) as late:
        scan.scan_album(catalog, "family")
        run_job(settings, catalog, job_of(catalog, "reindex", album, rollback=True), models)
        assert late.run() == "done"
        ingest.finish(settings, catalog, late.version, models.network("new"))
    with catalog.reading() as session:
        assert count_by_status(session, album)["new"] == 4
    assert run_job(settings, catalog, index, models).state == "done"
    assert found_by(catalog, settings, album) == ("old", 16)


def test_workers_that_begin_together_build_one_version(catalog: Catalog, folder: Path) -> None:
    album = albums.album(catalog, "family", folder)
    for name, state in (("old", "serving"), ("new", "building")):
        fingerprints = FakePredictor(name).fingerprints
        together = threading.Barrier(4)

        def prepare(
            _: int,
            name: str = name,
            fingerprints: dict[str, str] = fingerprints,
            together: threading.Barrier = together,
        ) -> versions.Version:
            together.wait()
            return versions.prepare(catalog, album, name, fingerprints, {})

        with ThreadPoolExecutor(4) as workers:
            made = list(workers.map(prepare, range(4)))
        assert {each.id for each in made} == {versions.versions(catalog, album)[0].id}
        assert made[0].state == state
    assert len(versions.versions(catalog, album)) == 2


def test_photos_added_while_the_new_version_is_built_belong_to_it(
    catalog: Catalog,
    quick: Callable[[], Settings],
    models: Held,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = quick()
    album = albums.album(catalog, "family", folder)
    run_job(settings, catalog, job_of(catalog, "index", album), models)
    other = Held(quick(), load=lambda name: FakePredictor(name, name=name))  # type: ignore[arg-type,return-value]
    added = []
    original = work.Turn.report

    def add_once(turn: work.Turn, **progress: object) -> None:
        if turn.job.kind == "reindex" and not added:
            added.append(True)
            albums.folder_of(folder, 5, first=12)
            run_job(settings, catalog, job_of(catalog, "index", album), other)
        original(turn, **progress)  # type: ignore[arg-type]

    monkeypatch.setattr(work.Turn, "report", add_once)
    done = run_job(settings, catalog, job_of(catalog, "reindex", album, model="new"), models)
    other.close()
    assert done.result is not None
    assert done.result["indexed"] == 17
    assert found_by(catalog, settings, album) == ("new", 17)


def test_photo_that_fails_does_not_stop_the_swap_and_nothing_is_lost(
    catalog: Catalog, quick: Callable[[], Settings], models: Held, folder: Path
) -> None:
    settings = quick()
    (folder / "broken.jpg").write_bytes(b"no image")
    album = albums.album(catalog, "family", folder)
    run_job(settings, catalog, job_of(catalog, "index", album), models)
    done = run_job(settings, catalog, job_of(catalog, "reindex", album, model="new"), models)
    assert done.state == "done"
    with catalog.reading() as session:
        counts = count_by_status(session, album)
    assert (counts["indexed"], counts["failed"], counts["new"]) == (12, 1, 0)
    assert [one.path and Path(one.path).name for one in failures_of(catalog, done.id)] == [
        "broken.jpg"
    ]


@pytest.mark.parametrize("kind", ["all", "reindex", "index"])
def test_folder_that_is_offline_costs_no_photo_and_no_swap_on_any_path(
    catalog: Catalog,
    quick: Callable[[], Settings],
    models: Held,
    folder: Path,
    tmp_path: Path,
    kind: str,
) -> None:
    settings = quick()
    here = albums.folder_of(tmp_path / "here", 2, first=50)
    album = albums.album(catalog, "family", folder, here)
    run_job(settings, catalog, job_of(catalog, "index", album), models)
    folder.rename(tmp_path / "away")
    parameters = {"all": {"which": "all"}, "reindex": {"model": "new"}, "index": {"model": "new"}}
    wanted = "reindex" if kind == "reindex" else "index"
    job = job_of(catalog, wanted, album, **parameters[kind])
    done = run_job(settings, catalog, job, models)
    assert (done.state, done.failed) == ("failed" if kind == "reindex" else "done", 0)
    assert found_by(catalog, settings, album) == ("old", 14)
    with catalog.reading() as session:
        assert count_by_status(session, album)["indexed"] == 14
    if kind == "all":
        return
    assert "lacks 12 photos" in (done.message or "")
    (tmp_path / "away").rename(folder)
    assert run_job(settings, catalog, jobs.retry(catalog, job).id, models).state == "done"
    assert found_by(catalog, settings, album) == ("new", 14)


def test_folder_that_goes_offline_while_its_photos_are_encoded_fails_none_of_them(
    catalog: Catalog, quick: Callable[[], Settings], models: Held, folder: Path, tmp_path: Path
) -> None:
    settings = quick()
    album = albums.album(catalog, "family", folder)
    scan.scan_album(catalog, "family")
    with Ingest(settings, catalog, album, models.network("old")) as part:
        part.start()
        folder.rename(tmp_path / "away")
        assert part.run() == "done"
        assert part.tally.failed == 0
    with catalog.reading() as session:
        assert count_by_status(session, album)["new"] == 12
    job = run_job(settings, catalog, job_of(catalog, "index", album), models)
    assert job.state == "done"
    assert "12 photos wait: their folders are offline" in (job.message or "")
    (tmp_path / "away").rename(folder)
    assert run_job(settings, catalog, job_of(catalog, "index", album), models).done == 12


def test_swap_to_fewer_photos_needs_a_person_s_word(
    catalog: Catalog, quick: Callable[[], Settings], folder: Path
) -> None:
    class Choosy(FakePredictor):
        """A network that one photo is too much for."""

        def encode(self, pixels: np.ndarray, tiers: Sequence[str] = ()) -> dict[str, np.ndarray]:
            if self.name == "new" and any(abs(each.mean() - worst) < 1e-9 for each in pixels):
                raise ValueError("too much")
            return super().encode(pixels, tiers)

    settings = quick()
    album = albums.album(catalog, "family", folder)
    with Decoder(settings, SIDE) as decoder:
        pixels = decoder.decode_one(folder / "0003.jpg").pixels
    assert pixels is not None
    worst = pixels.mean()
    held = Held(quick(), load=lambda name: Choosy(name, name=name))  # type: ignore[arg-type,return-value]
    run_job(settings, catalog, job_of(catalog, "index", album), held)
    refused = run_job(settings, catalog, job_of(catalog, "reindex", album, model="new"), held)
    assert refused.state == "failed"
    assert "lacks 1 photos" in (refused.message or "")
    assert ["too much" in one.reason for one in failures_of(catalog, refused.id)] == [True]
    assert found_by(catalog, settings, album) == ("old", 12)
    accepted = job_of(catalog, "reindex", album, model="new", accept_fewer=True)
    assert run_job(settings, catalog, accepted, held).state == "done"
    held.close()
    assert found_by(catalog, settings, album) == ("new", 11)


def test_question_that_a_scan_asks_is_in_the_job_s_report(
    catalog: Catalog, quick: Callable[[], Settings], models: Held, folder: Path
) -> None:
    settings = quick()
    album = albums.album(catalog, "family", folder)
    run_job(settings, catalog, job_of(catalog, "index", album), models)
    for file in sorted(folder.iterdir())[:8]:
        file.unlink()
    done = run_job(settings, catalog, job_of(catalog, "index", album), models)
    assert done.state == "done"
    assert "8 photos, more than half of the album" in (done.message or "")
    run_job(settings, catalog, job_of(catalog, "index", album, confirm_deletions=True), models)
    with catalog.reading() as session:
        assert count_by_status(session, album)["missing"] == 8


def test_reindex_that_was_stopped_goes_on_and_the_old_version_serves_meanwhile(
    catalog: Catalog, quick: Callable[[], Settings], models: Held, folder: Path
) -> None:
    settings = quick()
    album = albums.album(catalog, "family", folder)
    run_job(settings, catalog, job_of(catalog, "index", album), models)
    job = job_of(catalog, "reindex", album, model="new")
    asked = iter([False, True])
    run_job(settings, catalog, job, models, should_stop=lambda: next(asked, True))
    assert not jobs.get(catalog, job).finished
    assert found_by(catalog, settings, album) == ("old", 12)
    assert run_job(settings, catalog, job, models).state == "done"
    assert found_by(catalog, settings, album) == ("new", 12)


def test_old_versions_are_dropped_on_request_and_only_then(
    catalog: Catalog, quick: Callable[[], Settings], models: Held, folder: Path
) -> None:
    settings = quick()
    album = albums.album(catalog, "family", folder)
    run_job(settings, catalog, job_of(catalog, "index", album), models)
    kept = run_job(settings, catalog, job_of(catalog, "reindex", album, model="new"), models)
    with catalog.reading() as session:
        assert session.scalar(select(func.count()).select_from(FeatureRow)) == 2 * 12 * 3
    assert kept.result is not None
    dropped = run_job(
        settings, catalog, job_of(catalog, "reindex", album, model="new", drop_old=True), models
    )
    assert dropped.result is not None
    assert dropped.result["dropped_rows"] == 12 * 3
    with catalog.reading() as session:
        assert session.scalar(select(func.count()).select_from(FeatureRow)) == 12 * 3
        live = set(session.scalars(select(Segment.path).where(Segment.state == "live")))
    files = {
        os.fspath(file.relative_to(settings.features_dir))
        for file in settings.features_dir.glob("*/*/*.seg")
    }
    assert files == live
    with pytest.raises(VersionConflict):
        versions.rollback(catalog, album)


def test_index_goes_on_with_the_model_that_serves(
    catalog: Catalog, quick: Callable[[], Settings], models: Held, folder: Path
) -> None:
    settings = quick()
    album = albums.album(catalog, "family", folder)
    run_job(settings, catalog, job_of(catalog, "index", album), models)
    run_job(settings, catalog, job_of(catalog, "reindex", album, model="new"), models)
    albums.folder_of(folder, 2, first=12)
    done = run_job(settings, catalog, job_of(catalog, "index", album), models)
    assert done.result is not None
    assert (done.result["model"], done.result["indexed"]) == ("new", 14)


def test_all_encodes_every_photo_anew_and_sees_edits_that_kept_size_and_time(
    catalog: Catalog,
    quick: Callable[[], Settings],
    models: Held,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REFERENT_ENCODE_BATCH", "1")  # a batch that is not full counts as one
    settings = quick()
    album = albums.album(catalog, "family", folder)
    run_job(settings, catalog, job_of(catalog, "index", album), models)
    file = folder / "0003.jpg"
    status = file.stat()
    data = bytearray(file.read_bytes())
    data[-3] ^= 1  # in the entropy-coded end: other bytes, same length
    file.write_bytes(data)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    predictor = models.network("old")
    before = predictor.encoded  # type: ignore[attr-defined]
    missing = run_job(settings, catalog, job_of(catalog, "index", album), models)
    assert missing.state == "done"
    assert predictor.encoded == before  # type: ignore[attr-defined]
    done = run_job(settings, catalog, job_of(catalog, "index", album, which="all"), models)
    assert done.result is not None
    assert done.result["indexed"] == 12
    assert predictor.encoded - before == 12  # type: ignore[attr-defined]
    assert found_by(catalog, settings, album) == ("old", 12)


def test_all_encodes_anew_what_a_compaction_has_rewritten_since_the_start(
    catalog: Catalog,
    quick: Callable[[], Settings],
    models: Held,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REFERENT_ENCODE_BATCH", "1")  # a batch that is not full counts as one
    settings = quick()
    album = albums.album(catalog, "family", folder)
    run_job(settings, catalog, job_of(catalog, "index", album), models)
    job = job_of(catalog, "index", album, which="all")
    place = slots.take(catalog, job, 0, owner="a worker", lease_s=60)
    assert place is not None
    slots.release(catalog, place)
    store = FeatureStore.open(settings, catalog)
    assert maintenance.compact(catalog, store, min_segments=1).made == 3
    predictor = models.network("old")
    before = predictor.encoded  # type: ignore[attr-defined]
    assert run_job(settings, catalog, job, models).state == "done"
    assert predictor.encoded - before == 12  # type: ignore[attr-defined]


def test_all_encodes_each_photo_once_whatever_is_merged_meanwhile_and_its_progress_grows(
    catalog: Catalog,
    quick: Callable[[], Settings],
    models: Held,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its new features are merged with another album's old ones after each of its batches."""
    monkeypatch.setattr(run, "RENEWED_AT_ONCE", 3)
    monkeypatch.setattr(indexing, "COUNTING_SHARE", 0.0)
    monkeypatch.setenv("REFERENT_ENCODE_BATCH", "1")  # a batch that is not full counts as one
    settings = quick()
    album = albums.album(catalog, "family", folder)
    other = albums.album(catalog, "other", albums.folder_of(tmp_path / "other", 4, first=100))
    for each in (album, other):
        run_job(settings, catalog, job_of(catalog, "index", each), models)
    store = FeatureStore.open(settings, catalog)
    told: list[int] = []

    def report(turn: work.Turn, *, done: int | None = None, **more: object) -> None:
        if done is not None:
            told.append(done)
            maintenance.compact(catalog, store, min_segments=1)

    monkeypatch.setattr(work.Turn, "report", report)
    predictor = models.network("old")
    before = predictor.encoded  # type: ignore[attr-defined]
    done = run_job(settings, catalog, job_of(catalog, "index", album, which="all"), models)
    assert done.state == "done"
    assert predictor.encoded - before == 12  # type: ignore[attr-defined]
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0, 12)
    assert len(set(told)) >= 5


def test_job_that_is_paused_at_its_end_leaves_tidying_up_to_the_next_run(
    catalog: Catalog, quick: Callable[[], Settings], models: Held, folder: Path
) -> None:
    settings = quick()
    album = albums.album(catalog, "family", folder)
    scan.scan_album(catalog, "family")
    predictor = models.network("old")
    manifest = manifest_path(settings.features_dir, predictor.fingerprints["vectors"])
    with Ingest(settings, catalog, album, predictor) as part:
        assert part.run() == "done"
        ingest.finish(settings, catalog, part.version, predictor, should_stop=lambda: True)
        assert not manifest.exists()
        assert found_by(catalog, settings, album) == ("old", 12)
        ingest.finish(settings, catalog, part.version, predictor)
        assert manifest.exists()
