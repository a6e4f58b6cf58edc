"""The gate before the job database: few wait, a burst is worked off, and executors are not held up."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest
from fakes import FakeClock
from job_samples import REQUEST, open_jobs, result_of

from app.errors import JobStoreUnavailable
from app.jobs import Jobs
from app.jobs.database import POOL_OVERFLOW, POOL_SIZE, Database
from app.jobs.gate import PLACES, Gate
from app.jobs.job import COMPOSING, new_id
from app.retry import Deadline
from app.store import FileStore

ROOT: Final = Path(__file__).parents[3]

LONG_S = 10.0
"""More than a test takes: who waits for so long has not been refused at once."""


@contextmanager
def full(gate: Gate, places: int) -> Iterator[ExitStack]:
    with ExitStack() as inside:
        for _ in range(places):
            inside.enter_context(gate.passing())
        yield inside


def refused(gate: Gate) -> JobStoreUnavailable:
    """Return how the gate refuses, which must be at once."""
    began_s = time.monotonic()
    with pytest.raises(JobStoreUnavailable) as caught, gate.passing():
        pass
    assert time.monotonic() - began_s < LONG_S / 2
    return caught.value


def test_one_more_than_there_are_places_is_refused_and_told_when_to_return() -> None:
    gate = Gate(places=2, patience_s=0.0)

    with full(gate, 2):
        error = refused(gate)
    with full(gate, 2):
        pass

    assert error.retry_after_s == 5.0
    assert error.detail == "Too many requests wait for the job database."


def test_a_burst_is_worked_off_while_the_database_answers() -> None:
    gate = Gate(places=2, patience_s=LONG_S)
    here = threading.Semaphore(0)

    def ask() -> None:
        here.release()
        with gate.passing():
            pass

    with ThreadPoolExecutor(8) as pool:
        with full(gate, 2):
            asked: list[Future[None]] = [pool.submit(ask) for _ in range(8)]
            for _ in asked:
                assert here.acquire(timeout=LONG_S)
        for each in asked:
            each.result(LONG_S)


def test_nobody_waits_any_more_once_somebody_has_waited_in_vain() -> None:
    gate = Gate(places=1, patience_s=0.01)

    with full(gate, 1):
        refused(gate)
        gate._patience_s = LONG_S  # who waited now would hang
        refused(gate)


def test_nobody_waits_while_those_who_return_have_taken_long_until_one_was_quick() -> None:
    clock = FakeClock()
    gate = Gate(places=2, patience_s=LONG_S, clock=clock)

    with full(gate, 2) as inside:
        clock.now_s += LONG_S + 1
        inside.pop_all().close()
    with full(gate, 2) as inside:
        refused(gate)
        inside.pop_all().close()

    assert not gate._is_slow


def test_a_place_is_given_back_by_who_fails() -> None:
    gate = Gate(places=1, patience_s=0.0)

    for _ in range(2):
        with pytest.raises(ZeroDivisionError), gate.passing():
            raise ZeroDivisionError

    with gate.passing():
        pass


def test_the_places_are_between_the_connections_and_the_spare_threads() -> None:
    """Fewer would leave connections unused; more could take all threads that are kept for `/health` and refusals."""
    (spare_threads,) = re.findall(
        r"^_SPARE_THREADS.* = (\d+)$", (ROOT / "gunicorn.conf.py").read_text("utf-8"), re.MULTILINE
    )

    assert POOL_SIZE + POOL_OVERFLOW <= PLACES < int(spare_threads)


# ---------------------------------------------------------------------- who passes it


@pytest.fixture
def gate() -> Gate:
    return Gate(patience_s=0.0)


@pytest.fixture
def jobs(database: Database, tmp_path: Path, gate: Gate) -> Jobs:
    return open_jobs(database, FileStore(None, folder=tmp_path / "files"), gate=gate)


REQUESTS: dict[str, Callable[[Jobs], object]] = {
    "submit": lambda jobs: jobs.submit(REQUEST, owner="", request_id="r"),
    "get": lambda jobs: jobs.get(new_id()),
    "page": lambda jobs: jobs.page(None),
    "changes": lambda jobs: jobs.changes(new_id(), 0),
    "wait": lambda jobs: jobs.wait(new_id(), Deadline.after(1)),
    "cancel": lambda jobs: jobs.cancel(new_id()),
    "delete": lambda jobs: jobs.cancel_or_delete(new_id()),
}


@pytest.mark.parametrize("ask", REQUESTS.values(), ids=REQUESTS.keys())
def test_requests_are_refused_when_too_many_wait(jobs: Jobs, gate: Gate, ask: Callable[[Jobs], object]) -> None:
    with full(gate, PLACES), pytest.raises(JobStoreUnavailable, match="Too many"):
        ask(jobs)


def test_who_runs_jobs_or_looks_after_all_of_them_is_not_refused(jobs: Jobs, gate: Gate) -> None:
    job_id = jobs.submit(REQUEST, owner="", request_id="r").job.id

    with full(gate, PLACES):
        assert jobs._records.start(job_id, 1, COMPOSING)
        jobs.sweep()
        jobs.probe()
        assert jobs.census().jobs["running"] == 1


def test_each_request_needs_one_place_and_gives_it_back(database: Database, tmp_path: Path) -> None:
    gate = Gate(places=1, patience_s=0.0)
    jobs = open_jobs(database, FileStore(None, folder=tmp_path / "files"), gate=gate)

    first, second = (jobs.submit(REQUEST, owner="", request_id="r").job.id for _ in range(2))
    assert jobs.cancel(first).status == "cancelled"
    assert jobs.cancel_or_delete(first) is None
    assert jobs.wait(second, Deadline.after(0)).status == "queued"
    assert jobs.changes(second, 0)
    assert len(jobs.page(None)[0]) == 1


def test_a_store_that_hangs_takes_no_place(jobs: Jobs, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    job = jobs.submit(REQUEST, owner="", request_id="r").job
    assert jobs._records.start(job.id, 1, COMPOSING)
    assert jobs._records.succeed(job.id, result_of(job))
    taken: list[int] = []
    monkeypatch.setattr(jobs._store, "delete", lambda _: taken.append(gate._taken))

    jobs.cancel_or_delete(job.id)

    assert taken == [0]
