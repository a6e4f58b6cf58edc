"""`Jobs`: what the web and the command line know of jobs."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from job_samples import (
    PROCESSES,
    REQUEST,
    SUBMISSIONS,
    TTL_S,
    NotingQueue,
    TickingClock,
    at_once,
    enqueued,
    open_jobs,
    submit_with_one_key,
)

from app.engines.engine import Brief
from app.errors import (
    Gone,
    IdempotencyMismatch,
    JobStoreUnavailable,
    NotFound,
    Overloaded,
    ResultLost,
)
from app.jobs import STRAYS_EVERY_S, Jobs
from app.jobs.database import SQLITE_FILE, Database, open_database
from app.jobs.job import COMPOSING, Job, JobRequest, Result, new_id
from app.jobs.records import Records
from app.retry import Deadline
from app.settings import Settings
from app.store import FileStore


@pytest.fixture
def store(tmp_path: Path) -> FileStore:
    return FileStore(None, folder=tmp_path / "files")


@pytest.fixture
def jobs(database: Database, store: FileStore, clock: TickingClock) -> Jobs:
    return open_jobs(database, store, clock=clock)


def submit(jobs: Jobs, *, request: JobRequest = REQUEST, key: str | None = None, digest: str = "d") -> Job:
    return jobs.submit(request, owner="", request_id="r-1", idempotency_key=key, digest=digest).job


def finish(records: Records, store: FileStore, job: Job, content: bytes = b"music") -> Result:
    """Do what an executor does."""
    result = Result(
        f"{job.id}.mp3", hashlib.sha256(content).hexdigest(), len(content), "audio/mpeg", 10.5, job.brief.seed
    )
    assert records.start(job.id, 1, COMPOSING)
    store.put(result.file, content)
    assert records.succeed(job.id, result)
    return result


# ---------------------------------------------------------------------- submitting


def test_a_submitted_job_is_written_and_enqueued(jobs: Jobs, database: Database) -> None:
    job = submit(jobs)

    assert (job.status, job.queue_position, job.engine, job.request_id) == ("queued", 0, "fake", "r-1")
    assert jobs.get(job.id) == job
    assert enqueued(database) == [job.id]


def test_what_cannot_be_enqueued_is_not_written(database: Database, store: FileStore) -> None:
    class BrokenQueue(NotingQueue):
        def enqueue(self, connection: sa.Connection, job_id: str) -> None:
            super().enqueue(connection, job_id)
            connection.execute(sa.text("INSERT INTO no_such_table VALUES (1)"))

    jobs = open_jobs(database, store, queue=BrokenQueue())

    with pytest.raises(JobStoreUnavailable):
        submit(jobs, key="k")

    assert jobs.page(None) == ([], None)
    assert enqueued(database) == []


def test_jobs_that_would_wait_too_long_are_refused(database: Database, store: FileStore) -> None:
    jobs = open_jobs(database, store, max_queued=2)
    first = submit(jobs, key="k")
    submit(jobs)

    with pytest.raises(Overloaded) as raised:
        submit(jobs)

    assert raised.value.retry_after_s
    assert len(jobs.page(None)[0]) == 2
    assert submit(jobs, key="k") == first
    jobs.cancel_or_delete(first.id)
    submit(jobs)


def test_the_same_key_is_the_same_job(jobs: Jobs, database: Database) -> None:
    def submission(digest: str) -> tuple[str, bool]:
        found = jobs.submit(REQUEST, owner="", request_id="r", idempotency_key="k", digest=digest)
        return found.job.id, found.replayed

    first, replayed = submission("d")
    assert not replayed

    assert submission("d") == (first, True)
    with pytest.raises(IdempotencyMismatch):
        submission("other")
    assert enqueued(database) == [first]


def test_a_key_sent_at_once_from_everywhere_starts_one_job(database_settings: Settings) -> None:
    submissions = list(itertools.chain.from_iterable(at_once(submit_with_one_key, database_settings)))

    database = open_database(database_settings)
    assert len(submissions) == PROCESSES * SUBMISSIONS
    assert len({each for each, _ in submissions}) == 1
    assert sum(not replayed for _, replayed in submissions) == 1
    assert enqueued(database) == [submissions[0][0]]
    database.close()


# ---------------------------------------------------------------------- asking


@pytest.mark.parametrize("id", ["0" * 32, "", "x", "0" * 31, "0" * 33, "A" * 32, "0" * 31 + "\0", "0" * 32 + "\n"])
def test_what_was_never_submitted_is_not_found(jobs: Jobs, id: str) -> None:
    with pytest.raises(NotFound):
        jobs.get(id)


def test_a_job_is_gone_once_it_has_expired(jobs: Jobs, records: Records, store: FileStore, clock: TickingClock) -> None:
    job = submit(jobs)
    finish(records, store, job)
    clock.now_s += TTL_S - 10
    assert jobs.get(job.id).status == "succeeded"

    clock.now_s += 20
    with pytest.raises(Gone):
        jobs.get(job.id)  # before it is deleted, and after

    jobs.sweep()
    with pytest.raises(Gone):
        jobs.get(job.id)


def test_an_unfinished_job_does_not_expire(jobs: Jobs, clock: TickingClock) -> None:
    job = submit(jobs)
    clock.now_s += 2 * TTL_S

    assert jobs.sweep() == 0
    assert jobs.get(job.id).status == "queued"


def waiting_jobs(
    database: Database, store: FileStore, after: Callable[[float], None]
) -> tuple[Jobs, Callable[[], float]]:
    """Return jobs whose waiting takes no time, and the clock that it moves; `after` is told what time it is then."""
    now_s = [0.0]

    def sleep(seconds: float) -> None:
        now_s[0] += seconds
        after(now_s[0])

    return open_jobs(database, store, sleep=sleep), lambda: now_s[0]


def test_waiting_ends_with_the_job(database: Database, store: FileStore, records: Records) -> None:
    def cancel_after_3_s(now_s: float) -> None:
        if now_s > 3:
            records.cancel(job.id)

    jobs, clock = waiting_jobs(database, store, cancel_after_3_s)
    job = submit(jobs)

    assert jobs.wait(job.id, Deadline.after(60, clock=clock)).status == "cancelled"
    assert 3 < clock() < 4


def test_waiting_ends_with_the_deadline(database: Database, store: FileStore) -> None:
    looks: list[float] = []
    jobs, clock = waiting_jobs(database, store, looks.append)
    job = submit(jobs)

    assert jobs.wait(job.id, Deadline.after(10, clock=clock)) == job
    assert clock() == pytest.approx(10)
    assert looks[0] == pytest.approx(0.1)
    assert 15 < len(looks) < 30


# ---------------------------------------------------------------------- cancelling and deleting


def test_a_queued_job_is_cancelled_then_deleted(jobs: Jobs) -> None:
    job = submit(jobs)

    cancelled = jobs.cancel_or_delete(job.id)
    assert cancelled is not None
    assert cancelled.status == "cancelled"

    assert jobs.cancel_or_delete(job.id) is None
    with pytest.raises(Gone):
        jobs.cancel_or_delete(job.id)


def test_a_running_job_is_asked_to_end(jobs: Jobs, records: Records) -> None:
    job = submit(jobs)
    records.start(job.id, 1, COMPOSING)

    asked = jobs.cancel_or_delete(job.id)

    assert asked is not None
    assert (asked.status, asked.cancel_requested) == ("running", True)


def test_a_finished_job_is_deleted_with_its_file(jobs: Jobs, records: Records, store: FileStore) -> None:
    job = submit(jobs)
    result = finish(records, store, job)

    assert jobs.cancel_or_delete(job.id) is None

    assert result.file not in store.names()
    with pytest.raises(Gone):
        jobs.get(job.id)


# ---------------------------------------------------------------------- files


def test_a_file_is_read_whole_and_in_parts(jobs: Jobs, records: Records, store: FileStore) -> None:
    result = finish(records, store, submit(jobs))

    assert b"".join(jobs.read(result)) == b"music"
    assert b"".join(jobs.read(result, 1, 3)) == b"us"
    assert jobs.file_url(result) is None


@pytest.mark.parametrize("content", [None, b"noise", b""])
def test_a_file_that_is_not_what_was_written_is_lost(
    jobs: Jobs, records: Records, store: FileStore, content: bytes | None
) -> None:
    result = finish(records, store, submit(jobs))
    if content is None:
        store.delete(result.file)
    else:
        store.put(result.file, content)

    with pytest.raises(ResultLost):
        jobs.read(result)


# ---------------------------------------------------------------------- sweeping


def test_job_file_and_changes_expire_together(
    jobs: Jobs, records: Records, store: FileStore, clock: TickingClock
) -> None:
    job = submit(jobs)
    result = finish(records, store, job)
    clock.now_s += TTL_S + 1
    kept = submit(jobs)

    assert jobs.sweep() == 1

    assert result.file not in store.names()
    assert records.get(job.id) is None
    assert jobs.changes(job.id, 0) == []
    assert jobs.get(kept.id).status == "queued"
    assert jobs.sweep() == 0


def test_the_oldest_files_go_when_the_store_is_too_full(jobs: Jobs, records: Records, store: FileStore) -> None:
    results = [finish(records, store, submit(jobs), b"x" * 3_000) for _ in range(3)]
    failed = submit(jobs)
    records.fail(failed.id, {}, retryable=False, message="x")
    assert jobs.sweep() == 0

    results += [finish(records, store, submit(jobs), b"x" * 3_000) for _ in range(2)]
    assert jobs.sweep() == 2

    assert set(store.names()) == {result.file for result in results[2:]}
    assert records.total_size_bytes() == 9_000
    assert jobs.get(failed.id).status == "failed"


def test_an_expired_prompt_is_on_the_disk_no_more(
    sqlite_settings: Settings, store: FileStore, clock: TickingClock
) -> None:
    database = open_database(sqlite_settings)
    jobs, records = (
        open_jobs(database, store, clock=clock),
        Records(database, ttl_s=TTL_S, queue=NotingQueue(), clock=clock),
    )
    secret = "a waltz for my late grandmother"

    def on_disk() -> bool:
        files = sqlite_settings.data_dir.glob(f"{SQLITE_FILE}*")
        return any(secret.encode() in file.read_bytes() for file in files)

    job = submit(jobs, request=JobRequest(Brief(secret, 5.0, seed=1)))
    finish(records, store, job)
    assert on_disk()

    clock.now_s += TTL_S + 1
    jobs.sweep()
    assert not on_disk()
    database.close()


def test_a_file_that_a_dead_process_left_goes_after_its_job(
    jobs: Jobs, records: Records, store: FileStore, clock: TickingClock
) -> None:
    job, kept = submit(jobs), submit(jobs)
    left, wanted, somebody_elses = (f"{each}-0123.mp3" for each in (job.id, kept.id, new_id()))
    for name in (left, wanted, somebody_elses):
        store.put(name, b"music")
    records.cancel(job.id)
    jobs.sweep()
    assert set(store.names()) == {left, wanted, somebody_elses}

    clock.now_s += TTL_S + 1
    jobs.sweep()

    assert set(store.names()) == {wanted, somebody_elses}


def test_the_store_is_not_looked_through_with_every_sweep(
    jobs: Jobs, records: Records, store: FileStore, clock: TickingClock
) -> None:
    job = submit(jobs)
    records.cancel(job.id)
    records.remove(job.id)
    jobs.sweep()
    left = f"{job.id}-0123.mp3"
    store.put(left, b"music")

    jobs.sweep()
    assert left in store.names()

    clock.now_s += STRAYS_EVERY_S
    jobs.sweep()
    assert left not in store.names()


def test_a_file_that_cannot_be_deleted_keeps_no_other(
    jobs: Jobs, records: Records, store: FileStore, clock: TickingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, _ = (finish(records, store, submit(jobs)) for _ in range(2))
    delete = store.delete

    def refuse_one(name: str) -> None:
        if name == stuck.file:
            raise JobStoreUnavailable("This service may not delete here.")
        delete(name)

    monkeypatch.setattr(store, "delete", refuse_one)
    clock.now_s += TTL_S + 1

    assert jobs.sweep() == 1

    assert list(store.names()) == [stuck.file]


def test_a_job_that_is_cancelled_before_it_began_leaves_the_queue(database: Database, store: FileStore) -> None:
    queue = NotingQueue()
    jobs = open_jobs(database, store, queue=queue)
    waiting, running = submit(jobs), submit(jobs)
    Records(database, ttl_s=TTL_S, queue=NotingQueue()).start(running.id, 1, COMPOSING)

    for each in (waiting, running):
        jobs.cancel_or_delete(each.id)

    assert queue.dropped == [waiting.id]


def test_a_job_that_ends_while_it_is_to_be_cancelled_is_deleted(
    jobs: Jobs, records: Records, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(jobs)
    ask = records.request_cancel

    def end_first(job_id: str) -> Job | None:
        finish(records, store, job)
        return ask(job_id)

    monkeypatch.setattr(jobs._records, "request_cancel", end_first)

    assert jobs.cancel_or_delete(job.id) is None
    assert records.get(job.id) is None
    assert list(store.names()) == []
