"""An upstream that is down: what it still gets of a thousand requests, and how soon those are answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from fakes import FakeClock, FakeEngine
from structlog.testing import capture_logs

from app.breaker import Breaker, Limits, Local
from app.engines.engine import Brief
from app.errors import EngineError, UpstreamError, UpstreamTimeout, UpstreamUnavailable
from app.retry import Deadline, RetryBudget
from app.studio import Studio

BRIEF = Brief("rain", 10.0, seed=7)
REQUESTS = 1_000
LIMITS = Limits(failures=5, open_s=15.0)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Draw no tracebacks: a thousand take longer than everything else."""
    with capture_logs():
        yield


class Outage:
    """A studio whose engine fails, each attempt taking some time; requests come at intervals."""

    def __init__(
        self, error: type[EngineError], *, takes_s: float = 0.0, with_breaker: bool = True, attempts: int = 2
    ) -> None:
        self.clock = FakeClock()
        self.is_over = False
        self.engine = FakeEngine(attempts=attempts, backoff_s=2.0, while_working=self._fail)
        self._error = error
        self._takes_s = takes_s
        self.budget = RetryBudget()
        breaker = Breaker("fake", limits=LIMITS, kept=Local(self.clock))
        self.studio = Studio(
            [self.engine],
            max_active=64,
            breakers={"fake": breaker} if with_breaker else {},
            budget=self.budget,
            sleep=self.clock.sleep,
        )

    def _fail(self) -> None:
        self.clock.now_s += self._takes_s
        if not self.is_over:
            raise self._error

    @property
    def calls(self) -> int:
        return len(self.engine.briefs)

    def ask(self) -> EngineError | None:
        try:
            self.studio.generate(BRIEF, deadline=Deadline.after(125, clock=self.clock))
        except EngineError as error:
            return error
        return None


@pytest.mark.parametrize("attempts", [2, 10])
@pytest.mark.parametrize(
    ("error", "takes_s"),
    [
        pytest.param(UpstreamUnavailable, 0.0, id="nobody listens"),
        pytest.param(UpstreamTimeout, 60.0, id="nobody answers"),
        pytest.param(UpstreamError, 1.0, id="it fails"),
    ],
)
def test_in_a_full_outage_the_budget_alone_bounds_the_calls(
    error: type[EngineError], takes_s: float, attempts: int
) -> None:
    """That is what holds while failures and a few answers take turns, which a breaker does not see."""
    outage = Outage(error, takes_s=takes_s, with_breaker=False, attempts=attempts)

    for _ in range(REQUESTS):
        assert outage.ask() is not None

    assert REQUESTS < outage.calls <= 1.1 * REQUESTS


@pytest.mark.parametrize("every_s", [0.0, 0.01, 1.0, 10.0, 60.0])
def test_in_a_full_outage_hardly_any_request_reaches_the_upstream(every_s: float) -> None:
    outage = Outage(UpstreamUnavailable)

    for _ in range(REQUESTS):
        assert outage.ask() is not None
        outage.clock.now_s += every_s

    assert outage.calls <= 1.1 * REQUESTS
    # Once it is open there is one probe in a while, and those are never repeated.
    probes = outage.calls - LIMITS.failures
    assert probes <= 4 + REQUESTS * every_s / 60
    assert outage.calls < REQUESTS or every_s >= 60


def test_once_the_breaker_is_open_each_answer_comes_within_50_ms() -> None:
    outage = Outage(UpstreamUnavailable)
    while outage.studio.breakers["fake"] == "closed":
        outage.ask()

    took_s, slept = [], len(outage.clock.sleeps_s)
    for _ in range(REQUESTS):
        started_s = time.perf_counter()
        error = outage.ask()
        took_s.append(time.perf_counter() - started_s)
        outage.clock.now_s += 1.0  # so that there are probes among them
        assert isinstance(error, UpstreamUnavailable)
        assert error.retry_after_s

    # The longest of a thousand is the machine's matter as well; nobody slept on any of them.
    assert sorted(took_s)[REQUESTS * 99 // 100] < 0.05
    assert [each for each in outage.clock.sleeps_s[slept:] if each] == []
    assert LIMITS.failures < outage.calls < 25


def test_a_failure_that_opens_the_breaker_is_not_repeated_and_costs_no_token() -> None:
    outage = Outage(UpstreamError)
    outage.ask()
    outage.ask()
    tokens, slept = outage.budget.tokens, len(outage.clock.sleeps_s)

    error = outage.ask()

    assert isinstance(error, UpstreamError)
    assert (error.attempts, error.retry_after_s) == (1, LIMITS.open_s)
    assert outage.studio.breakers == {"fake": "open"}
    assert outage.budget.tokens > tokens
    assert [each for each in outage.clock.sleeps_s[slept:] if each] == []


def test_when_the_upstream_is_back_one_probe_finds_out_and_everything_goes_on() -> None:
    outage = Outage(UpstreamUnavailable)
    while outage.studio.breakers["fake"] == "closed":
        outage.ask()
    outage.is_over = True
    assert outage.ask() is not None
    outage.clock.now_s += LIMITS.open_s

    assert [outage.ask() for _ in range(10)] == [None] * 10
    assert outage.studio.breakers == {"fake": "closed"}


def test_a_spent_budget_is_told_in_the_log() -> None:
    outage = Outage(UpstreamError, with_breaker=False)
    while outage.budget.take():
        pass

    with capture_logs() as lines:
        error = outage.ask()

    assert error is not None
    assert error.attempts == 1
    assert [(line["event"], line.get("reason")) for line in lines if line["event"] != "attempt failed"] == [
        ("not repeated", "the retry budget is spent")
    ]


def test_refusals_do_not_fill_the_log_with_tracebacks() -> None:
    outage = Outage(UpstreamError)
    while outage.studio.breakers["fake"] == "closed":
        outage.ask()

    with capture_logs() as lines:
        error = outage.ask()

    assert error is not None
    assert error.attempts == 0
    assert [(line["event"], line["log_level"]) for line in lines] == [("attempt refused", "info")]
    assert "exc_info" not in lines[0]


def test_a_repeat_that_the_breaker_refuses_is_not_counted_as_an_attempt() -> None:
    """Another process, or another thread, has opened it while this request waited for its second attempt."""
    outage = Outage(UpstreamError)
    asked: list[int] = []
    wait: Callable[[float], None] = outage.clock.sleep

    def sleep(seconds: float) -> None:
        wait(seconds)
        if not asked:
            asked.append(1)
            for _ in range(3):
                outage.ask()

    outage.studio._sleep = sleep
    error = outage.ask()

    assert isinstance(error, UpstreamUnavailable)
    assert error.attempts == 1
