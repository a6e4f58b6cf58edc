"""Attempts, deadlines and waits, on a clock that moves only when somebody sleeps."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from fakes import FakeClock

from app.errors import Cancelled, EngineError, PromptRefused, UpstreamError, UpstreamTimeout, UpstreamUnavailable
from app.retry import (
    CANCEL_NOTICED_S,
    JITTER,
    MOST_REPEATS_SAVED,
    SHORTEST_ATTEMPT_S,
    Deadline,
    FailedAttempt,
    RetryBudget,
    RetryPolicy,
    retry_after_s,
    run_attempts,
)

POLICY = RetryPolicy(attempts=3, timeout_s=60.0, backoff_s=2.0)


class Runner:
    """Runs attempts that come to the given outcomes, and remembers what was told."""

    def __init__(self, *outcomes: str | BaseException, takes_s: float = 0.0) -> None:
        self.clock = FakeClock()
        self.failed: list[FailedAttempt] = []
        self.limits_s: list[float] = []
        self._outcomes = list(outcomes)
        self._takes_s = takes_s

    def attempt(self, number: int, deadline: Deadline) -> str:
        assert number == len(self.limits_s) + 1
        self.limits_s.append(deadline.remaining_s())
        self.clock.now_s += self._takes_s
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def run(
        self,
        policy: RetryPolicy = POLICY,
        *,
        deadline_s: float = 125.0,
        jitter: Callable[[], float] = lambda: 0.0,
        may_repeat: Callable[[], bool] = lambda: True,
    ) -> str:
        return run_attempts(
            self.attempt,
            policy=policy,
            deadline=Deadline.after(deadline_s, clock=self.clock),
            on_failure=self.failed.append,
            may_repeat=may_repeat,
            sleep=self.clock.sleep,
            jitter=jitter,
        )


# ---------------------------------------------------------------------- deadlines


def test_a_deadline_runs_out() -> None:
    clock = FakeClock()
    deadline = Deadline.after(10, clock=clock)

    assert (deadline.remaining_s(), deadline.expired) == (10, False)
    clock.sleep(9)
    assert (deadline.remaining_s(), deadline.expired) == (1, False)
    clock.sleep(1)
    assert (deadline.remaining_s(), deadline.expired) == (0, True)
    clock.sleep(1)
    assert (deadline.remaining_s(), deadline.expired) == (0, True)


def test_a_deadline_within_another_is_never_later() -> None:
    deadline = Deadline.after(10, clock=FakeClock())

    assert deadline.within(4).remaining_s() == 4
    assert deadline.within(40).remaining_s() == 10


def test_a_cancelled_deadline_has_run_out() -> None:
    event = threading.Event()
    deadline = Deadline.after(10, clock=FakeClock(), cancelled=event)
    inner = deadline.within(4)

    assert (inner.remaining_s(), inner.expired, inner.is_cancelled) == (4, False, False)
    event.set()
    for each in (deadline, inner, deadline.within(4)):
        assert (each.remaining_s(), each.expired, each.is_cancelled) == (0, True, True)


def test_a_wait_that_nobody_can_cancel_is_made_in_one_piece() -> None:
    clock = FakeClock()
    deadline = Deadline.after(10, clock=clock)

    for timeout_s in (4, math.inf, 4):
        for wait_s in deadline.waits_s(timeout_s):
            clock.sleep(wait_s)

    assert clock.sleeps_s == [4, 6]


def test_a_wait_that_can_be_cancelled_is_made_in_pieces() -> None:
    clock, event = FakeClock(), threading.Event()
    deadline = Deadline.after(10, clock=clock, cancelled=event)

    waits_s = deadline.waits_s(1)
    for _ in range(3):
        wait_s = next(waits_s)
        assert wait_s == CANCEL_NOTICED_S
        clock.sleep(wait_s)
    event.set()

    assert list(waits_s) == []


def test_who_can_wait_no_longer_says_why() -> None:
    event = threading.Event()
    deadline = Deadline.after(10, clock=FakeClock(), cancelled=event)

    error = deadline.error("No answer.", log_text="silence")
    assert (type(error), error.detail, error.log_text) == (UpstreamTimeout, "No answer.", "silence")
    event.set()
    error = deadline.error("No answer.", log_text="silence")
    assert (type(error), error.detail, error.log_text, error.repeat) == (Cancelled, "", "silence", False)


# ---------------------------------------------------------------------- attempts


def test_success_needs_one_attempt() -> None:
    runner = Runner("music")

    assert runner.run() == "music"
    assert runner.failed == []
    assert runner.clock.sleeps_s == []


def test_a_failure_worth_repeating_is_repeated_after_the_backoff() -> None:
    runner = Runner(UpstreamError("one"), UpstreamError("two"), "music")

    assert runner.run() == "music"
    assert runner.clock.sleeps_s == [2.0, 2.0]
    assert [(each.number, each.next_wait_s) for each in runner.failed] == [(1, 2.0), (2, 2.0)]


def test_the_backoff_is_lengthened_by_the_jitter() -> None:
    runner = Runner(UpstreamError(), "music")

    runner.run(jitter=lambda: 1.0)

    assert runner.clock.sleeps_s == [2.0 * (1 + JITTER)]


def test_the_last_error_goes_out_and_says_how_many_attempts_there_were() -> None:
    last = UpstreamTimeout("three")
    runner = Runner(UpstreamError("one"), UpstreamError("two"), last, takes_s=1.5)

    with pytest.raises(UpstreamTimeout) as raised:
        runner.run()

    assert raised.value is last
    assert last.attempts == 3
    assert [(each.number, each.next_wait_s) for each in runner.failed] == [(1, 2.0), (2, 2.0), (3, None)]
    assert [each.elapsed_s for each in runner.failed] == [1.5, 1.5, 1.5]


@pytest.mark.parametrize("error", [PromptRefused("no"), UpstreamError("no", repeat=False)])
def test_a_failure_not_worth_repeating_goes_out_at_once(error: EngineError) -> None:
    runner = Runner(error)

    with pytest.raises(type(error)):
        runner.run()

    assert error.attempts == 1
    assert runner.failed == [FailedAttempt(1, error, 0.0, None)]
    assert runner.clock.sleeps_s == []


def test_one_attempt_may_be_all_there_is() -> None:
    runner = Runner(UpstreamError())

    with pytest.raises(UpstreamError):
        runner.run(RetryPolicy(attempts=1, timeout_s=60, backoff_s=2))

    assert runner.clock.sleeps_s == []


def test_the_same_error_object_may_be_raised_again() -> None:
    """An engine may keep one; its last failure must be told all the same."""
    error = PromptRefused("no")
    for _ in range(2):
        runner = Runner(error)
        with pytest.raises(PromptRefused):
            runner.run()
        assert len(runner.failed) == 1


def test_what_is_no_engine_error_passes_through_untold() -> None:
    runner = Runner(ZeroDivisionError())

    with pytest.raises(ZeroDivisionError):
        runner.run()

    assert runner.failed == []


def test_each_attempt_has_its_own_limit_within_the_deadline() -> None:
    runner = Runner(UpstreamTimeout(), UpstreamTimeout(), takes_s=60)

    with pytest.raises(UpstreamTimeout):
        runner.run(RetryPolicy(attempts=2, timeout_s=60, backoff_s=2), deadline_s=100)

    assert runner.limits_s == [60, 38]


def test_no_wait_is_started_that_leaves_too_little_for_an_attempt() -> None:
    runner = Runner(UpstreamTimeout("one"), takes_s=60)

    with pytest.raises(UpstreamTimeout) as raised:
        runner.run(deadline_s=60 + 2 + SHORTEST_ATTEMPT_S - 0.01)

    assert raised.value.attempts == 1
    assert runner.clock.sleeps_s == []


def test_a_wait_the_upstream_asks_for_is_obeyed_when_it_fits() -> None:
    runner = Runner(UpstreamUnavailable(retry_after_s=20), "music")

    assert runner.run() == "music"
    assert runner.clock.sleeps_s == [20]


def test_a_wait_shorter_than_the_backoff_does_not_shorten_it() -> None:
    runner = Runner(UpstreamUnavailable(retry_after_s=0.1), "music")

    runner.run()

    assert runner.clock.sleeps_s == [2.0]


def test_a_wait_that_does_not_fit_sends_the_error_out_at_once() -> None:
    error = UpstreamUnavailable(retry_after_s=300)
    runner = Runner(error)

    with pytest.raises(UpstreamUnavailable):
        runner.run()

    assert runner.clock.sleeps_s == []
    assert error.retry_after_s == 300
    assert error.attempts == 1


def test_cancelling_ends_a_wait_between_attempts() -> None:
    event, failed, clock = threading.Event(), list[FailedAttempt](), FakeClock()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if len(clock.sleeps_s) == 3:
            event.set()

    def attempt(number: int, deadline: Deadline) -> str:
        assert number == 1
        raise UpstreamError

    with pytest.raises(Cancelled) as raised:
        run_attempts(
            attempt,
            policy=POLICY,
            deadline=Deadline.after(125.0, clock=clock, cancelled=event),
            on_failure=failed.append,
            sleep=sleep,
            jitter=lambda: 0.0,
        )

    assert sum(clock.sleeps_s) < POLICY.backoff_s
    assert raised.value.attempts == 1
    assert [each.next_wait_s for each in failed] == [2.0]


def test_an_attempt_that_was_cancelled_is_not_repeated_and_no_failure() -> None:
    runner = Runner(Cancelled())

    with pytest.raises(Cancelled):
        runner.run()

    assert runner.failed == []


def test_what_may_not_be_repeated_goes_out_at_once() -> None:
    runner = Runner(UpstreamError("one"))

    with pytest.raises(UpstreamError) as raised:
        runner.run(may_repeat=lambda: False)

    assert raised.value.attempts == 1
    assert [each.next_wait_s for each in runner.failed] == [None]
    assert runner.clock.sleeps_s == []


@pytest.mark.parametrize(
    ("outcomes", "deadline_s", "asked"),
    [
        pytest.param(["music"], 125, 0, id="success"),
        pytest.param([PromptRefused("no")], 125, 0, id="not worth repeating"),
        pytest.param([UpstreamError(), UpstreamError(), UpstreamError()], 125, 2, id="no attempt left"),
        pytest.param([UpstreamError()], 2, 0, id="no time left"),
        pytest.param([UpstreamError(), "music"], 125, 1, id="one repeat"),
    ],
)
def test_a_repeat_is_asked_for_once_and_only_when_it_would_be_made(
    outcomes: list[str | BaseException], deadline_s: float, asked: int
) -> None:
    """Whoever grants it may have paid for it."""
    grants: list[bool] = []

    def may_repeat() -> bool:
        grants.append(True)
        return True

    with contextlib.suppress(EngineError):
        Runner(*outcomes).run(deadline_s=deadline_s, may_repeat=may_repeat)

    assert len(grants) == asked


@pytest.mark.parametrize("made", [0, 1])
def test_an_attempt_for_which_nobody_was_asked_is_none(made: int) -> None:
    refusal = UpstreamUnavailable("known to be down", repeat=False)
    refusal.attempts = 0
    runner = Runner(*[UpstreamError()] * made, refusal)

    with pytest.raises(UpstreamUnavailable):
        runner.run()

    assert refusal.attempts == made


# ---------------------------------------------------------------------- the budget


def test_a_budget_lets_the_first_failures_be_repeated() -> None:
    budget = RetryBudget()

    assert [budget.take() for _ in range(12)] == [True] * int(MOST_REPEATS_SAVED) + [False] * 2


def test_in_a_full_outage_there_is_one_repeat_for_ten_requests() -> None:
    budget = RetryBudget()

    calls = 0
    for _ in range(1_000):
        budget.pay_in()
        calls += 1
        while budget.take():
            calls += 1

    assert 1_050 < calls <= 1_100


def test_good_times_are_not_saved_up_for_an_outage() -> None:
    budget = RetryBudget()
    for _ in range(1_000_000):
        budget.pay_in()

    repeats = 0
    for _ in range(1_000):
        budget.pay_in()
        repeats += budget.take()

    assert repeats <= 100
    assert budget.tokens < 1


def test_as_long_as_failures_are_few_each_is_repeated() -> None:
    budget = RetryBudget()

    repeats = 0
    for number in range(10_000):
        budget.pay_in()
        if number % 12 == 0:
            repeats += budget.take()

    assert repeats == len(range(0, 10_000, 12))


def test_threads_share_one_budget() -> None:
    budget = RetryBudget(share=0.0, capacity=100)

    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(lambda _: budget.take(), range(400)))

    assert sum(taken) == 100
    assert budget.tokens == 0


# ---------------------------------------------------------------------- Retry-After

NOW = datetime(2026, 8, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({}, None),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "120"}, 120.0),
        ({"Retry-After": " 120 "}, 120.0),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "1e3"}, None),
        ({"Retry-After": "9" * 30}, None),
        ({"Retry-After": "Sat, 01 Aug 2026 12:00:30 GMT"}, 30.0),
        ({"Retry-After": "Sat, 01 Aug 2026 12:00:30"}, 30.0),
        ({"Retry-After": "Sat, 01 Aug 2026 14:00:30 +0200"}, 30.0),
        ({"Retry-After": "Sat, 01 Aug 2026 11:00:00 GMT"}, 0.0),
        ({"RateLimit": '"api";r=0;t=55'}, 55.0),
        ({"RateLimit": '"api"; r = 0; t = 55'}, 55.0),
        ({"RateLimit": '"api";r=3;t=55'}, None),
        ({"RateLimit": '"api";r=0'}, None),
        ({"RateLimit": "nonsense"}, None),
        ({"Retry-After": "7", "RateLimit": '"api";r=0;t=55'}, 7.0),
    ],
)
def test_headers_say_how_long_to_wait(headers: Mapping[str, str], wait_s: float | None) -> None:
    assert retry_after_s(headers, now=NOW) == wait_s


def test_a_date_counts_from_now() -> None:
    assert retry_after_s({"Retry-After": "Mon, 01 Jan 2001 00:00:00 GMT"}) == 0.0
