"""Breakers: who may ask an upstream that is down, on a clock that only the test moves."""

from __future__ import annotations

import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import msgspec
import pytest
from fakes import FakeClock
from structlog.testing import capture_logs

from app.breaker import (
    _LOOK,
    FRESH_S,
    LONGEST_OPEN_S,
    LONGEST_PROBE_S,
    PROBE_GRACE_S,
    REACH_AGAIN_S,
    REDIS_TIMEOUT_S,
    WAIT_FOR_PROBE_S,
    WARN_AGAIN_S,
    Breaker,
    Kept,
    Limits,
    Local,
    Scripts,
    Shared,
    State,
    is_refusal,
)
from app.errors import (
    Cancelled,
    EngineNotConfigured,
    PromptRefused,
    UpstreamBadResponse,
    UpstreamError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)

LIMITS = Limits(failures=3, open_s=15.0)
TIMEOUT_S = 60.0

DOWN = [UpstreamUnavailable(), UpstreamTimeout(), UpstreamError()]
ANSWERS = [PromptRefused(), UpstreamRejected(), UpstreamBadResponse()]
RAISED_BY_MODEL = UpstreamError()
RAISED_BY_MODEL.raised_by_model = True
NOTHING = [Cancelled(), EngineNotConfigured(), ZeroDivisionError(), KeyboardInterrupt(), RAISED_BY_MODEL]


