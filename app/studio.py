"""Studio: turns a brief into a piece, with one deadline, a bounded number of places, and whichever engine can."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import structlog

from app.audio import AUDIO_FORMATS, Audio, transcode
from app.breaker import Breaker, Limits, Outlook, Shared
from app.engines import ENGINES
from app.engines.engine import CROSSFADE_S, Brief, Document, Engine, Format, Report, Take, ignore, keep_nothing
from app.errors import (
    Cancelled,
    EngineError,
    EngineNotConfigured,
    FieldError,
    InternalError,
    InvalidRequest,
    Overloaded,
    PromptRefused,
    StudioError,
)
from app.retry import Clock, Deadline, FailedAttempt, RetryBudget, Sleep, run_attempts
from app.settings import Settings

_log = structlog.get_logger(__name__)

RETRY_WHEN_FULL_S = 5.0
"""What `Retry-After` says when all places are taken: generations take seconds, not minutes."""

LONGEST_RESERVE_S: Final = 15.0
_RESERVE_SHARE: Final = 0.25

_OK: Final = "ok"
_UPSTREAM_DIGITS: Final = 16


def reserve_s(left_s: float) -> float:
    """Return how many of the seconds that are left an engine leaves to the one that may have to take over."""
    return min(LONGEST_RESERVE_S, left_s * _RESERVE_SHARE)


@dataclass(frozen=True, slots=True)
class StandIn:
    """Who makes a piece in the place of the first engine.

    Attributes:
        engine: Name of the engine.
        reason: Code of the first engine's error.
    """

    engine: str
    reason: str


@dataclass(frozen=True, slots=True)
class Piece:
    """What `Studio.generate` returns.

    Attributes:
        file: The piece in the format that was asked for.
        engine: Name of the engine that made it.
        seed: The seed it was made with.
        attempts: How many attempts it took, those of all engines together, 1 or more.
        upstream_s: Seconds the last attempt waited for the engine.
        decode_s: Seconds spent decoding, proving and transcoding.
        remarks: Sentences for people about what could not be done as asked.
        fallback_reason: Code of the first engine's error when another one made it, else None.
        ring_s: As `Take.ring_s`.
        let_go: As `Take.let_go`.
    """

    file: Audio | Document
    engine: str
    seed: int
    attempts: int
    upstream_s: float
    decode_s: float
    remarks: tuple[str, ...]
    fallback_reason: str | None = None
    ring_s: float | None = None
    let_go: Callable[[], object] = field(default=keep_nothing, compare=False)


class Observer(Protocol):
    """Is told what happens in a `Studio`, by all of its threads; must neither fail nor take long."""

    def attempt(self, engine: str, outcome: str, elapsed_s: float) -> None:
        """Note an attempt that was made; one that a breaker has refused was not.

        Args:
            engine: Who made it.
            outcome: `ok`, or the code of its error.
            elapsed_s: How long it took.
        """

    def piece(self, engine: str, *, duration_s: float, size_bytes: int, decode_s: float, format: str) -> None:
        """Note a piece, as it is delivered.

        Args:
            engine: Who made it.
            duration_s: Its length.
            size_bytes: Of the file.
            decode_s: How long it took to decode, prove and transcode it.
            format: One of `Format`.
        """

    def fallback(self, engine: str, reason: str) -> None:
        """Note that `engine` made a piece because the first engine could not, `reason` being the code of its error."""

    def refused(self) -> None:
        """Note that somebody was sent away because all places were taken."""


class _Unobserved:
    """An `Observer` that looks away."""

    def attempt(self, engine: str, outcome: str, elapsed_s: float) -> None:
        pass

    def piece(self, engine: str, *, duration_s: float, size_bytes: int, decode_s: float, format: str) -> None:
        pass

    def fallback(self, engine: str, reason: str) -> None:
        pass

    def refused(self) -> None:
        pass


UNOBSERVED: Final[Observer] = _Unobserved()


class Studio:
    """The service without HTTP. One object serves all threads."""

    def __init__(
        self,
        engines: Sequence[Engine],
        *,
        max_active: int,
        first: str | None = None,
        breakers: Mapping[str, Breaker] | None = None,
        budget: RetryBudget | None = None,
        observer: Observer = UNOBSERVED,
        sleep: Sleep = time.sleep,
    ) -> None:
        """
        Args:
            engines: What makes the music: the first one, or the next when that cannot.
            max_active: Generations that callers wait for at the same time; one more is refused at once.
            first: Name of the engine that should make the music; when it is not the first of `engines`, it is not
                configured and all of those are stand-ins. None means that it is.
            breakers: Of the engines that have an upstream, by the engine's name.
            budget: Pays for repeats; one of its own by default.
            observer: Told what happens.
            sleep: How to wait between attempts, seconds; replaced in tests.
        """
        self._engines = tuple(engines)
        self._is_first_missing = first is not None and [each.name for each in engines[:1]] != [first]
        self._breakers = dict(breakers or {})
        self._budget = budget or RetryBudget()
        self._observer = observer
        self._sleep = sleep
        self._max_active = max_active
        self._lock = threading.Lock()
        self._active = 0

    # ------------------------------------------------------------------ what can be asked for

    @property
    def is_configured(self) -> bool:
        """Whether there is any engine."""
        return bool(self._engines)

    @property
    def formats(self) -> tuple[Format, ...]:
        """What pieces can be delivered as.

        They are those of the first engine that is configured, so that what can be asked for does not change with an
        upstream's health. A stand-in that cannot deliver what was asked for is passed over.
        """
        return self._engines[0].abilities.formats if self._engines else AUDIO_FORMATS

    def check(self, brief: Brief) -> None:
        """Say now what is wrong with the brief, and not when its turn has come.

        Raises:
            EngineNotConfigured: there is no engine.
            InvalidRequest: the engine cannot deliver the format.
        """
        if not self._engines:
            raise EngineNotConfigured
        if brief.format not in self.formats:
            raise _undeliverable(self.formats)

    @property
    def stand_in(self) -> StandIn | None:
        """Who makes everything because the engine that should is not configured; None when it is, or nobody does."""
        is_one = self._is_first_missing and self._engines
        return StandIn(self._engines[0].name, EngineNotConfigured.code()) if is_one else None

    # ------------------------------------------------------------------ how it stands

    @property
    def active(self) -> int:
        """Places that are taken."""
        return self._active

    @property
    def max_active(self) -> int:
        """Places that there are."""
        return self._max_active

    @property
    def breakers(self) -> Mapping[str, str]:
        """`closed`, `open` or `half-open`, by the name of each engine that has an upstream."""
        return {name: breaker.outlook().phase for name, breaker in self._breakers.items()}

    @property
    def retry_tokens(self) -> float:
        """Repeats that the budget would still pay for."""
        return self._budget.tokens

    def outlooks(self) -> tuple[tuple[str, Outlook], ...]:
        """Return the engines that are configured, in the order in which they are asked, and how they stand."""
        return tuple(
            (engine.name, self._breakers[engine.name].outlook() if engine.name in self._breakers else _ALWAYS_THERE)
            for engine in self._engines
        )

    # ------------------------------------------------------------------ for callers who wait

    def generate(self, brief: Brief, *, deadline: Deadline, report: Report = ignore) -> Piece:
        """Make the piece: with the first engine, repeating failed attempts as its policy allows, or with the next one.

        The next one is asked when an engine cannot serve, but not when it refuses the prompt. All of them have to be
        done by the same deadline, so that an engine leaves some of it to those who may have to take over.

        Raises:
            EngineError: the first engine's failure, when none of the others can do it either; or an engine's refusal.
            InvalidRequest: the engine cannot deliver the format.
            Overloaded: all places are taken, or the deadline has passed already.
        """
        self.check(brief)
        if deadline.expired:
            # The request has waited for a thread all the time that it had. The upstream must not be blamed for that.
            raise Overloaded("No time was left when its turn had come.", retry_after_s=RETRY_WHEN_FULL_S)
        with self.place():
            return self._generate(brief, deadline, report)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold one of the places for callers who wait, whoever makes their piece.

        Raises:
            Overloaded: all places are taken.
        """
        with self._lock:
            is_free = self._active < self._max_active
            self._active += is_free
        if not is_free:
            self._observer.refused()
            raise Overloaded(retry_after_s=RETRY_WHEN_FULL_S)
        try:
            yield
        finally:
            with self._lock:
                self._active -= 1

    def _generate(self, brief: Brief, deadline: Deadline, report: Report) -> Piece:
        self._budget.pay_in()
        engine, stand_in = self._engines[0], self.stand_in
        first_error: EngineError | None = None
        attempts = 0
        while True:
            successor = self._successor(engine, brief)
            left_s = deadline.remaining_s()
            until = deadline.within(left_s - reserve_s(left_s)) if successor else deadline
            try:
                piece = self._repeatedly(engine, brief, until, report)
            except EngineError as error:
                attempts += error.attempts or 0
                if not can_be_stood_in_for(error):
                    raise
                first_error = first_error or error
                if successor is None:
                    raise first_error from first_error.__cause__
                stand_in = StandIn(successor.name, stand_in.reason if stand_in else error.code())
                _log.warning("another engine takes over", of=engine.name, engine=successor.name, reason=error.code())
                engine = successor
            else:
                return self._told(replace(piece, attempts=attempts + piece.attempts), stand_in)

    def _repeatedly(self, engine: Engine, brief: Brief, deadline: Deadline, report: Report) -> Piece:
        """Make the piece with that engine, repeating failed attempts as its policy allows."""
        log = _log.bind(engine=engine.name)

        def attempt(number: int, until: Deadline) -> tuple[int, float, Take]:
            take, elapsed_s = self._attempt(engine, brief, until, report)
            return number, elapsed_s, take

        def on_failure(failed: FailedAttempt) -> None:
            if failed.error.attempts is not None and failed.error.attempts < failed.number:
                # Nobody was asked. In an outage these are many, and all alike.
                log.info("attempt refused", attempt=failed.number, error=failed.error.code())
                return
            log.warning(
                "attempt failed",
                attempt=failed.number,
                error=failed.error.code(),
                detail=failed.error.detail,
                upstream_text=failed.error.log_text,
                elapsed_s=round(failed.elapsed_s, 3),
                next_attempt_in_s=failed.next_wait_s,
                exc_info=failed.error,
            )

        def may_repeat() -> bool:
            breaker = self._breakers.get(engine.name)
            if breaker is not None and breaker.outlook().blocked_s:
                log.info("not repeated", reason="the upstream is known to be down")
                return False
            if not self._budget.take():
                log.warning("not repeated", reason="the retry budget is spent")
                return False
            return True

        attempts, elapsed_s, take = run_attempts(
            attempt,
            policy=engine.policy,
            deadline=deadline,
            on_failure=on_failure,
            may_repeat=may_repeat,
            sleep=self._sleep,
        )
        return _piece(engine, brief, take, attempts=attempts, elapsed_s=elapsed_s, clock=deadline.clock)

    # ------------------------------------------------------------------ for jobs

    def attempt(
        self,
        brief: Brief,
        *,
        deadline: Deadline,
        report: Report = ignore,
        resume: str | None = None,
        stand_in: StandIn | None = None,
    ) -> Piece:
        """Make one attempt at the piece, for callers who count attempts and hold places themselves.

        Args:
            brief: What to make.
            deadline: When to give up.
            report: Told where the work stands.
            resume: `Progress.ticket` of an attempt that was interrupted, to go on with.
            stand_in: Who makes it, as `successor` said; None means the first engine.

        Raises:
            EngineError: the engine's failure, or that there is none.
            InvalidRequest: the engine cannot deliver the format.
        """
        self.check(brief)
        engine = self._named(stand_in)
        take, elapsed_s = self._attempt(engine, brief, deadline, report, resume)
        piece = _piece(engine, brief, take, attempts=1, elapsed_s=elapsed_s, clock=deadline.clock)
        return self._told(piece, self._still(stand_in))

    def is_known_to_be_down(self, stand_in: StandIn | None) -> bool:
        """Tell whether the engine would not be let through now; None means the first one."""
        breaker = self._breakers.get(self._named(stand_in).name) if self._engines else None
        return breaker is not None and breaker.outlook().blocked_s > 0

    def successor(self, brief: Brief, stand_in: StandIn | None, error: StudioError | None = None) -> StandIn | None:
        """Return who takes over when an engine cannot make the piece, or None when nobody does.

        Args:
            brief: What to make.
            stand_in: Who could not make it; None means the first engine.
            error: Why; None asks whether there is anybody at all.
        """
        if not self._engines or (error is not None and not can_be_stood_in_for(error)):
            return None
        next_one = self._successor(self._named(stand_in), brief)
        if next_one is None:
            return None
        so_far = self._still(stand_in)
        return StandIn(next_one.name, so_far.reason if so_far else error.code() if error else "")

    def _named(self, stand_in: StandIn | None) -> Engine:
        """Return the engine that stands in, or the first one.

        Who was to stand in may not be configured any more by the time the job goes on.
        """
        named = (each for each in self._engines if stand_in and each.name == stand_in.engine)
        return next(named, self._engines[0])

    def _still(self, stand_in: StandIn | None) -> StandIn | None:
        """Return who stands in as things are now."""
        return stand_in if stand_in and self._named(stand_in).name == stand_in.engine else self.stand_in

    # ------------------------------------------------------------------ both

    def _successor(self, engine: Engine, brief: Brief) -> Engine | None:
        later = self._engines[self._engines.index(engine) + 1 :]
        return next((each for each in later if brief.format in each.abilities.formats), None)

    def _attempt(
        self, engine: Engine, brief: Brief, deadline: Deadline, report: Report, resume: str | None = None
    ) -> tuple[Take, float]:
        """Make one attempt unless the engine's upstream is known to be down; return how many seconds it took, too."""
        breaker = self._breakers.get(engine.name)
        guard: AbstractContextManager[None] = breaker.attempt(deadline.remaining_s()) if breaker else nullcontext()
        with guard:
            started_s, outcome = deadline.clock(), InternalError.code()
            try:
                take = engine.generate(_asked_of(engine, brief), deadline=deadline, report=report, resume=resume)
                outcome = _OK
            except EngineError as error:
                outcome = error.code()
                raise
            finally:
                elapsed_s = deadline.clock() - started_s
                self._observer.attempt(engine.name, outcome, elapsed_s)
            return take, elapsed_s

    def _told(self, piece: Piece, stand_in: StandIn | None) -> Piece:
        """Tell the observer of the piece, and the piece who stood in."""
        file = piece.file
        self._observer.piece(
            piece.engine,
            duration_s=file.duration_s,
            size_bytes=len(file.content),
            decode_s=piece.decode_s,
            format=file.format,
        )
        if stand_in is None:
            return piece
        self._observer.fallback(piece.engine, stand_in.reason)
        return replace(piece, fallback_reason=stand_in.reason)


