"""Breakers: an upstream that is known to be down is left alone until it has had time to come back.

`State` is the whole machine, pure: each step takes what is known and what time it is, and returns what
is known then. `closed` lets everything through and counts failures in a row; with enough of them it
becomes `open` and lets nothing through; when that time is over it is `half-open` and lets one attempt
through, the probe, whose outcome closes it or opens it again, for longer.

What is known is kept in this process (`Local`), or shared with others in Redis (`Shared`).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final, Literal, Protocol, cast

import msgspec
import structlog

from app.errors import (
    EngineError,
    PromptRefused,
    UpstreamBadResponse,
    UpstreamError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from app.retry import Clock

_log = structlog.get_logger(__name__)

Phase = Literal["closed", "open", "half-open"]

LONGEST_OPEN_S: Final = 120.0
"""It opens for twice as long with each probe that fails, and as long as an upstream asks for, up to this: whoever
is back should be noticed within minutes, and a probe costs little."""

LONGEST_PROBE_S: Final = 120.0
PROBE_GRACE_S: Final = 5.0
"""A probe that has not come back by its time limit and this grace is given up, and so is one that takes longer than
anybody should wait for its news: its process may have died. Another one passes then."""

WAIT_FOR_PROBE_S: Final = 5.0
"""What `Retry-After` says at most while a probe is under way: its news may come any moment."""

_MOST_DOUBLINGS: Final = 10

DOWN: Final = (UpstreamUnavailable, UpstreamTimeout, UpstreamError)
"""Failures that say: the upstream is down, or might as well be."""

ANSWERED: Final = (PromptRefused, UpstreamRejected, UpstreamBadResponse)
"""Failures that say: somebody is there and answers. What is in neither row, a cancellation above all, says nothing.
Nor does a model that raises (`EngineError.raised_by_model`): it may be down, or somebody may have found a prompt that
it cannot stand, and who sends that again and again must not close it to everybody."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a breaker opens, and for how long.

    Attributes:
        failures: In a row that open it; at least 1.
        open_s: Seconds that it is open for at first, at most `LONGEST_OPEN_S`.
    """

    failures: int
    open_s: float


@dataclass(frozen=True, slots=True)
class State:
    """What is known about an upstream. Times are seconds of the clock of whoever keeps it.

    Attributes:
        failures: In a row, while it is closed.
        openings: In a row, since it was last closed; 0 while it is closed.
        until_s: Until when nobody is let through; without meaning while it is closed.
        is_probing: Whether that is because a probe is under way.
        epoch: Goes up whenever it opens or closes. What comes of an attempt that was let through in an earlier epoch
            is no news: the upstream may have hung up on dozens of them, one after the other, before it came back.
    """

    failures: int = 0
    openings: int = 0
    until_s: float = 0.0
    is_probing: bool = False
    epoch: int = 0

    def phase(self, now_s: float) -> Phase:
        if not self.openings:
            return "closed"
        return "open" if now_s < self.until_s and not self.is_probing else "half-open"

    def blocked_s(self, now_s: float) -> float:
        """Return in how many seconds it is sensible to ask again; 0 when the next attempt is let through."""
        if not self.openings or now_s >= self.until_s:
            return 0.0
        left_s = self.until_s - now_s
        return min(left_s, WAIT_FOR_PROBE_S) if self.is_probing else left_s

    def when_asked(self, now_s: float, *, probe_s: float) -> State:
        """Return what is known once somebody has asked to be let through.

        They are if it was not blocked. If it was not closed either they are the probe, which is back within `probe_s`
        seconds or is given up.
        """
        if not self.openings or now_s < self.until_s:
            return self
        return replace(self, is_probing=True, until_s=now_s + probe_s)

    def after_answer(self, epoch: int) -> State:
        """Return what is known once the upstream has answered an attempt of that epoch."""
        if epoch != self.epoch:
            return self
        return State(epoch=self.epoch + 1) if self.openings else replace(self, failures=0)

    def after_failure(self, epoch: int, now_s: float, *, limits: Limits, retry_after_s: float) -> State:
        """Return what is known once an attempt of that epoch has found the upstream down.

        Args:
            epoch: In which the attempt was let through.
            now_s: What time it is.
            limits: When it opens.
            retry_after_s: For how long the upstream itself wants to be left alone; 0 when it does not say.
        """
        if epoch != self.epoch:
            return self
        if not self.openings and self.failures + 1 < limits.failures:
            return replace(self, failures=self.failures + 1)
        grown_s = limits.open_s * 2 ** min(self.openings, _MOST_DOUBLINGS)
        open_s = min(max(grown_s, retry_after_s), LONGEST_OPEN_S)
        return State(openings=self.openings + 1, until_s=now_s + open_s, epoch=self.epoch + 1)

    def after_nothing(self, epoch: int, now_s: float) -> State:
        """Return what is known once an attempt of that epoch has ended without news; another one may be the probe."""
        if epoch != self.epoch or not self.is_probing:
            return self
        return replace(self, is_probing=False, until_s=now_s)


Step = Callable[[State, float], State]
"""Takes what is known and what time it is, and returns what is known then; it may be called more than once."""


@dataclass(frozen=True, slots=True)
class Change:
    """What was known before and after a step that was taken at `now_s`."""

    before: State
    after: State
    now_s: float


class Kept(Protocol):
    """Where a state is kept. One object serves all threads."""

    def change(self, step: Step) -> Change:
        """Take the step, and nobody else takes one meanwhile."""


class Local:
    """A state that this process keeps to itself."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._state = State()

    def change(self, step: Step) -> Change:
        with self._lock:
            now_s, before = self._clock(), self._state
            self._state = step(before, now_s)
            return Change(before, self._state, now_s)