class Upstream:
    """What is asked through a breaker, and how often it was."""

    def __init__(self, clock: FakeClock | None = None, *, limits: Limits = LIMITS, kept: Kept | None = None) -> None:
        self.clock = clock or FakeClock()
        self.breaker = Breaker("upstream", limits=limits, kept=kept or Local(self.clock))
        self.calls = 0

    def ask(self, outcome: BaseException | None = None, *, timeout_s: float = TIMEOUT_S) -> BaseException | None:
        """Make one attempt that comes to this; return what it raised."""
        try:
            with self.breaker.attempt(timeout_s):
                self.calls += 1
                if outcome is not None:
                    raise outcome
        except BaseException as error:  # noqa: BLE001
            return error
        return None

    def fail(self, times: int = 1) -> None:
        for _ in range(times):
            assert isinstance(self.ask(UpstreamError()), UpstreamError)

    def is_refused(self) -> bool:
        calls, error = self.calls, self.ask()
        assert (error is not None) == (self.calls == calls)
        return error is not None

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Stand in the middle of a probe."""
        self.fail(LIMITS.failures)
        self.clock.now_s += LIMITS.open_s
        with self.breaker.attempt(TIMEOUT_S):
            yield


# ---------------------------------------------------------------------- opening


@pytest.mark.parametrize("error", DOWN, ids=lambda error: error.code())
def test_failures_in_a_row_open_it(error: UpstreamError) -> None:
    upstream = Upstream()

    raised = [upstream.ask(type(error)()) for _ in range(LIMITS.failures)]

    assert [type(each) for each in raised] == [type(error)] * LIMITS.failures
    assert upstream.breaker.outlook().phase == "open"
    assert upstream.is_refused()


@pytest.mark.parametrize("answer", [None, *ANSWERS], ids=str)
def test_whoever_answers_is_not_down(answer: BaseException | None) -> None:
    upstream = Upstream()

    for _ in range(10):
        upstream.fail(LIMITS.failures - 1)
        assert upstream.ask(answer) is answer

    assert upstream.breaker.outlook().phase == "closed"


@pytest.mark.parametrize("nothing", NOTHING, ids=lambda error: type(error).__name__)
def test_what_says_nothing_about_the_upstream_counts_as_nothing(nothing: BaseException) -> None:
    upstream = Upstream()
    for _ in range(10):
        assert upstream.ask(nothing) is nothing
    assert upstream.breaker.outlook().phase == "closed"

    upstream.fail(LIMITS.failures - 1)
    upstream.ask(nothing)
    upstream.fail()

    assert upstream.breaker.outlook().phase == "open"


def test_one_failure_may_be_enough() -> None:
    upstream = Upstream(limits=Limits(failures=1, open_s=2.0))

    upstream.fail()

    assert upstream.is_refused()


# ---------------------------------------------------------------------- open


def test_while_it_is_open_callers_are_told_when_to_come_back() -> None:
    upstream = Upstream()
    upstream.fail(LIMITS.failures)
    upstream.clock.now_s += 4

    error = upstream.ask()

    assert isinstance(error, UpstreamUnavailable)
    assert "is known to be down" in error.detail
    assert error.retry_after_s == LIMITS.open_s - 4
    assert (error.repeat, error.attempts) == (False, 0)
    assert is_refusal(error)
    assert upstream.calls == LIMITS.failures


def test_an_error_of_the_upstream_itself_is_no_refusal() -> None:
    upstream = Upstream()

    assert [is_refusal(each) for each in (UpstreamUnavailable(), upstream.ask(UpstreamError()))] == [False, False]  # type: ignore[arg-type]


def test_a_refusal_takes_microseconds() -> None:
    upstream = Upstream()
    upstream.fail(LIMITS.failures)

    took_s = []
    for _ in range(1_000):
        started_s = time.perf_counter()
        upstream.ask()
        took_s.append(time.perf_counter() - started_s)

    assert statistics.median(took_s) < 0.0005  # a busy machine may interrupt some of them
    assert upstream.calls == LIMITS.failures


def test_the_failure_that_opens_it_is_told_for_how_long() -> None:
    upstream = Upstream()
    upstream.fail(LIMITS.failures - 1)

    error = upstream.ask(UpstreamError())

    assert isinstance(error, UpstreamError)
    assert error.retry_after_s == LIMITS.open_s


def test_each_probe_that_fails_keeps_it_open_for_longer_up_to_a_limit() -> None:
    upstream = Upstream()
    upstream.fail(LIMITS.failures)

    waits_s = []
    for _ in range(1_200):
        waits_s.append(upstream.breaker.outlook().blocked_s)
        upstream.clock.now_s += waits_s[-1]
        upstream.fail()

    assert waits_s[:5] == pytest.approx([15, 30, 60, LONGEST_OPEN_S, LONGEST_OPEN_S])
    assert upstream.calls == LIMITS.failures + 1_200


@pytest.mark.parametrize(("asked_s", "open_s"), [(5, LIMITS.open_s), (42, 42), (5_025, LONGEST_OPEN_S)])
def test_a_wait_that_the_upstream_asks_for_is_kept_within_limits(asked_s: float, open_s: float) -> None:
    """A quota that is used up for an hour must not keep us from seeing that somebody has bought more."""
    upstream = Upstream()
    upstream.fail(LIMITS.failures - 1)

    error = upstream.ask(UpstreamUnavailable(retry_after_s=asked_s))

    assert upstream.breaker.outlook().blocked_s == open_s
    assert isinstance(error, UpstreamUnavailable)
    assert error.retry_after_s == max(asked_s, open_s)


# ---------------------------------------------------------------------- the probe


@pytest.mark.parametrize("answer", [None, *ANSWERS], ids=str)
def test_a_probe_that_is_answered_closes_it(answer: BaseException | None) -> None:
    upstream = Upstream()
    upstream.fail(LIMITS.failures)
    upstream.clock.now_s += LIMITS.open_s
    assert upstream.breaker.outlook().phase == "half-open"

    upstream.ask(answer)

    assert upstream.breaker.outlook().phase == "closed"
    upstream.fail(LIMITS.failures - 1)
    assert not upstream.is_refused()


def test_after_it_was_closed_it_opens_for_as_short_as_at_first() -> None:
    upstream = Upstream()
    upstream.fail(LIMITS.failures)
    for _ in range(3):
        upstream.clock.now_s += LONGEST_OPEN_S
        upstream.fail()
    upstream.clock.now_s += LONGEST_OPEN_S
    upstream.ask()

    upstream.fail(LIMITS.failures)

    assert upstream.breaker.outlook().blocked_s == LIMITS.open_s


def test_while_a_probe_is_under_way_all_others_are_refused() -> None:
    upstream = Upstream()

    with upstream.opened():
        assert upstream.breaker.outlook().phase == "half-open"
        error = upstream.ask()
        upstream.clock.now_s += TIMEOUT_S
        assert upstream.is_refused()

    assert isinstance(error, UpstreamUnavailable)
    assert error.retry_after_s == WAIT_FOR_PROBE_S
    assert not upstream.is_refused()


def test_of_fifty_threads_exactly_one_is_the_probe() -> None:
    for _ in range(20):
        upstream = Upstream()
        upstream.fail(LIMITS.failures)
        upstream.clock.now_s += LIMITS.open_s
        start, release = threading.Barrier(50), threading.Event()
        refused = threading.Semaphore(0)

        def ask(
            upstream: Upstream = upstream,
            start: threading.Barrier = start,
            release: threading.Event = release,
            refused: threading.Semaphore = refused,
        ) -> bool:
            start.wait()
            try:
                with upstream.breaker.attempt(TIMEOUT_S):
                    return release.wait(10)
            except UpstreamUnavailable:
                refused.release()
                return False

        with ThreadPoolExecutor(50) as threads:
            asked = [threads.submit(ask) for _ in range(50)]
            for _ in range(49):
                assert refused.acquire(timeout=10)
            release.set()

            assert sum(each.result() for each in asked) == 1
        assert upstream.breaker.outlook().phase == "closed"


@pytest.mark.parametrize("nothing", NOTHING, ids=lambda error: type(error).__name__)
def test_a_probe_that_ends_without_news_lets_the_next_one_through(nothing: BaseException) -> None:
    upstream = Upstream()

    with suppress(type(nothing)), upstream.opened():
        raise nothing

    assert upstream.breaker.outlook().phase == "half-open"
    assert not upstream.is_refused()
    assert upstream.breaker.outlook().phase == "closed"


@pytest.mark.parametrize(
    ("timeout_s", "given_up_after_s"),
    [(10.0, 10.0 + PROBE_GRACE_S), (3_600.0, LONGEST_PROBE_S)],
    ids=["by its time limit", "by ours"],
)
def test_a_probe_that_never_comes_back_is_given_up(timeout_s: float, given_up_after_s: float) -> None:
    upstream = Upstream()
    upstream.fail(LIMITS.failures)
    upstream.clock.now_s += LIMITS.open_s
    lost = upstream.breaker.attempt(timeout_s)
    lost.__enter__()

    upstream.clock.now_s += given_up_after_s - 0.1
    assert upstream.is_refused()
    upstream.clock.now_s += 0.2

    assert not upstream.is_refused()


@pytest.mark.parametrize("outcome", [None, UpstreamError()], ids=["answer", "failure"])
def test_a_probe_that_was_given_up_is_heard_all_the_same(outcome: UpstreamError | None) -> None:
    """Were it not, an upstream that is slower than we wait for the news of a probe would never be let in again."""
    upstream = Upstream()
    upstream.fail(LIMITS.failures)
    upstream.clock.now_s += LIMITS.open_s
    with suppress(UpstreamError), upstream.breaker.attempt(3_600):
        upstream.clock.now_s += LONGEST_PROBE_S
        with upstream.breaker.attempt(3_600):
            assert upstream.is_refused()
            if outcome:
                raise outcome

    assert upstream.breaker.outlook().phase == ("open" if outcome else "closed")


# ---------------------------------------------------------------------- late news


@pytest.mark.parametrize("outcome", [None, UpstreamError()], ids=["answer", "failure"])
def test_what_comes_of_attempts_from_before_it_opened_is_no_news(outcome: UpstreamError | None) -> None:
    upstream = Upstream()
    with suppress(UpstreamError), upstream.breaker.attempt(TIMEOUT_S):
        upstream.fail(LIMITS.failures)
        before = upstream.breaker.outlook()
        if outcome:
            raise outcome

    assert upstream.breaker.outlook() == before


def test_attempts_that_hung_through_an_outage_do_not_open_it_again() -> None:
    """The upstream hangs, dozens wait for it; when it is back, their timeouts trickle in one after the other."""
    upstream = Upstream()
    hanging = [upstream.breaker.attempt(TIMEOUT_S) for _ in range(20)]
    for each in hanging:
        each.__enter__()
    upstream.fail(LIMITS.failures)
    upstream.clock.now_s += LIMITS.open_s
    assert upstream.ask() is None

    for each in hanging:
        with suppress(UpstreamTimeout):
            each.__exit__(UpstreamTimeout, UpstreamTimeout(), None)

    assert upstream.breaker.outlook().phase == "closed"
    assert not upstream.is_refused()


# ---------------------------------------------------------------------- the log


def test_the_log_tells_of_each_change_and_nothing_else() -> None:
    upstream = Upstream()

    with capture_logs() as lines:
        upstream.ask()
        upstream.fail(LIMITS.failures)
        for _ in range(5):
            upstream.ask()
        upstream.clock.now_s += LIMITS.open_s
        upstream.fail()
        upstream.clock.now_s += 2 * LIMITS.open_s
        upstream.ask()

    assert [(line["event"], line.get("open_s")) for line in lines] == [
        ("breaker opened", 15.0),
        ("breaker lets a probe through", None),
        ("breaker opened", 30.0),
        ("breaker lets a probe through", None),
        ("breaker closed", None),
    ]


# ---------------------------------------------------------------------- without Redis


def nowhere() -> str:
    """Return the address of a Redis that is not there."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"redis://:a-password@127.0.0.1:{probe.getsockname()[1]}/0"