_ALWAYS_THERE: Final = Outlook("closed", 0.0)


def can_be_stood_in_for(error: StudioError) -> bool:
    """Tell whether another engine may make the piece after this error.

    Not after a refusal: what one engine must not make, another one must not make in its place. Nor is there anybody to
    make it for once the work is cancelled.
    """
    return isinstance(error, EngineError) and not isinstance(error, PromptRefused | Cancelled)


def open_studio(
    settings: Settings, engine: Engine | None, fallbacks: Sequence[Engine | None] = (), observer: Observer = UNOBSERVED
) -> Studio:
    """Return the studio that the settings describe.

    Args:
        settings: Places, breakers, and which engine should make the music.
        engine: That engine, or None when it is not configured.
        fallbacks: Those of `STUDIO_FALLBACK`, in order; None for each that is not configured.
        observer: Told what happens.
    """
    for name, fallback in zip(settings.fallback_engines, fallbacks, strict=False):
        if fallback is None:
            _log.warning("this fallback is not configured and will never take over", engine=name)
    engines = [each for each in (engine, *fallbacks) if each is not None]
    return Studio(
        engines,
        max_active=settings.max_active,
        first=engine.name if engine else settings.engine,
        breakers={
            each.name: _breaker(settings, each.name, upstream)
            for each in engines
            if each.name in ENGINES and (upstream := ENGINES[each.name].upstream(settings))
        },
        observer=observer,
    )


