"""Jobs for tests: what is asked for, what comes of it, and a clock that only the test moves."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from typing import Any, Final

import sqlalchemy as sa

from app.engines.engine import Brief
from app.jobs import Jobs
from app.jobs.database import Database, open_database
from app.jobs.job import Job, JobRequest, Result
from app.jobs.records import Records
from app.jobs.tables import EXECUTORS
from app.settings import Settings
from app.store import FileStore

TTL_S: Final = 86_400.0
REQUEST: Final = JobRequest(
    Brief("calm piano", 10.5, seed=7, mood="calm", tempo_bpm=90, instruments=("piano", "cello"), format="mp3"),
    username="ann",
)


class TickingClock:
    """Unix time that goes on by a millisecond with each look, so that no two jobs are equally old."""

    def __init__(self, now_s: float = 1_700_000_000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        self.now_s += 0.001
        return self.now_s


def queued_job(
    records: Records,
    clock: TickingClock,
    *,
    owner: str = "",
    request: JobRequest = REQUEST,
    key: str | None = None,
    digest: str = "",
) -> Job:
    """Write a job that waits, and return it."""
    job = Job.queued(request, owner=owner, engine="fake", max_attempts=3, request_id="r-1", now_s=clock(), ttl_s=TTL_S)
    with records.writing() as connection:
        records.insert(connection, job.behind(0), idempotency_key=key, digest=digest)
    return job


def result_of(job: Job, *, size_bytes: int = 1_000) -> Result:
    return Result(f"{job.id}.mp3", "a" * 64, size_bytes, "audio/mpeg", 10.5, 7, ("Nobody here plays kazoo.",))


def open_jobs(database: Database, store: FileStore, **fields: Any) -> Jobs:
    """Return the jobs of the database; `fields` are those of `Jobs` that matter."""
    fields = {
        "queue": NotingQueue(),
        "engine": "fake",
        "max_attempts": 3,
        "max_queued": 1_000,
        "max_bytes": 10_000,
        "ttl_s": TTL_S,
        "clock": TickingClock(),
        **fields,
    }
    records = Records(database, ttl_s=TTL_S, queue=fields["queue"], clock=fields["clock"])
    return Jobs(records, store, **fields)


class NotingQueue:
    """A `WorkQueue` that leaves a row of its own, as the workflow engine does."""

    def __init__(self) -> None:
        self.dropped: list[str] = []

    def enqueue(self, connection: sa.Connection, job_id: str) -> None:
        connection.execute(sa.insert(EXECUTORS), {"id": job_id, "started_at_s": 0.0, "beat_at_s": 0.0})

    def enqueue_song(self, connection: sa.Connection, song_id: str) -> None:
        self.enqueue(connection, song_id)

    def drop(self, job_id: str) -> None:
        self.dropped.append(job_id)


def enqueued(database: Database) -> list[str]:
    with database.reading() as connection:
        return list(connection.execute(sa.select(EXECUTORS.c.id)).scalars())


# ---------------------------------------------------------------------- several processes

PROCESSES: Final = 2
SUBMISSIONS: Final = 25
"""Of each process, at once."""

_meeting: Any = None


def at_once(act: Callable[[Settings], Any], settings: Settings) -> list[Any]:
    """Return what the act returns in several processes that begin it together."""
    context = multiprocessing.get_context("spawn")
    meeting = context.Barrier(PROCESSES)
    with ProcessPoolExecutor(PROCESSES, context, _arrive, (meeting,)) as processes:
        return [
            future.result(timeout=60) for future in [processes.submit(_act, act, settings) for _ in range(PROCESSES)]
        ]


def _arrive(meeting: Any) -> None:
    global _meeting  # noqa: PLW0603 - it can only be inherited, not be sent
    _meeting = meeting


def _act(act: Callable[[Settings], Any], settings: Settings) -> Any:
    _meeting.wait(timeout=30)
    return act(settings)


def migrate(settings: Settings) -> None:
    with closing(open_database(settings)) as database:
        database.migrate()


def submit_with_one_key(settings: Settings) -> list[tuple[str, bool]]:
    """Submit the same request again and again; return the id of the job each time, and whether it was there already."""
    with closing(open_database(settings)) as database, ThreadPoolExecutor(SUBMISSIONS) as threads:
        jobs = open_jobs(database, FileStore(None, folder=settings.data_dir / "files"))
        submissions = [
            threads.submit(jobs.submit, REQUEST, owner="ann", request_id="r", idempotency_key="k", digest="d")
            for _ in range(SUBMISSIONS)
        ]
        return [(each.result().job.id, each.result().replayed) for each in submissions]
