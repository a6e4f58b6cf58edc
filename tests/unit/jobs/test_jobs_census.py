"""How all jobs stand together, on SQLite and on Postgres."""

from __future__ import annotations

import time

import pytest
import sqlalchemy as sa
from job_samples import TickingClock, queued_job, result_of

from app.jobs.database import Database
from app.jobs.job import COMPOSING
from app.jobs.records import EXECUTOR_SILENT_S, Records
from app.jobs.tables import EXECUTORS


def test_without_jobs_every_state_is_there_and_nothing_is_old(records: Records) -> None:
    census = records.census()

    assert census.jobs == {"queued": 0, "running": 0, "succeeded": 0, "failed": 0, "cancelled": 0}
    assert census.queue_age_s == 0.0


def test_jobs_are_counted_by_state_whoever_submitted_them(records: Records, clock: TickingClock) -> None:
    waiting, running, done = (queued_job(records, clock, owner=owner) for owner in ("ann", "ben", ""))
    records.start(running.id, 1, COMPOSING)
    records.start(done.id, 1, COMPOSING)
    records.succeed(done.id, result_of(done))

    assert records.census().jobs == {"queued": 1, "running": 1, "succeeded": 1, "failed": 0, "cancelled": 0}

    records.cancel(waiting.id)
    assert records.census().jobs["cancelled"] == 1


def test_the_queue_is_as_old_as_the_job_that_waits_longest(records: Records, clock: TickingClock) -> None:
    first = queued_job(records, clock)
    clock.now_s += 60
    queued_job(records, clock)
    clock.now_s += 30
    assert records.census().queue_age_s == pytest.approx(90, abs=1)

    records.start(first.id, 1, COMPOSING)
    assert records.census().queue_age_s == pytest.approx(30, abs=1)


def test_a_clock_that_was_set_back_makes_no_negative_age(records: Records, clock: TickingClock) -> None:
    queued_job(records, clock)
    clock.now_s -= 3_600

    assert records.census().queue_age_s == 0.0


def test_executors_are_counted_where_they_give_signs_of_life(records: Records, database: Database) -> None:
    now_s = time.time()
    with database.writing() as connection:
        for name, silent_s in (("alive", 0.0), ("slow", EXECUTOR_SILENT_S / 2), ("dead", EXECUTOR_SILENT_S * 2)):
            row = {"id": name, "started_at_s": now_s - 100, "beat_at_s": now_s - silent_s}
            connection.execute(sa.insert(EXECUTORS).values(**row))

    assert records.census().executors == (None if database.is_sqlite else 2)
