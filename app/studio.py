"""Studio: turns a brief into a piece, with one engine, one deadline and a bounded number of places."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from app.audio import AUDIO_FORMATS, Audio, transcode
from app.engines.engine import Brief, Document, Engine, Format, Report, Take, ignore
from app.errors import EngineNotConfigured, FieldError, InvalidRequest, Overloaded
from app.retry import Clock, Deadline, FailedAttempt, Sleep, run_attempts

_log = structlog.get_logger(__name__)

RETRY_WHEN_FULL_S = 5.0
"""What `Retry-After` says when all places are taken: generations take seconds, not minutes."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What `Studio.generate` returns.

    Attributes:
        file: The piece in the format that was asked for.
        engine: Name of the engine that made it.
        seed: The seed it was made with.
        attempts: How many attempts it took, 1 or more.
        upstream_s: Seconds the last attempt waited for the engine.
        decode_s: Seconds spent decoding, proving and transcoding.
        remarks: Sentences for people about what could not be done as asked.
    """

    file: Audio | Document
    engine: str
    seed: int
    attempts: int
    upstream_s: float
    decode_s: float
    remarks: tuple[str, ...]


class Studio:
    """The service without HTTP. One object serves all threads."""

    def __init__(self, engine: Engine | None, *, max_active: int, sleep: Sleep = time.sleep) -> None:
        """
        Args:
            engine: What makes the music; None when it is not configured.
            max_active: Generations at the same time; one more is refused at once.
            sleep: How to wait between attempts, seconds; replaced in tests.
        """
        self._engine = engine
        self._places = threading.BoundedSemaphore(max_active)
        self._sleep = sleep

    @property
    def is_configured(self) -> bool:
        return self._engine is not None

    @property
    def formats(self) -> tuple[Format, ...]:
        """What pieces can be delivered as."""
        return self._engine.abilities.formats if self._engine else AUDIO_FORMATS

    def generate(self, brief: Brief, *, deadline: Deadline, report: Report = ignore) -> Piece:
        """Make the piece, repeating failed attempts as the engine's policy allows.

        Raises:
            EngineError: the engine's failure, after the last attempt.
            InvalidRequest: the engine cannot deliver the format.
            Overloaded: all places are taken.
        """
        engine = self._engine_for(brief)
        with self.place():
            return self._generate(engine, brief, deadline, report)

    def check(self, brief: Brief) -> None:
        """Say now what is wrong with the brief, and not when its turn has come.

        Raises:
            EngineNotConfigured: there is no engine.
            InvalidRequest: the engine cannot deliver the format.
        """
        self._engine_for(brief)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold one of the places for callers who wait, whoever makes their piece.

        Raises:
            Overloaded: all places are taken.
        """
        if not self._places.acquire(blocking=False):
            raise Overloaded(retry_after_s=RETRY_WHEN_FULL_S)
        try:
            yield
        finally:
            self._places.release()

    def _engine_for(self, brief: Brief) -> Engine:
        if self._engine is None:
            raise EngineNotConfigured
        if brief.format not in self.formats:
            raise _undeliverable(self.formats)
        return self._engine

    def attempt(self, brief: Brief, *, deadline: Deadline, report: Report = ignore, resume: str | None = None) -> Piece:
        """Make one attempt at the piece, for callers who count attempts and hold places themselves.

        Args:
            brief: What to make.
            deadline: When to give up.
            report: Told where the work stands.
            resume: `Progress.ticket` of an attempt that was interrupted, to go on with.

        Raises:
            EngineError: the engine's failure, or that there is none.
            InvalidRequest: the engine cannot deliver the format.
        """
        engine = self._engine_for(brief)
        started_s = deadline.clock()
        take = engine.generate(brief, deadline=deadline, report=report, resume=resume)
        elapsed_s = deadline.clock() - started_s
        _log.info("attempt succeeded", engine=engine.name, elapsed_s=round(elapsed_s, 3))
        return _piece(engine, brief, take, attempts=1, elapsed_s=elapsed_s, clock=deadline.clock)

    def _generate(self, engine: Engine, brief: Brief, deadline: Deadline, report: Report) -> Piece:
        log = _log.bind(engine=engine.name)

        def attempt(number: int, until: Deadline) -> tuple[int, float, Take]:
            started_s = until.clock()
            take = engine.generate(brief, deadline=until, report=report)
            elapsed_s = until.clock() - started_s
            log.info("attempt succeeded", attempt=number, elapsed_s=round(elapsed_s, 3))
            return number, elapsed_s, take

        def on_failure(failed: FailedAttempt) -> None:
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

        attempts, elapsed_s, take = run_attempts(
            attempt, policy=engine.policy, deadline=deadline, on_failure=on_failure, sleep=self._sleep
        )
        return _piece(engine, brief, take, attempts=attempts, elapsed_s=elapsed_s, clock=deadline.clock)


def _piece(engine: Engine, brief: Brief, take: Take, *, attempts: int, elapsed_s: float, clock: Clock) -> Piece:
    started_s = clock()
    file = _delivered(take.file, brief.format)
    transcode_s = clock() - started_s
    _log.info(
        "finished piece",
        engine=engine.name,
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