def test_without_redis_a_process_goes_on_alone_and_warns_once_a_minute() -> None:
    clock = FakeClock()
    with capture_logs() as lines:
        shared = Shared(nowhere(), "x", clock=clock)
        breaker = Breaker("upstream", limits=LIMITS, kept=shared)
        shared._reaching.result(10)
        for _ in range(LIMITS.failures):
            with pytest.raises(UpstreamError), breaker.attempt(TIMEOUT_S):
                raise UpstreamError
        with pytest.raises(UpstreamUnavailable), breaker.attempt(TIMEOUT_S):
            pass
        for _ in range(11):
            clock.now_s += REACH_AGAIN_S
            breaker.outlook()
            shared._reaching.result(10)
        warnings = [line for line in lines if "redis" in line["event"]]
        assert len(warnings) == 1
        clock.now_s += WARN_AGAIN_S
        breaker.outlook()
        shared._reaching.result(10)
        warnings = [line for line in lines if "redis" in line["event"]]
        assert len(warnings) == 2

    assert shared._client is None
    assert "a-password" not in str(lines)
    with breaker.attempt(TIMEOUT_S):
        pass
    assert breaker.outlook().phase == "closed"


def test_a_redis_that_is_away_is_not_asked_for_by_every_request() -> None:
    clock = FakeClock()
    shared = Shared(nowhere(), "x", clock=clock)
    shared._reaching.result(10)
    first = shared._reaching

    for _ in range(100):
        clock.now_s += REACH_AGAIN_S / 1_000
        shared.change(lambda state, _: state)
    assert shared._reaching is first
    clock.now_s += REACH_AGAIN_S
    shared.change(lambda state, _: state)

    assert shared._reaching is not first


