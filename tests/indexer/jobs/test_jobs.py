"""Job rows, their states, and the leased places that workers hold in them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable

import pytest
from sqlalchemy import func, insert, select, update

from indexer.db.catalog import Catalog
from indexer.db.clock import clock
from indexer.db.owner import new_owner
from indexer.db.tables import Album, Job, JobFailure, JobSlot, Photo, Root
from indexer.errors import JobConflict, JobParametersInvalid, PlaceLost, UnknownJob
from indexer.jobs import jobs, slots
from indexer.jobs.failures import failures_of, note_album_failures, note_failure
from indexer.settings import Settings

LEASE_S = 30.0


def make_album(catalog: Catalog, name: str = "holidays", photos: int = 0) -> int:
    with catalog.session() as session:
        album = Album(name=name, settings={}, created_at=0.0)
        session.add(album)
        session.flush()
        root = Root(album_id=album.id, path=b"/photos", mounts=[])
        session.add(root)
        session.flush()
        for number in range(photos):
            session.add(
                Photo(
                    album_id=album.id, root_id=root.id, path=b"%d.jpg" % number, size=1,
                    mtime_ns=0, inode=number, status="new", seen_at=0.0, added_at=0.0,
                )
            )  # fmt: skip
        return album.id


def take(catalog: Catalog, job: int, slot: int = 0, owner: str | None = None) -> slots.Place | None:
    return slots.take(catalog, job, slot, owner=owner or new_owner(), lease_s=LEASE_S)


def expire(catalog: Catalog) -> None:
    """What the database sees when a worker on another machine was silent for too long."""
    with catalog.session() as session:
        session.execute(update(JobSlot).values(lease_until=clock() - 1))


def test_new_job_waits_and_names_its_album(catalog: Catalog) -> None:
    album = make_album(catalog)
    job = jobs.create(catalog, "index", album_id=album, parameters={"which": "all"})
    assert (job.state, job.album, job.parameters) == ("queued", "holidays", {"which": "all"})
    assert jobs.get(catalog, job.id) == job
    assert abs(job.created_at - catalog.now()) < 60


def test_same_job_started_twice_is_one_job(catalog: Catalog) -> None:
    album = make_album(catalog)
    first = jobs.create(catalog, "index", album_id=album, parameters={"which": "all"})
    again = jobs.create(catalog, "index", album_id=album, parameters={"which": "all"})
    other = jobs.create(catalog, "index", album_id=album, parameters={"which": "missing"})
    assert again.id == first.id != other.id


@pytest.mark.parametrize("state", ["done", "failed"])
def test_index_asked_for_again_while_it_runs_scans_once_more_before_it_ends(
    catalog: Catalog, state: str
) -> None:
    album = make_album(catalog)
    job = jobs.create(catalog, "index", album_id=album).id
    place = take(catalog, job)
    assert place is not None
    slots.begin_scan(catalog, place)
    slots.enter_phase(catalog, place, "encode")
    assert jobs.create(catalog, "index", album_id=album).id == job
    assert slots.finish(catalog, place, state) == "again"
    slots.release(catalog, place)
    view = jobs.get(catalog, job)
    assert (view.state, view.phase, view.workers) == ("running", "scan", 0)
    place = take(catalog, job)
    assert place is not None
    slots.begin_scan(catalog, place)
    assert slots.finish(catalog, place, state) == "ended"
    assert jobs.get(catalog, job).state == state


def test_job_that_looks_at_no_folders_is_not_done_twice(catalog: Catalog) -> None:
    job = jobs.create(catalog, "compact").id
    place = take(catalog, job)
    assert place is not None
    assert jobs.create(catalog, "compact").id == job
    assert slots.finish(catalog, place, "done") == "ended"


def test_job_asked_for_while_it_is_being_cancelled_is_made_anew(catalog: Catalog) -> None:
    album = make_album(catalog)
    old = jobs.create(catalog, "index", album_id=album).id
    place = take(catalog, old)
    assert place is not None
    assert jobs.cancel(catalog, old).state == "cancelling"
    new = jobs.create(catalog, "index", album_id=album)
    assert new.id != old
    slots.release(catalog, place)
    assert (jobs.get(catalog, old).state, jobs.get(catalog, new.id).state) == (
        "cancelled",
        "queued",
    )


def test_same_job_started_by_many_at_once_is_one_job(catalog: Catalog) -> None:
    album = make_album(catalog)
    found: list[int] = []

    def start() -> None:
        found.append(jobs.create(catalog, "index", album_id=album).id)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(found)) == 1


@pytest.mark.parametrize(
    ("kind", "album", "parameters"),
    [("dance", None, {}), ("index", 99, {}), ("compact", None, {"x": object()})],
)
def test_impossible_job_is_refused(
    catalog: Catalog, kind: str, album: int | None, parameters: dict[str, object]
) -> None:
    with pytest.raises(JobParametersInvalid):
        jobs.create(catalog, kind, album_id=album, parameters=parameters)


def test_unknown_job_is_an_error_with_a_remedy(catalog: Catalog) -> None:
    with pytest.raises(UnknownJob, match="referent jobs"):
        jobs.get(catalog, 12)


def test_jobs_are_listed_newest_first_and_paged(catalog: Catalog) -> None:
    made = [jobs.create(catalog, "compact", parameters={"n": number}).id for number in range(5)]
    first = jobs.list_jobs(catalog, limit=2)
    second = jobs.list_jobs(catalog, limit=2, before=first[-1].id)
    assert [job.id for job in first + second] == made[::-1][:4]
    assert jobs.list_jobs(catalog, states=("done",)) == []


def test_one_place_is_held_by_one_worker(catalog: Catalog) -> None:
    job = jobs.create(catalog, "compact").id
    place = take(catalog, job)
    assert place is not None
    assert take(catalog, job) is None
    assert jobs.get(catalog, job).state == "running"
    assert jobs.get(catalog, job).workers == 1
    slots.release(catalog, place)
    assert take(catalog, job) is not None


def test_workers_that_race_for_a_place_get_it_once(catalog: Catalog) -> None:
    job = jobs.create(catalog, "compact").id
    got: list[slots.Place | None] = []
    threads = [threading.Thread(target=lambda: got.append(take(catalog, job))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(place is not None for place in got) == 1


def test_indexing_is_shared_by_as_many_workers_as_it_has_places(catalog: Catalog) -> None:
    job = jobs.create(catalog, "index", album_id=make_album(catalog), width=3).id
    places = [
        slots.take_any(catalog, owner=new_owner(), lease_s=LEASE_S, kinds=("index",))
        for _ in range(4)
    ]
    assert sorted(place.slot for place in places if place is not None) == [0, 1, 2]
    assert jobs.get(catalog, job).workers == 3


def test_lease_that_ran_out_is_taken_over_and_its_holder_hears_of_it(catalog: Catalog) -> None:
    job = jobs.create(catalog, "compact").id
    slow = take(catalog, job)
    assert slow is not None
    expire(catalog)
    assert take(catalog, job) is not None
    with pytest.raises(PlaceLost):
        slots.renew(catalog, slow, done=5)
    assert slots.finish(catalog, slow, "done") == "refused"
    slots.release(catalog, slow)
    assert jobs.get(catalog, job).workers == 1
    assert jobs.get(catalog, job).state == "running"


def test_place_of_a_dead_process_of_this_machine_is_free_at_once(catalog: Catalog) -> None:
    job = jobs.create(catalog, "compact").id
    code = "from indexer.db.owner import new_owner; print(new_owner())"
    dead = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert take(catalog, job, owner=dead) is not None
    assert take(catalog, job) is None
    assert [wake.job_id for wake in slots.forgotten(catalog, after_s=60)] == [job]
    assert take(catalog, job) is not None


def test_lease_and_message_of_before_the_clock_was_put_back_hold_nothing_up(
    catalog: Catalog,
) -> None:
    job = jobs.create(catalog, "compact").id
    place = take(catalog, job)
    assert place is not None
    with slots.leading(catalog, place) as leads:
        assert leads
        with catalog.session() as session:  # the clock was two hours ahead
            session.execute(update(JobSlot).values(lease_until=clock() + 7200))
            session.execute(update(JobSlot).values(woken_at=clock() + 7200))
            session.execute(
                update(Job).values(lease_until=clock() + 7200, heartbeat_at=clock() + 7200)
            )
        assert [wake.slot for wake in slots.forgotten(catalog, after_s=60)] == [0]
        other = take(catalog, job)
        assert other is not None
        with slots.leading(catalog, other) as leads_now:
            assert leads_now
    slots.renew(catalog, other, done=3, total=10)
    assert jobs.get(catalog, job).done == 3


def test_renewing_writes_progress_and_answers_with_the_state(catalog: Catalog) -> None:
    job = jobs.create(catalog, "compact").id
    place = take(catalog, job)
    assert place is not None
    with catalog.session() as session:
        session.execute(update(Job).values(heartbeat_at=clock() - 10))
    assert slots.renew(catalog, place, done=50, total=100, failed=1) == "running"
    view = jobs.get(catalog, job)
    assert (view.done, view.total, view.failed) == (50, 100, 1)
    assert view.rate is not None
    assert 2 < view.rate < 6  # 50 in 10 s
    assert view.seconds_left is not None
    assert 8 < view.seconds_left < 25
    jobs.pause(catalog, job)
    assert slots.renew(catalog, place) == "paused"


def test_paused_job_gives_no_place_until_it_is_resumed(catalog: Catalog) -> None:
    job = jobs.create(catalog, "compact").id
    jobs.pause(catalog, job)
    assert take(catalog, job) is None
    assert slots.forgotten(catalog, after_s=0) == []
    assert jobs.resume(catalog, job).state == "queued"
    assert take(catalog, job) is not None


def test_cancelling_waits_for_the_worker_and_ends_with_it(catalog: Catalog) -> None:
    job = jobs.create(catalog, "compact").id
    place = take(catalog, job)
    assert place is not None
    assert jobs.cancel(catalog, job).state == "cancelling"
    assert slots.renew(catalog, place) == "cancelling"
    assert slots.finish(catalog, place, "done") == "refused"
    slots.release(catalog, place)
    view = jobs.get(catalog, job)
    assert view.state == "cancelled"
    assert view.finished_at is not None


def test_idle_runner_wants_no_write_lock(settings: Settings) -> None:
    with Catalog.open(settings, timeout_s=0.2) as catalog, catalog.session():
        jobs.settle_cancelled(catalog)  # another process writes, or the library is read-only
        assert slots.take_any(catalog, owner="me", lease_s=LEASE_S) is None
        assert slots.forgotten(catalog, after_s=0) == []


def test_job_whose_worker_died_while_it_was_cancelled_ends_by_the_sweeper(
    catalog: Catalog,
) -> None:
    job = jobs.create(catalog, "compact").id
    take(catalog, job)
    jobs.cancel(catalog, job)
    expire(catalog)
    slots.forgotten(catalog, after_s=60)
    assert jobs.get(catalog, job).state == "cancelled"


def test_job_that_nobody_holds_is_cancelled_at_once_and_can_be_started_anew(
    catalog: Catalog,
) -> None:
    job = jobs.create(catalog, "compact").id
    assert jobs.cancel(catalog, job).state == "cancelled"
    assert jobs.create(catalog, "compact").id != job


@pytest.mark.parametrize("act", [jobs.pause, jobs.resume])
def test_job_that_is_over_cannot_be_paused_or_resumed(
    catalog: Catalog, act: Callable[[Catalog, int], object]
) -> None:
    job = jobs.create(catalog, "compact").id
    jobs.cancel(catalog, job)
    with pytest.raises(JobConflict, match="cancelled"):
        act(catalog, job)


def test_retry_queues_a_finished_job_and_lets_failed_photos_be_tried_again(
    catalog: Catalog,
) -> None:
    album = make_album(catalog, photos=3)
    job = jobs.create(catalog, "index", album_id=album).id
    place = take(catalog, job)
    assert place is not None
    with catalog.session() as session:
        photo = session.scalars(select(Photo).order_by(Photo.id)).first()
        assert photo is not None
        photo.status, photo.error, photo.attempts = "failed", "no image", 3
        note_failure(session, job, photo.id, "no image", attempts=3)
        note_failure(session, job, photo.id, "no image", attempts=1)
        number = photo.id
    assert slots.finish(catalog, place, "done", result={"indexed": 2}) == "ended"
    slots.release(catalog, place)
    found = failures_of(catalog, job)
    assert [(one.photo_id, one.path, one.attempts) for one in found] == [
        (number, "/photos/0.jpg", 4)
    ]
    view = jobs.retry(catalog, job)
    assert (view.state, view.result, view.finished_at) == ("queued", None, None)
    assert failures_of(catalog, job) == []
    with catalog.reading() as session:
        assert session.scalar(select(func.count()).where(Photo.status == "new")) == 3


def test_retry_is_refused_while_the_same_job_runs_under_another_number(catalog: Catalog) -> None:
    first = jobs.create(catalog, "compact").id
    jobs.cancel(catalog, first)
    jobs.create(catalog, "compact")
    with pytest.raises(JobConflict, match="another number"):
        jobs.retry(catalog, first)


def test_forgotten_places_are_named_once_a_while(catalog: Catalog) -> None:
    job = jobs.create(catalog, "index", album_id=make_album(catalog), width=2).id
    take(catalog, job, 0)
    found = slots.forgotten(catalog, after_s=60)
    assert [(wake.job_id, wake.slot) for wake in found] == [(job, 1)]
    assert slots.forgotten(catalog, after_s=60) == []


def test_resumed_job_is_woken_by_the_next_sweep(catalog: Catalog) -> None:
    job = jobs.create(catalog, "index", album_id=make_album(catalog), width=2).id
    place = take(catalog, job, 0)
    assert place is not None
    jobs.pause(catalog, job)
    slots.release(catalog, place)  # which counts as a message, and so does the sweep
    assert slots.forgotten(catalog, after_s=60) == []
    jobs.resume(catalog, job)
    assert [wake.slot for wake in slots.forgotten(catalog, after_s=60)] == [0, 1]


def test_one_worker_leads_and_another_takes_over_when_it_is_silent(catalog: Catalog) -> None:
    job = jobs.create(catalog, "index", album_id=make_album(catalog), width=2).id
    first, second = take(catalog, job, 0), take(catalog, job, 1)
    assert first is not None
    assert second is not None
    with slots.leading(catalog, first) as leads, slots.leading(catalog, second) as also:
        assert (leads, also) == (True, False)
        with catalog.session() as session:
            session.execute(update(Job).values(lease_until=clock() - 1))
        with slots.leading(catalog, second) as now:
            assert now
    with slots.leading(catalog, second) as free:
        assert free


def test_every_failed_photo_of_an_album_is_named_once(catalog: Catalog) -> None:
    album = make_album(catalog, photos=4)
    job = jobs.create(catalog, "index", album_id=album).id
    with catalog.session() as session:
        failed = session.scalars(select(Photo).order_by(Photo.id).limit(3)).all()
        for photo, attempts in zip(failed, (0, 1, 3), strict=True):
            photo.status, photo.error, photo.attempts = "failed", "no image", attempts
        note_failure(session, job, failed[0].id, "its worker was quicker")
        names = [photo.id for photo in failed]
    for _ in range(2):
        with catalog.session() as session:
            note_album_failures(session, job, album)
    found = failures_of(catalog, job)
    assert [(one.photo_id, one.reason, one.attempts) for one in found] == [
        (names[0], "its worker was quicker", 1),
        (names[1], "no image", 1),
        (names[2], "no image", 3),
    ]


def test_failures_go_with_their_job(catalog: Catalog) -> None:
    album = make_album(catalog, photos=1)
    job = jobs.create(catalog, "index", album_id=album).id
    with catalog.session() as session:
        session.execute(insert(JobFailure).values(job_id=job, reason="x", attempts=1))
        session.delete(session.get_one(Album, album))
    with catalog.reading() as session:
        assert session.scalar(select(func.count()).select_from(JobFailure)) == 0
        assert session.scalar(select(func.count()).select_from(JobSlot)) == 0