def _breaker(settings: Settings, engine: str, upstream: str) -> Breaker:
    limits = Limits(settings.breaker_failures, settings.breaker_open_s)
    if settings.redis_url is None:
        return Breaker(engine, limits=limits)
    # With the upstream in its name, a new one begins with what is known about it, which is nothing.
    digest = hashlib.sha256(upstream.encode()).hexdigest()[:_UPSTREAM_DIGITS]
    kept = Shared(settings.redis_url.get_secret_value(), f"{engine}:{digest}")
    return Breaker(engine, limits=limits, kept=kept)


def _asked_of(engine: Engine, brief: Brief) -> Brief:
    """Return the brief as the engine can be asked for it: of most engines, a section is a clip like any other."""
    if brief.place is None or engine.abilities.sections:
        return brief
    wanted_s = brief.duration_s + (CROSSFADE_S if brief.place.leads_on else 0.0)
    able = engine.abilities
    return replace(brief, duration_s=min(max(wanted_s, able.min_duration_s), able.max_duration_s), place=None)


def _piece(engine: Engine, brief: Brief, take: Take, *, attempts: int, elapsed_s: float, clock: Clock) -> Piece:
    started_s = clock()
    file = _delivered(take.file, brief.format)
    transcode_s = clock() - started_s
    _log.info(
        "finished piece",
        engine=engine.name,
        attempts=attempts,
        attempt_s=round(elapsed_s, 3),
        bytes=len(file.content),
        seconds=round(file.duration_s, 3),
        format=file.format,
        engine_format=take.file.format,
        remarks=len(take.remarks),
    )
    return Piece(
        file=file,
        engine=engine.name,
        seed=brief.seed,
        attempts=attempts,
        upstream_s=elapsed_s - take.decode_s,
        decode_s=take.decode_s + transcode_s,
        remarks=take.remarks,
        ring_s=take.ring_s,
        let_go=take.let_go,
    )


def _delivered(file: Audio | Document, format: Format) -> Audio | Document:
    """Return audio in the container that was asked for; a document is what it is."""
    match format:
        case "mid" | "stems":
            return file
        case _:
            return transcode(file, format) if isinstance(file, Audio) else file


def _undeliverable(formats: tuple[Format, ...]) -> InvalidRequest:
    *others, last = (f"'{each}'" for each in formats)
    return InvalidRequest(
        "This engine cannot deliver the format.",
        fields=(FieldError("format", f"must be one of {', '.join(others)} or {last} with this engine"),),
    )