@dataclass(frozen=True, slots=True)
class Outlook:
    """How a breaker stands.

    Attributes:
        phase: Of the machine.
        blocked_s: In how many seconds it is sensible to ask again; 0 when the next attempt is let through.
    """

    phase: Phase
    blocked_s: float


class Breaker:
    """Decides who may ask one upstream, and learns from what comes of it. One object serves all threads."""

    def __init__(self, name: str, *, limits: Limits, kept: Kept | None = None) -> None:
        """
        Args:
            name: Of the engine, for the log.
            limits: When it opens, and for how long.
            kept: Where its state is kept; in this process by default.
        """
        self._name = name
        self._limits = limits
        self._kept = kept or Local()

    @contextmanager
    def attempt(self, timeout_s: float) -> Iterator[None]:
        """Let the block ask the upstream, and learn from how it ends.

        The error of a failure that leaves the breaker open is told how long that is (`retry_after_s`).

        Args:
            timeout_s: How long the block may take, in seconds.

        Raises:
            UpstreamUnavailable: it is known to be down; nobody was asked, which `attempts` being 0 says.
        """
        epoch = self._admit(timeout_s)
        try:
            yield
        except DOWN as error:
            if error.raised_by_model:
                self._change(lambda state, now_s: state.after_nothing(epoch, now_s))
            else:
                self._fail(epoch, error)
            raise
        except ANSWERED:
            self._change(lambda state, _: state.after_answer(epoch))
            raise
        except BaseException:
            self._change(lambda state, now_s: state.after_nothing(epoch, now_s))
            raise
        else:
            self._change(lambda state, _: state.after_answer(epoch))

    def outlook(self) -> Outlook:
        """Return how it stands now, without asking to be let through."""
        change = self._kept.change(lambda state, _: state)
        return Outlook(change.after.phase(change.now_s), change.after.blocked_s(change.now_s))

    def _admit(self, timeout_s: float) -> int:
        probe_s = min(timeout_s + PROBE_GRACE_S, LONGEST_PROBE_S)
        change = self._change(lambda state, now_s: state.when_asked(now_s, probe_s=probe_s))
        if blocked_s := change.before.blocked_s(change.now_s):
            error = UpstreamUnavailable(
                "The music engine is known to be down and is left alone for now.", retry_after_s=blocked_s, repeat=False
            )
            error.attempts = 0
            raise error
        return change.after.epoch

    def _fail(self, epoch: int, error: EngineError) -> None:
        asked_s = error.retry_after_s or 0.0
        change = self._change(
            lambda state, now_s: state.after_failure(epoch, now_s, limits=self._limits, retry_after_s=asked_s)
        )
        if blocked_s := change.after.blocked_s(change.now_s):
            error.retry_after_s = max(asked_s, blocked_s)

    def _change(self, step: Step) -> Change:
        change = self._kept.change(step)
        before, after = change.before, change.after
        if after.is_probing and after.until_s != before.until_s:
            _log.info("breaker lets a probe through", engine=self._name)
        elif after.epoch != before.epoch and after.openings:
            open_s = round(after.until_s - change.now_s, 3)
            _log.warning("breaker opened", engine=self._name, open_s=open_s, openings=after.openings)
        elif after.epoch != before.epoch:
            _log.info("breaker closed", engine=self._name)
        return change


def is_refusal(error: Exception) -> bool:
    """Tell whether the error says that a breaker let nobody ask."""
    return isinstance(error, UpstreamUnavailable) and error.attempts == 0


# ---------------------------------------------------------------------- shared

REDIS_PREFIX: Final = "studio:"
REDIS_TIMEOUT_S: Final = 0.25
"""How long a request waits for Redis; then this process goes on alone, and all others do not wait at all."""

REACH_AGAIN_S: Final = 5.0
FRESH_S: Final = 0.1
"""For how long Redis is not asked again by whoever would not change anything: ten looks a second, not one for each
request. So long may attempts still be let through when another process has just opened the breaker."""

KEPT_S: Final = 600.0
"""How long Redis keeps a state that nobody changes: failures in a row that lie further apart are no row."""

WARN_AGAIN_S: Final = 60.0

_LOOK: Final = """
local time = redis.call('TIME')
return {redis.call('GET', KEYS[1]) or '', time[1], time[2]}
"""
_PUT: Final = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""
"""Writes only over what was read: of several processes that take a step at once one succeeds, and the others look
again. The machine itself need not be written a second time in Lua."""


