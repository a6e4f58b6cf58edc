"""The way of a job from the queue to its end, as a workflow of DBOS; nothing is started by importing this.

Each attempt is a step, and so is writing down how it all ended. DBOS keeps what a step returned, so
that a process that takes the job over after a crash goes on with the step that was interrupted: an
attempt that has succeeded is never made again, and one that was interrupted goes on with what the
upstream has already begun (`Job.ticket`).

A step may run twice for all that, when its process dies between doing its work and DBOS writing down
that it did. Therefore whatever it writes is written under a condition (`Records`) or under a name of
its own (the file's digest), and the second run does no harm.
"""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal, TypedDict, TypeVar

import structlog
from dbos import DBOS, DBOSClient, DBOSPortableJSONSerializer, EnqueueOptions
from dbos._error import DBOSAwaitedWorkflowCancelledError
from sqlalchemy.exc import OperationalError

from app import trace
from app.breaker import is_refusal
from app.engines.engine import Brief, Progress
from app.errors import (
    InternalError,
    JobStoreUnavailable,
    StudioError,
    problem,
)
from app.jobs.database import Database, explained
from app.jobs.job import COMPOSING, FAILED, WAITING_FOR_ENGINE, Job, Result, retrying, taking_over
from app.jobs.records import Records
from app.retry import SHORTEST_ATTEMPT_S, Deadline
from app.studio import Piece, StandIn, Studio, can_be_stood_in_for, reserve_s
from app.trace import Trace

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from app.store import FileStore

_log = structlog.get_logger(__name__)
T = TypeVar("T")

APPLICATION: Final = "studio"
APPLICATION_VERSION: Final = "1"
"""Pinned: DBOS would derive it from the code, and leave the jobs of the version before to nobody. It
goes up when steps change in a way that jobs in flight would not survive; those must be drained first."""

QUEUE: Final = "pieces"
WORKFLOW: Final = "piece"
SONG_WORKFLOW: Final = "song"

_PIECE_PRIORITY: Final = 10
"""Songs come first (0): joining takes seconds, and whoever asked for one has waited for all of its sections."""

MAX_DISPATCHES: Final = 50
"""How often a job is taken up before it is given up: each crash of its process counts, whoever caused it."""

WAITS_S: Final = (1.0, 2.0, 3.0)
"""Before the second, third and each later attempt."""

MAX_WAIT_S: Final = 600.0
"""An upstream that wants to be left alone for longer has failed as far as this job is concerned."""

_INSIST_FIRST_S: Final = 0.5
_INSIST_LONGEST_S: Final = 5.0
_NAMED_DIGITS: Final = 16
_ENDINGS: Final = {"stems": "zip"}


class Interrupted(BaseException):
    """This process stops, or cannot write; whoever takes the job over goes on with the step that was left here.

    Not an `Exception`, because DBOS would then write down that the workflow has failed.
    """


class Outcome(TypedDict, total=False):
    """What an attempt came to, as DBOS keeps it: JSON.

    Attributes:
        status: How the job ends, or `retry`.
        retry_at_s: When the next attempt may begin, in Unix seconds.
        until_s: When the job must have ended, in Unix seconds.
        number: Of the next attempt, where it is not the next number: nobody was asked in this one.
        ticket: Of the upstream's work that the next attempt goes on with, where this one would have.
        engine: Who makes the next attempt in the place of the first engine, once that has failed for good.
        reason: Code of the first engine's error in that case.
        result: What was made.
        error: What went wrong, as a problem object. With `engine`, how the job ends should that one fail as well.
        retryable: Whether asking again is sensible.
        message: A sentence for people.
        blamed: Name of the engine whose error it is, where another one made the last attempt.
    """

    status: Literal["succeeded", "failed", "cancelled", "retry"]
    retry_at_s: float
    until_s: float
    number: int
    ticket: str
    engine: str
    reason: str
    result: dict[str, object]
    error: dict[str, object]
    retryable: bool
    message: str
    blamed: str