# ---------------------------------------------------------------------- with Redis


class FakeRedis:
    """One value, a clock that goes differently from everybody's, and the two scripts.

    Attributes:
        known: The value.
        asked: How many scripts were run.
    """

    def __init__(self, clock: FakeClock, *, first: Callable[[str], object] = lambda _: None) -> None:
        """
        Args:
            clock: That of the test.
            first: Called with each script before it is run.
        """
        self.known = ""
        self.asked = 0
        self._clock = clock
        self._first = first

    def eval(self, script: str, numkeys: int, /, *keys_and_args: str) -> object:
        self.asked += 1
        self._first(script)
        if script == _LOOK:
            seconds, fraction = divmod(self._clock.now_s + 1_700_000_000, 1)
            return [self.known, str(int(seconds)), str(int(fraction * 1e6))]
        _, expected, value, _ = keys_and_args
        if self.known != expected:
            return 0
        self.known = value
        return 1


def shared_in(redis: Scripts, clock: FakeClock) -> Shared:
    shared = Shared("redis://…", "x", clock=clock, connect=lambda _: redis)
    shared._reaching.result(10)
    return shared


def test_what_one_process_finds_out_another_knows() -> None:
    clock = FakeClock()
    redis = FakeRedis(clock)
    one, other = (Upstream(clock, kept=shared_in(redis, clock)) for _ in range(2))

    one.fail()
    other.fail()
    one.fail()
    clock.now_s += FRESH_S

    assert one.is_refused()
    assert other.is_refused()
    assert other.breaker.outlook().blocked_s == pytest.approx(LIMITS.open_s - FRESH_S, abs=0.001)
    clock.now_s += LIMITS.open_s
    with one.breaker.attempt(TIMEOUT_S):
        assert other.is_refused()
    clock.now_s += FRESH_S
    assert not other.is_refused()


def test_a_prompt_that_crashes_the_model_keeps_nobody_out() -> None:
    """Nor does it when it comes as the probe, again and again."""
    upstream = Upstream()
    for _ in range(100):
        assert upstream.ask(RAISED_BY_MODEL) is RAISED_BY_MODEL
    upstream.fail(LIMITS.failures)
    upstream.clock.now_s += LIMITS.open_s

    assert upstream.ask(RAISED_BY_MODEL) is RAISED_BY_MODEL
    assert upstream.ask() is None
    assert upstream.breaker.outlook().phase == "closed"