class Scripts(Protocol):
    """What is used here of a client of Redis."""

    def eval(self, script: str, numkeys: int, /, *keys_and_args: str) -> object:
        """Run the script on the server and return what it returns."""


def redis_options() -> dict[str, object]:
    """Return how Redis is talked to, by all who do: given up soon and not asked twice, because requests wait for it."""
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return {
        "socket_timeout": REDIS_TIMEOUT_S,
        "socket_connect_timeout": REDIS_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }


def connect(url: str) -> Scripts:
    """Return a client of the Redis that answers there.

    Raises:
        RedisError: none does.
        ValueError: this is no URL of a Redis.
    """
    # Imported here because it takes half a second, and most services do without.
    from redis import Redis

    client = Redis.from_url(url, decode_responses=True, **redis_options())
    client.ping()
    return cast("Scripts", client)


class Shared:
    """A state that several processes share through Redis; its clock is that of Redis.

    Redis is never needed. While it does not answer, or not in time, each process goes on with the copy it has; a thread
    of its own does all the asking, because neither a name lookup nor a handshake has a bound, and looks now and then
    whether Redis is back.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        clock: Clock = time.monotonic,
        connect: Callable[[str], Scripts] = connect,
    ) -> None:
        """
        Args:
            url: `redis://` or `rediss://`.
            name: Of the state, the same for all who share it.
            clock: Monotonic seconds, for the copy.
            connect: Returns a client, or raises whatever it likes; called in a thread.
        """
        self._url = url
        self._connect = connect
        self._key = f"{REDIS_PREFIX}breaker:{name}"
        self._clock = clock
        self._lock = threading.Lock()
        self._copy = State()
        self._copied_at_s = -math.inf
        self._warned_at_s = -math.inf
        self._client: Scripts | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="breaker")
        self._reaching: Future[None] = self._thread.submit(self._reach)
        self._reach_at_s = clock() + REACH_AGAIN_S

    def change(self, step: Step) -> Change:
        if not self._lock.acquire(timeout=REDIS_TIMEOUT_S):
            # Many ask a Redis that is slow. What this one would have told is one piece of news among many alike.
            return Change(self._copy, self._copy, self._clock())
        try:
            now_s, before = self._clock(), self._copy
            after = step(before, now_s)
            is_known = now_s - self._copied_at_s < FRESH_S or before.phase(now_s) == "open"
            if after == before and is_known:
                return Change(before, before, now_s)
            if self._client is not None:
                if change := self._ask(self._client, step):
                    return change
            elif self._reaching.done() and now_s >= self._reach_at_s:
                self._reach_at_s = now_s + REACH_AGAIN_S
                self._reaching = self._thread.submit(self._reach)
            self._copy = after
            return Change(before, after, now_s)
        finally:
            self._lock.release()

    def _ask(self, client: Scripts, step: Step) -> Change | None:
        """Have Redis take the step; return None when it does not answer in time."""
        give_up_at_s = self._clock() + REDIS_TIMEOUT_S
        try:
            change = self._thread.submit(self._swap, client, step, give_up_at_s).result(REDIS_TIMEOUT_S)
        except Exception as error:  # noqa: BLE001 - whatever it is, the music does not wait for it
            self._client = None
            self._reach_at_s = self._clock() + REACH_AGAIN_S
            self._warn(error)
            return None
        self._copied_at_s = self._clock()
        ahead_s = self._copied_at_s - change.now_s
        self._copy = replace(change.after, until_s=change.after.until_s + ahead_s)
        return change

    def _warn(self, error: Exception) -> None:
        if self._clock() - self._warned_at_s >= WARN_AGAIN_S:
            self._warned_at_s = self._clock()
            _log.warning("redis is away, the breaker's state is this process's own", error=repr(error))

    # ------------------------------------------------------------------ in the thread

    def _reach(self) -> None:
        try:
            self._client = self._connect(self._url)
        except Exception as error:  # noqa: BLE001 - it is tried again
            self._warn(error)

    def _swap(self, client: Scripts, step: Step, give_up_at_s: float) -> Change:
        while True:
            known, seconds, microseconds = cast("tuple[str, str, str]", client.eval(_LOOK, 1, self._key))
            now_s = int(seconds) + int(microseconds) / 1e6
            before = _read(known)
            # A clock that was set back, or somebody else's hand, must not block everybody for a year.
            before = replace(before, until_s=min(before.until_s, now_s + LONGEST_OPEN_S))
            after = step(before, now_s)
            if after == before:
                return Change(before, before, now_s)
            if self._clock() >= give_up_at_s:  # nobody waits for it any more
                raise TimeoutError("there was no time left to write the breaker's state")
            kept_ms = round((max(after.until_s - now_s, 0.0) + KEPT_S) * 1000)
            if client.eval(_PUT, 1, self._key, known, msgspec.json.encode(after).decode(), str(kept_ms)):
                return Change(before, after, now_s)


def _read(known: str) -> State:
    """Return the state that Redis holds; what is none of ours is as good as nothing."""
    try:
        return msgspec.json.decode(known, type=State) if known else State()
    except msgspec.DecodeError:
        return State()