class Pieces:
    """Makes the pieces of jobs, and knows which are being made in this process. One object serves all threads."""

    def __init__(
        self,
        records: Records,
        store: FileStore,
        studio: Studio,
        *,
        timeout_s: float,
        deadline_s: float,
        scrub: Callable[[str], str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """
        Args:
            records: Where jobs stand.
            store: Gets the files.
            studio: Makes the music.
            timeout_s: Seconds that one attempt may take.
            deadline_s: Seconds that a job may take from its first attempt on.
            scrub: Takes out of an error's words what must not be told.
            clock: What time it is, in Unix seconds.
        """
        self._records = records
        self._store = store
        self._studio = studio
        self._timeout_s = timeout_s
        self._deadline_s = deadline_s
        self._scrub = scrub
        self._clock = clock
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._active: set[str] = set()
        self._attempts: dict[str, _Attempt] = {}

    # ------------------------------------------------------------------ for the executor

    def register(self) -> None:
        """Tell DBOS, which has not been launched yet, about the workflow and its steps."""

        @DBOS.step(name="attempt")
        def attempt(job_id: str, number: int, after: Outcome | None) -> Outcome:
            return self.attempt(job_id, number, after)

        @DBOS.step(name="finish")
        def finish(job_id: str, outcome: Outcome) -> None:
            self.finish(job_id, outcome)

        @DBOS.workflow(name=WORKFLOW, max_recovery_attempts=MAX_DISPATCHES)
        def piece(job_id: str) -> str:
            with self.at_work(job_id), never_failing():
                number, outcome = 1, attempt(job_id, 1, None)
                while outcome["status"] == "retry":
                    number = outcome.get("number", number + 1)
                    outcome = attempt(job_id, number, outcome)
                finish(job_id, outcome)
                return outcome["status"]

    @property
    def active(self) -> frozenset[str]:
        """The jobs whose workflows run in this process."""
        with self._lock:
            return frozenset(self._active)

    def attend(self) -> None:
        """Write down how far running attempts are, and cancel those that nobody wants any more.

        To be called about twice a second.
        """
        with self._lock:
            attempts = dict(self._attempts)
        for attempt in attempts.values():
            attempt.tell()
        if attempts:
            for job_id in self._records.cancel_requested(attempts):
                attempts[job_id].cancelled.set()

    def stop(self) -> None:
        """Have whoever only waits leave its job to another process; attempts that are at work go on."""
        self._stopping.set()

    # ------------------------------------------------------------------ the steps

    def attempt(self, job_id: str, number: int, after: Outcome | None = None) -> Outcome:
        """Make one attempt at a job's piece and store it.

        Args:
            job_id: Which job.
            number: Of the attempt, from 1.
            after: What the attempt before it came to.
        """
        job = self.insist(lambda: self._records.get(job_id))
        if job is None or job.is_final:
            return {"status": "cancelled"}
        work = structlog.contextvars.bound_contextvars(request_id=job.request_id, job=job_id, attempt=number)
        # Whoever submitted the job has long had an answer: an attempt is a trace of its own.
        with work, trace.following(Trace.begin()):
            return self._attempt(job, number, after or {})

    def finish(self, job_id: str, outcome: Outcome) -> None:
        """Write down how the job has ended, unless it is over already; a file that nobody will ask for is deleted."""
        job = self.insist(lambda: self._records.get(job_id))
        with structlog.contextvars.bound_contextvars(job=job_id, **({"request_id": job.request_id} if job else {})):
            self._finish(job_id, outcome)

    def _finish(self, job_id: str, outcome: Outcome) -> None:
        match outcome["status"]:
            case "succeeded":
                result = Result.from_json(outcome["result"])
                ended = self.insist(lambda: self._records.succeed(job_id, result))
                job = self.insist(lambda: self._records.get(job_id))
                if job is None or job.result is None or job.result.file != result.file:
                    with suppress(JobStoreUnavailable):  # the sweep finds it once the job is deleted
                        self._store.delete(result.file)
            case "failed":
                ended = self.insist(
                    lambda: self._records.fail(
                        job_id,
                        outcome["error"],
                        retryable=outcome["retryable"],
                        message=outcome["message"],
                        engine=outcome.get("blamed"),
                    )
                )
            case _:
                ended = self.insist(lambda: self._records.cancel(job_id))
        _log.info("job ended" if ended else "job was over", outcome=outcome["status"])

    def _attempt(self, job: Job, number: int, after: Outcome) -> Outcome:
        is_interrupted = job.attempt == number
        stand_in = _stand_in(after) or self._studio.stand_in
        engine = stand_in.engine if stand_in else None
        with self._watched(job.id) as attempt:
            begin_at_s, message = after.get("retry_at_s", 0.0), _message(number, job.max_attempts, after)
            is_begun = (
                # What the breaker has put off has not begun: a crash while it waits interrupts nothing.
                ("number" not in after or self._wait_until(begin_at_s, attempt.cancelled))
                and self.insist(lambda: self._records.start(job.id, number, message, engine=engine))
                and self._wait_until(begin_at_s, attempt.cancelled)
            )
            if not is_begun:
                return {"status": "cancelled"}
            until_s = after.get("until_s") or (job.started_at_s or self._clock()) + self._deadline_s
            if is_interrupted:  # the time that nobody was there is not the job's fault
                until_s = max(until_s, self._clock() + self._timeout_s)
            left_s = until_s - self._clock() - self._reserved_s(job, stand_in)
            timeout_s = min(self._timeout_s, max(left_s, SHORTEST_ATTEMPT_S))
            deadline = Deadline.after(timeout_s, cancelled=attempt.cancelled)
            resume = job.ticket if is_interrupted else after.get("ticket")
            started_s = time.monotonic()
            try:
                piece = self._studio.attempt(
                    self._brief(job), deadline=deadline, report=attempt.report, resume=resume, stand_in=stand_in
                )
                return self.stored(job, piece, attempt.cancelled)
            except StudioError as error:
                if attempt.cancelled.is_set():
                    return {"status": "cancelled"}
                took_s = time.monotonic() - started_s
                return self._after_failure(job, number, error, until_s, after, resume=resume, took_s=took_s)
            except Exception as error:  # noqa: BLE001 - a job must end whatever the mistake is, and tell
                _log.exception("unforeseen exception")
                took_s = time.monotonic() - started_s
                return self._after_failure(
                    job, number, _unforeseen(error), until_s, after, resume=resume, took_s=took_s
                )

    def _brief(self, job: Job) -> Brief:
        """Return what to make; of a section, with its place in the song."""
        return replace(job.brief, place=self.insist(lambda: self._records.place(job.id)))

    def stored(self, job: Job, piece: Piece, cancelled: threading.Event) -> Outcome:
        """Store what a job made, and return how it ends."""
        content = piece.file.content
        digest = hashlib.sha256(content).hexdigest()
        ending = _ENDINGS.get(piece.file.format, piece.file.format)
        result = Result(
            # With the digest in its name a file is never overwritten by another one: not even by a process that
            # was frozen, taken for dead, and comes back when the job has long ended with somebody else's file.
            file=f"{job.id}-{digest[:_NAMED_DIGITS]}.{ending}",
            sha256=digest,
            size_bytes=len(content),
            media_type=piece.file.media_type,
            duration_s=piece.file.duration_s,
            seed=piece.seed,
            remarks=piece.remarks,
            engine=piece.engine if piece.fallback_reason else None,
            fallback_reason=piece.fallback_reason,
            ring_s=piece.ring_s,
        )
        patience = Deadline.after(self._deadline_s, cancelled=cancelled)
        self.insist(lambda: self._store.put(result.file, content, media_type=result.media_type), patience=patience)
        piece.let_go()
        return {"status": "succeeded", "result": result.to_json()}

    def _after_failure(
        self,
        job: Job,
        number: int,
        error: StudioError,
        until_s: float,
        after: Outcome,
        *,
        resume: str | None,
        took_s: float,
    ) -> Outcome:
        """Return when to try again, or who takes over, or how the job ends."""
        is_refused, stand_in = is_refusal(error), _stand_in(after)
        successor = self._studio.successor(job.brief, stand_in, error)
        wait_s = max(WAITS_S[min(number, len(WAITS_S)) - 1], error.retry_after_s or 0.0)
        retry_at_s = self._clock() + wait_s
        is_again = (
            # Whoever takes over does so once: the job has waited long enough.
            stand_in is None
            # What was refused is no attempt, and may be asked for as long as the job has time.
            and (is_refused or (error.repeat and number < job.max_attempts))
            # Nobody waits for an upstream that is known to be down if another one can do it.
            and (successor is None or not self._studio.is_known_to_be_down(stand_in))
            and wait_s <= MAX_WAIT_S
            and retry_at_s + SHORTEST_ATTEMPT_S <= until_s - self._reserved_s(job, stand_in)
        )
        maker = stand_in or self._studio.stand_in
        _log.warning(
            "attempt refused" if is_refused else "attempt failed",
            engine=maker.engine if maker else job.engine,
            error=error.code(),
            detail=error.detail,
            upstream_text=error.log_text,
            elapsed_s=round(took_s, 3),
            next_attempt_in_s=wait_s if is_again else None,
            successor=None if is_again or successor is None else successor.engine,
            exc_info=None if is_refused else error,
        )
        again: Outcome = {"status": "retry", "retry_at_s": retry_at_s, "until_s": until_s}
        if is_refused:
            # Or else this attempt, when it is made, would be taken for one that a crash has interrupted.
            self.insist(lambda: self._records.put_off(job.id, number, WAITING_FOR_ENGINE))
            again["number"] = number
            if resume is not None:
                again["ticket"] = resume
        if is_again:
            return again
        error.attempts = number - is_refused
        end = self._end(job, error, after)
        if successor is None:
            return end
        return {**end, **again, "retry_at_s": self._clock(), "engine": successor.engine, "reason": successor.reason}

    def _end(self, job: Job, error: StudioError, after: Outcome) -> Outcome:
        """Return how the job ends when nobody else can make its piece: with the first engine's error."""
        if _stand_in(after) and can_be_stood_in_for(error):
            return {
                "status": "failed",
                "error": after["error"],
                "retryable": after["retryable"],
                "message": after["message"],
                "blamed": after["blamed"],
            }
        stand_in = _stand_in(after) or self._studio.stand_in
        blamed = stand_in.engine if stand_in else job.engine
        return {**failure(error, request_id=job.request_id, scrub=self._scrub), "blamed": blamed}

    def _reserved_s(self, job: Job, stand_in: StandIn | None) -> float:
        """Return how many seconds of the job's time are left to whoever may have to take over."""
        return reserve_s(self._deadline_s) if self._studio.successor(job.brief, stand_in) else 0.0

    # ------------------------------------------------------------------ waiting

    def _wait_until(self, at_s: float, cancelled: threading.Event) -> bool:
        """Wait; return False when the job is cancelled meanwhile.

        DBOS has a sleep of its own that survives restarts. So does a time that the step before has
        returned, and this wait can be cut short.
        """
        # Bounded, because the clock may have been set back, or the time be that of another machine.
        for wait_s in Deadline.after(min(at_s - self._clock(), MAX_WAIT_S), cancelled=cancelled).waits_s():
            if self._stopping.is_set():
                raise Interrupted
            cancelled.wait(wait_s)
        return not cancelled.is_set()

    def insist(self, action: Callable[[], T], *, patience: Deadline | None = None) -> T:
        """Return what the action returns, which is tried again for as long as database or store cannot be used.

        What was made is not thrown away because of that, and an end that people were promised is written.
        """
        wait_s = _INSIST_FIRST_S
        while True:
            try:
                return action()
            except JobStoreUnavailable as error:
                if patience is not None and patience.expired:
                    raise
                _log.warning("trying again", detail=error.detail, upstream_text=error.log_text, wait_s=wait_s)
            for some_s in (patience or Deadline.after(wait_s)).waits_s(wait_s):
                if self._stopping.wait(some_s):
                    raise Interrupted
            wait_s = min(wait_s * 2, _INSIST_LONGEST_S)

    # ------------------------------------------------------------------ bookkeeping

    @contextmanager
    def at_work(self, job_id: str) -> Iterator[None]:
        """Hold the job for one whose workflow runs in this process."""
        with self._lock:
            self._active.add(job_id)
        try:
            yield
        finally:
            with self._lock:
                self._active.discard(job_id)

    @contextmanager
    def _watched(self, job_id: str) -> Iterator[_Attempt]:
        attempt = _Attempt(self._records, job_id)
        with self._lock:
            self._attempts[job_id] = attempt
        try:
            yield attempt
        finally:
            with self._lock:
                self._attempts.pop(job_id, None)
            attempt.close()


class _Attempt:
    """What an engine reports during one attempt, on its way to the job's row, and whether the attempt is wanted.

    The engine only leaves a word here, at any pace; `tell` writes the latest. The ticket alone is
    written at once: it is worth a piece that need not be paid twice.
    """

    def __init__(self, records: Records, job_id: str) -> None:
        self.cancelled: Final = threading.Event()
        self._records = records
        self._job_id = job_id
        self._lock = threading.Lock()
        self._latest: Progress | None = None
        self._ticket: str | None = None
        self._is_closed = False

    def report(self, progress: Progress) -> None:
        self._latest = progress
        if progress.ticket is not None and progress.ticket != self._ticket:
            self._ticket = progress.ticket
            self.tell()

    def tell(self) -> None:
        """Write the latest word to the job's row, if there is a new one; the database may be away for a while."""
        with self._lock:
            latest = self._latest
            if latest is None or self._is_closed:
                return
            try:
                is_wanted = self._records.progress(
                    self._job_id,
                    message=latest.message,
                    progress=latest.fraction,
                    queue_position=latest.queue_position,
                    ticket=self._ticket,
                )
            except JobStoreUnavailable as error:
                _log.warning("progress is not written", job=self._job_id, upstream_text=error.log_text)
                return
            if self._latest is latest:
                self._latest = None
            if not is_wanted:
                self.cancelled.set()

    def close(self) -> None:
        """Write nothing from now on: the next attempt has the word."""
        with self._lock:
            self._is_closed = True


@contextmanager
def never_failing() -> Iterator[None]:
    """Leave a workflow as it stands when DBOS cannot write down how a step of it ended, on a full disk for one.

    DBOS would either repeat that or take the workflow for failed, as the database's error is. Left, it is found and
    goes on (`Caretaker`).
    """
    try:
        yield
    except OperationalError as error:
        _log.warning("left for later", exc_info=error)
        raise Interrupted from error


def _stand_in(after: Outcome) -> StandIn | None:
    """Return who takes over, as the attempt before has left it."""
    return StandIn(after["engine"], after["reason"]) if "engine" in after else None


def _message(number: int, max_attempts: int, after: Outcome) -> str:
    """Return what the job says when attempt `number` begins."""
    if "engine" in after:
        return taking_over(after["engine"])
    if "number" in after:
        return WAITING_FOR_ENGINE
    return COMPOSING if number == 1 else retrying(number, max_attempts)


def failure(error: StudioError, *, request_id: str, scrub: Callable[[str], str]) -> Outcome:
    """Return the end of a job that has failed for good."""
    return {
        "status": "failed",
        "error": problem(error, request_id=request_id, scrub=scrub),
        "retryable": error.retryable,
        "message": FAILED if error.retryable else error.title,
    }


def _unforeseen(error: Exception) -> StudioError:
    told = InternalError()
    told.__cause__ = error
    return told


# ---------------------------------------------------------------------- the queue


class PieceQueue:
    """The way of jobs to the executors, for processes that do not run them. One object serves all threads."""

    def __init__(self, database: Database) -> None:
        quieten()
        self._client = DBOSClient(
            system_database_engine=database.engine,
            serializer=serializer(),
            application_name=APPLICATION,
            lazy=True,
            retry_connection_errors=False,
        )

    def migrate(self) -> None:
        """Bring DBOS's tables to the version of this code. Any number of processes may do so at once.

        Raises:
            JobStoreUnavailable: the database cannot be used right now.
        """
        with explained():
            self._client._sys_db.run_migrations()  # noqa: SLF001 - the public way makes an engine, and a file, of its own

    def enqueue(self, connection: Connection, job_id: str) -> None:
        """Hand the job to the executors, within the transaction of that connection."""
        options: EnqueueOptions = {
            "workflow_name": WORKFLOW,
            "queue_name": QUEUE,
            "workflow_id": job_id,
            "app_version": APPLICATION_VERSION,
            "priority": _PIECE_PRIORITY,
        }
        self._client.enqueue_in_transaction(connection, options, job_id)

    def enqueue_song(self, connection: Connection, song_id: str) -> None:
        """Hand a song whose sections are over to the executors, likewise; once more changes nothing."""
        options: EnqueueOptions = {
            "workflow_name": SONG_WORKFLOW,
            "queue_name": QUEUE,
            "workflow_id": song_id,
            "app_version": APPLICATION_VERSION,
        }
        self._client.enqueue_in_transaction(connection, options, song_id)

    def drop(self, job_id: str) -> None:
        """Take a job back that was cancelled before it began.

        Raises:
            JobStoreUnavailable: the database cannot be used right now.
        """
        with explained():
            self._client.cancel_workflow(job_id)


def serializer() -> DBOSPortableJSONSerializer:
    """Return how DBOS writes what it keeps. Its default is pickle, which runs whatever the database holds."""
    return DBOSPortableJSONSerializer()


def quieten() -> None:
    """Have DBOS write its warnings to the service's log: it has a handler of its own unless it finds one."""
    logger = logging.getLogger("dbos")
    logger.setLevel(logging.WARNING)
    logger.addFilter(_is_no_cancellation)  # the same one again changes nothing
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    """Tell whether the line is about anything but a job that was taken back just when DBOS was to begin it."""
    return not (record.exc_info and isinstance(record.exc_info[1], DBOSAwaitedWorkflowCancelledError))