def test_a_clock_that_was_set_back_blocks_nobody_for_a_year() -> None:
    clock = FakeClock()
    redis = FakeRedis(clock)
    redis.known = msgspec.json.encode(State(openings=1, until_s=clock.now_s + 1_700_000_000 + 31e6)).decode()
    upstream = Upstream(clock, kept=shared_in(redis, clock))

    assert 0 < upstream.breaker.outlook().blocked_s <= LONGEST_OPEN_S


def test_nobody_waits_for_all_the_others_who_ask_a_slow_redis() -> None:
    clock = FakeClock()
    redis = FakeRedis(clock, first=lambda _: time.sleep(REDIS_TIMEOUT_S / 3))  # twice that is still in time
    upstream = Upstream(clock, limits=Limits(failures=1_000, open_s=15), kept=shared_in(redis, clock))
    with ThreadPoolExecutor(20) as pool:
        started_s = time.monotonic()
        list(pool.map(lambda _: upstream.fail(), range(20)))
        took_s = time.monotonic() - started_s

    assert redis.known
    assert took_s < 6 * REDIS_TIMEOUT_S  # twenty that ask one after the other take more than twice that


def test_while_redis_is_away_a_process_goes_on_with_what_it_knows_and_finds_it_again() -> None:
    clock, is_away = FakeClock(), threading.Event()

    def first(_: str) -> None:
        if is_away.is_set():
            raise ConnectionError("connection refused")

    redis = FakeRedis(clock, first=first)
    shared = shared_in(redis, clock)
    upstream = Upstream(clock, kept=shared)
    upstream.fail(LIMITS.failures - 1)

    is_away.set()
    upstream.fail()
    assert shared._client is None
    assert upstream.is_refused()
    is_away.clear()
    clock.now_s += LIMITS.open_s
    assert not upstream.is_refused()
    shared._reaching.result(10)

    assert shared._client is not None
    upstream.fail()
    assert '"failures":3' in redis.known or '"openings":1' in redis.known, "those of Redis go on"


def test_a_redis_that_hangs_costs_a_quarter_of_a_second_once() -> None:
    clock, answer = FakeClock(), threading.Event()
    redis = FakeRedis(clock, first=lambda _: answer.wait(10))
    upstream = Upstream(kept=shared_in(redis, clock))

    def ask() -> float:
        started_s = time.monotonic()
        upstream.ask()
        return time.monotonic() - started_s

    with ThreadPoolExecutor(20) as threads:
        waited_s = [each.result() for each in [threads.submit(ask) for _ in range(20)]]
    after_s = [ask() for _ in range(100)]
    answer.set()

    assert max(waited_s) < REDIS_TIMEOUT_S + 0.25
    assert statistics.median(after_s) < 0.005
    assert redis.asked == 1


@pytest.mark.parametrize(
    ("known", "state"),
    [
        ("", State()),
        ("nonsense", State()),
        ('{"failures": "many"}', State()),
        ("[]", State()),
        ('{"failures": 2, "epoch": 7}', State(failures=2, epoch=7)),
        ('{"failures": 2, "of a later release": true}', State(failures=2)),
    ],
)
def test_what_redis_holds_is_read_or_as_good_as_nothing(known: str, state: State) -> None:
    clock = FakeClock()
    redis = FakeRedis(clock)
    redis.known = known

    assert shared_in(redis, clock).change(lambda state, _: state).after == state


def test_who_would_change_nothing_asks_redis_ten_times_a_second() -> None:
    clock = FakeClock()
    redis = FakeRedis(clock)
    upstream = Upstream(clock, kept=shared_in(redis, clock))

    for _ in range(1_000):
        clock.now_s += FRESH_S / 100
        upstream.ask()

    assert redis.asked in (10, 11)


def test_a_step_that_another_process_takes_first_is_taken_after_it() -> None:
    clock = FakeClock()

    def first(script: str) -> None:
        if script != _LOOK and redis.asked == 2:
            redis.known = '{"failures": 1}'

    redis = FakeRedis(clock, first=first)

    change = shared_in(redis, clock).change(lambda state, _: State(failures=state.failures + 1))

    assert (change.before.failures, change.after.failures) == (1, 2)


def test_a_step_that_others_always_take_first_is_given_up_in_time() -> None:
    clock = FakeClock()

    def first(_: str) -> None:
        clock.now_s += REDIS_TIMEOUT_S / 3
        redis.known += " "

    redis = FakeRedis(clock, first=first)
    shared = shared_in(redis, clock)

    change = shared.change(lambda state, _: State(failures=state.failures + 1))

    assert change.after == State(failures=1)
    assert shared._client is None
    assert redis.asked < 6
