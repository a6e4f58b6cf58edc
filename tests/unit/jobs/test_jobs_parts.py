"""Parts that are opened late: once, by one thread, and a failure is shared instead of repeated by each."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from fakes import FakeClock

from app.errors import JobStoreUnavailable
from app.jobs import parts as parts_module
from app.jobs.gate import PLACES
from app.jobs.parts import FAILURE_GOOD_S, LateParts, Parts
from app.settings import Settings

LIMIT_S = 30.0


class Opening:
    """Stands for `open_parts`: fails until a test says otherwise, and not before the test lets it."""

    def __init__(self) -> None:
        self.begun = 0
        self.has_begun = threading.Event()
        self.may_end = threading.Event()
        self.may_end.set()

    def __call__(self, *_: object, **__: object) -> Parts:
        self.begun += 1
        self.has_begun.set()
        assert self.may_end.wait(LIMIT_S)
        raise JobStoreUnavailable("The job database cannot be reached.", retry_after_s=5.0, log_text="at 10.0.0.1")


@pytest.fixture
def opening(monkeypatch: pytest.MonkeyPatch) -> Opening:
    opening = Opening()
    monkeypatch.setattr(parts_module, "open_parts", opening)
    return opening


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def late(clock: FakeClock) -> LateParts:
    return LateParts(Settings.model_validate({}), engine_name="fake", clock=clock)


def failure_of(late: LateParts) -> JobStoreUnavailable:
    with pytest.raises(JobStoreUnavailable) as caught:
        late()
    return caught.value


def test_a_failure_is_good_for_a_while_and_then_the_next_one_tries(
    late: LateParts, opening: Opening, clock: FakeClock
) -> None:
    first, second = failure_of(late), failure_of(late)
    tries = opening.begun
    clock.now_s += FAILURE_GOOD_S
    failure_of(late)

    assert (second.detail, second.retry_after_s) == (first.detail, 5.0)
    assert (tries, opening.begun) == (1, 2)
    assert not late.are_open


def test_who_waited_meanwhile_gets_the_same_answer(late: LateParts, opening: Opening) -> None:
    opening.may_end.clear()
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(failure_of, late) for _ in range(8)]
        assert opening.has_begun.wait(LIMIT_S)
        opening.may_end.set()
        for each in waiting:
            each.result(LIMIT_S)

    assert opening.begun == 1


def test_a_recent_failure_is_told_although_somebody_has_the_lock(late: LateParts, opening: Opening) -> None:
    failure_of(late)

    with ThreadPoolExecutor(1) as pool, late._opening:
        told: Future[JobStoreUnavailable] = pool.submit(failure_of, late)
        assert told.result(LIMIT_S / 3).detail == "The job database cannot be reached."


def test_few_requests_wait_for_the_opening_and_an_executor_is_not_refused(
    late: LateParts, opening: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(late._gate, "_patience_s", 0.0)
    opening.may_end.clear()
    refused = threading.Semaphore(0)

    def request() -> str:
        with pytest.raises(JobStoreUnavailable) as caught:
            late.jobs()
        if caught.value.detail == "Too many requests wait for the job database.":
            refused.release()
        return caught.value.detail or ""

    with ThreadPoolExecutor(PLACES + 4) as pool:
        requests = [pool.submit(request) for _ in range(PLACES + 3)]
        were_refused = [refused.acquire(timeout=LIMIT_S / 3) for _ in range(3)]
        executor = pool.submit(failure_of, late)
        opening.may_end.set()
        details = [each.result(LIMIT_S) for each in requests]

    assert were_refused == [True] * 3, "they wait with all the others"
    assert details.count("The job database cannot be reached.") == PLACES
    assert executor.result().detail == "The job database cannot be reached."
