"""Who runs the jobs: one process at a time on an SQLite file, any number of them on Postgres.

An `Executor` takes a seat, launches DBOS, and looks after what DBOS leaves to us: cancelling, taking
over the jobs of the dead, expiry. Whoever has a seat must be the only one to run its jobs:

- on SQLite there is one seat for each data folder, a file that is locked (`LockedSeat`). The kernel
  frees it with the death of its process, and the next one takes over everything;
- on Postgres there are as many seats as processes, and a row for each in which it gives a sign of
  life (`BeatingSeat`). Whoever is silent for too long is taken for dead, and its jobs are handed to
  the living. A process that comes back from such a silence, as when its machine was suspended, finds
  its row gone and ends.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NoReturn, Protocol

import sqlalchemy as sa
import structlog
from dbos import DBOS, DBOSConfig, Queue, _workflow_commands

from app.errors import InternalError, JobStoreUnavailable
from app.jobs.database import Database
from app.jobs.lock import LOCK_FILE
from app.jobs.parts import LateParts, Parts
from app.jobs.songs import Songs
from app.jobs.tables import EXECUTORS
from app.jobs.workflow import APPLICATION, APPLICATION_VERSION, QUEUE, Pieces, failure, quieten, serializer
from app.logs import Scrubber
from app.settings import Settings
from app.studio import Studio

_log = structlog.get_logger(__name__)

EMBEDDED_ID: Final = "embedded"
"""All holders of a folder's lock are the same executor to DBOS, which takes up its own jobs when it starts."""

SQLITE_POLL_S: Final = 0.5
POSTGRES_POLL_S: Final = 1.0
"""How often DBOS looks for queued jobs: how long a job waits for a free executor, against idle CPU."""

UNUSED_POLL_S: Final = 30.0
ATTEND_S: Final = 0.5
BEAT_S: Final = 2.0
DEAD_AFTER_S: Final = 12.0
"""A silence of this length, in seconds, is taken for death; the database must be allowed a few slow answers."""

CARE_S: Final = 15.0
SWEEP_S: Final = 60.0
SEAT_RETRY_S: Final = 1.0
LONGEST_RETRY_S: Final = 10.0
FINISH_S: Final = 15
"""How long running jobs may take to finish when the process is asked to stop; what is left is taken over."""

_TAKEOVER_LOCK: Final = 0x57_0D_11
"""Key of the advisory lock under which one process at a time buries the dead."""
_CARE_LIMIT: Final = 200
_GIVEN_UP: Final = ("ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")
_UNFIT: Final = 1
"""The exit code of a process that could do harm; whatever supervises it starts another one."""
_NOT_RUN: Final = "Jobs are accepted but not run right now; the log has the reason."


class SeatLost(Exception):
    """This process was taken for dead, and others go on with its jobs."""


class Seat(Protocol):
    """The right to run jobs."""

    executor_id: str
    """How DBOS knows the holder."""

    def take(self) -> bool:
        """Take the seat and return True, or return False while somebody else has it."""

    def keep(self) -> None:
        """Say that the holder is alive; to be called every `BEAT_S`.

        Raises:
            SeatLost: the seat was given to others.
        """

    def take_over(self) -> None:
        """Hand the jobs of those who are not alive to the living; DBOS must have been launched."""

    def leave(self) -> None:
        """Give the seat up, also if it was not taken."""


class LockedSeat:
    """The one seat of a data folder."""

    executor_id = EMBEDDED_ID

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK_FILE
        self._descriptor: int | None = None

    def take(self) -> bool:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def keep(self) -> None:
        """Do nothing: the kernel knows who is alive."""

    def take_over(self) -> None:
        """Do nothing: whoever has the only seat is the same executor to DBOS as the one before."""

    def leave(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class BeatingSeat:
    """A seat of one's own, among any number of them on one Postgres.

    Time is the database's: the clocks of the machines may differ.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            database: A Postgres.
            clock: Monotonic seconds.
        """
        self.executor_id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._database = database
        self._clock = clock
        self._is_taken = False
        self._beat_at_s = 0.0
        self._unbroken_since_s = 0.0

    def take(self) -> bool:
        with self._database.writing() as connection:
            connection.execute(
                sa.insert(EXECUTORS).values(
                    id=self.executor_id, started_at_s=_DATABASE_NOW_S, beat_at_s=_DATABASE_NOW_S
                )
            )
        self._is_taken = True
        self._beat_at_s = self._unbroken_since_s = self._clock()
        return True

    def keep(self) -> None:
        with self._database.writing() as connection:
            beat = connection.execute(
                sa.update(EXECUTORS).where(EXECUTORS.c.id == self.executor_id).values(beat_at_s=_DATABASE_NOW_S)
            )
        if not beat.rowcount and self._is_taken:  # and was not left just now
            raise SeatLost
        now_s = self._clock()
        if now_s - self._beat_at_s > DEAD_AFTER_S / 2:
            # The others may have been silent for the same reason, such as a database that was away.
            self._unbroken_since_s = now_s
        self._beat_at_s = now_s

    def leave(self) -> None:
        if self._is_taken:
            self._is_taken = False
            with self._database.writing() as connection:
                connection.execute(sa.delete(EXECUTORS).where(EXECUTORS.c.id == self.executor_id))

    def take_over(self) -> None:
        if self._beat_at_s - self._unbroken_since_s < DEAD_AFTER_S:
            return
        with self._database.writing() as connection:
            if not connection.execute(sa.select(sa.func.pg_try_advisory_xact_lock(_TAKEOVER_LOCK))).scalar_one():
                return
            dead = sa.delete(EXECUTORS).where(EXECUTORS.c.beat_at_s < _DATABASE_NOW_S - DEAD_AFTER_S)
            for row in connection.execute(dead.returning(EXECUTORS.c.id)):
                _log.warning("executor is dead", executor=row.id)
            alive = set(connection.execute(sa.select(EXECUTORS.c.id)).scalars())
            pending = DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
            orphaned = sorted({each.executor_id for each in pending if each.executor_id} - alive)
            if orphaned:
                # Private, and the only way that leaves alone what a living executor has taken up meanwhile.
                handles = DBOS._recover_pending_workflows(orphaned)  # noqa: SLF001
                _log.warning("took jobs over", executors=orphaned, jobs=len(handles))


_DATABASE_NOW_S: Final = sa.extract("epoch", sa.func.clock_timestamp())


class Executor:
    """Runs jobs in this process for as long as it has a seat.

    Whatever goes wrong, the next try comes: a database that is away when the process starts must
    not leave the jobs waiting for ever.
    """

    def __init__(
        self, settings: Settings, studio: Studio, parts: LateParts, *, exit: Callable[[int], None] = os._exit
    ) -> None:
        """
        Args:
            settings: How many jobs at a time, and for how long.
            studio: Makes the music.
            parts: Opens where the jobs are kept.
            exit: Ends this process at once, with an exit code: what it does could be done twice otherwise.
        """
        self._exit = exit
        self._settings = settings
        self._studio = studio
        self._parts = parts
        self._scrub = Scrubber(settings.secrets)
        self._stopping = threading.Event()
        self._is_served = False
        self._failing: set[str] = set()
        self._kept: Seat | None = None

    def health(self) -> str | None:
        """Return why jobs are not run, or None while they are, here or by the process that holds the lock."""
        return None if self._is_served and not self._failing else _NOT_RUN

    def run(self, *, finish_s: int = FINISH_S) -> None:
        """Run jobs until `stop` is called; then give those that are at work `finish_s` seconds to finish."""
        wait_s = SEAT_RETRY_S
        while not self._stopping.is_set():
            try:
                if self._run_once(finish_s):
                    wait_s = SEAT_RETRY_S
            except Exception as error:  # noqa: BLE001 - an executor that gave up would leave all jobs waiting
                self._is_served = False
                _log.warning("executor failed", next_try_in_s=wait_s, exc_info=error)
                self._stopping.wait(wait_s)
                wait_s = min(wait_s * 2, LONGEST_RETRY_S)

    def stop(self) -> None:
        """Have `run` return soon."""
        self._stopping.set()

    def leave(self) -> None:
        """Let others go on at once with the jobs that are still at work; this process must end with the next breath."""
        if self._kept:
            with suppress(JobStoreUnavailable):
                self._kept.leave()

    def _run_once(self, finish_s: int) -> bool:
        """Run jobs if there is a seat, and return whether there was one."""
        parts = self._parts()
        seat = _seat(self._settings, parts.database)
        if not seat.take():
            self._is_served = True
            self._stopping.wait(SEAT_RETRY_S)
            return False
        pieces = Pieces(
            parts.records,
            parts.store,
            self._studio,
            timeout_s=self._settings.job_timeout_s,
            deadline_s=self._settings.job_deadline_s,
            scrub=self._scrub,
        )
        over = threading.Event()
        try:
            self._serve(parts, seat, pieces, finish_s, over)
        finally:
            # Attempts may go on although nobody waits for them any more. As long as they do, the seat is theirs: who
            # took it now would begin them a second time.
            if pieces.active:
                self._kept = seat
            else:
                over.set()
                seat.leave()
        return True

    def _serve(self, parts: Parts, seat: Seat, pieces: Pieces, finish_s: int, over: threading.Event) -> None:
        songs = Songs(parts.records, parts.store, pieces, scrub=self._scrub)
        try:
            # None of these may have to wait for another, least of all the heart.
            self._repeat(seat.keep, "heart", every_s=BEAT_S, until=over)
            with _launched(self._settings, parts.database, pieces, seat.executor_id, finish_s, songs=songs):
                _log.info("running jobs", executor=seat.executor_id)
                self._is_served = True
                caretaker = Caretaker(parts, pieces, seat.executor_id, scrub=self._scrub)
                self._repeat(pieces.attend, "attendant", every_s=ATTEND_S, until=over)
                self._repeat(seat.take_over, "undertaker", every_s=BEAT_S, until=self._stopping)
                self._repeat(caretaker.look_around, "caretaker", every_s=CARE_S, until=self._stopping)
                self._repeat(caretaker.sweep, "sweeper", every_s=SWEEP_S, until=self._stopping)
                self._stopping.wait()
        except Exception:
            if pieces.active:
                _log.critical("jobs are at work that would be begun again, this process ends", exc_info=True)
                self._exit(_UNFIT)
            raise

    def _repeat(self, action: Callable[[], object], name: str, *, every_s: float, until: threading.Event) -> None:
        """Do it again and again, in a thread of its own, whatever comes of it."""

        def rounds() -> None:
            while not until.wait(every_s):
                try:
                    action()
                    self._failing.discard(name)
                except SeatLost:
                    _log.critical("taken for dead, this process ends")
                    self._exit(_UNFIT)
                except Exception as error:  # noqa: BLE001 - the next round must come
                    # Such as a database that is away, for whose return DBOS waits as well.
                    self._failing.add(name)
                    _log.warning("round failed", of=name, exc_info=error)

        self._failing.discard(name)
        threading.Thread(target=rounds, name=name, daemon=True).start()


class Caretaker:
    """Deletes what has expired, and finds jobs that DBOS has let go of."""

    def __init__(self, parts: Parts, pieces: Pieces, executor_id: str, *, scrub: Callable[[str], str]) -> None:
        self._parts = parts
        self._pieces = pieces
        self._executor_id = executor_id
        self._scrub = scrub
        self._stranded: set[str] = set()

    def sweep(self) -> None:
        """Delete what has expired."""
        self._parts.jobs.sweep()
        self._parts.training.sweep()

    def look_around(self) -> None:
        """Go on with what stands still, end what was given up, and forget what is over."""
        self._resume_stranded()
        self._fail_given_up()
        self._parts.records.resume_songs()
        over = DBOS.list_workflows(status="SUCCESS", limit=_CARE_LIMIT, load_input=False, load_output=False)
        if over:
            DBOS.delete_workflows([each.workflow_id for each in over])

    def _resume_stranded(self) -> None:
        """Put back into the queue what DBOS thinks is running here and is not.

        A workflow is left like that when DBOS could not write down how it had ended, for one on a full
        disk. Twice in a row: between taking a workflow up and running it there is a moment.
        """
        pending = DBOS.list_workflows(
            status="PENDING", executor_id=self._executor_id, load_input=False, load_output=False
        )
        idle = {each.workflow_id for each in pending} - self._pieces.active
        if stranded := sorted(idle & self._stranded):
            _log.warning("resuming stranded jobs", jobs=stranded)
            DBOS.resume_workflows(stranded, queue_name=QUEUE)
        self._stranded = idle

    def _fail_given_up(self) -> None:
        """End the jobs whose workflows DBOS has given up: after too many crashes, or on a mistake of ours."""
        given_up = DBOS.list_workflows(status=list(_GIVEN_UP), limit=_CARE_LIMIT, load_input=False, load_output=False)
        for each in given_up:
            job = self._parts.records.get(each.workflow_id)
            if job is not None and not job.is_final:
                _log.error("workflow was given up", job=job.id, workflow_status=each.status)
                end = failure(InternalError(), request_id=job.request_id, scrub=self._scrub)
                self._parts.records.fail(job.id, end["error"], retryable=end["retryable"], message=end["message"])
        if given_up:
            DBOS.delete_workflows([each.workflow_id for each in given_up])


class Embedded:
    """An executor beside a web service, in a thread of its own."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._thread = threading.Thread(target=executor.run, name="executor", daemon=True)

    def start(self) -> None:
        """Begin to run jobs; once, and in the process that serves requests, not in one that forks it."""
        self._thread.start()

    def health(self) -> str | None:
        """Return why jobs are not run, or None while they are, by this process or by the one that has the seat."""
        return self._executor.health()

    def stop(self) -> None:
        """Take no more jobs; may be called from a signal handler."""
        self._executor.stop()

    def join(self, timeout_s: float) -> None:
        """Wait until running jobs are finished, or are to be finished by the next process that takes the seat."""
        self._thread.join(timeout_s)

    def leave(self) -> None:
        """Let others go on at once with the jobs that are still at work; this process must end with the next breath."""
        self._executor.leave()


class Worker:
    """An executor as a program of its own: `studio worker`."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    def run(self) -> NoReturn:
        """Run jobs until SIGTERM or SIGINT, and then end the process within 25 seconds, with exit code 0.

        Jobs that are not finished by then go on elsewhere. Must be called from the main thread.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._executor.stop())
        # Not in this thread: a signal that comes while its handler's thread waits for the very event can lock up.
        running = threading.Thread(target=self._executor.run, name="executor")
        running.start()
        running.join()
        # The usual end would wait for the threads of jobs that are still at work.
        logging.shutdown()
        self._executor.leave()
        os._exit(0)


def _seat(settings: Settings, database: Database) -> Seat:
    return LockedSeat(settings.data_dir) if database.is_sqlite else BeatingSeat(database)


@contextmanager
def _launched(
    settings: Settings, database: Database, pieces: Pieces, executor_id: str, finish_s: int, *, songs: Songs
) -> Iterator[None]:
    """Have DBOS run workflows in this process for as long as the block lasts."""
    quieten()
    config: DBOSConfig = {
        "name": APPLICATION,
        "system_database_engine": database.engine,
        "application_version": APPLICATION_VERSION,
        "executor_id": executor_id,
        "serializer": serializer(),
        "use_listen_notify": False,
        "scheduler_polling_interval_sec": 3600.0,
        "log_level": "WARNING",
    }
    try:
        dbos = DBOS(config=config)
        _calm(dbos)
        pieces.register()
        songs.register()
        DBOS.launch()
        _keep_own_limit(dbos, _at_a_time(settings))
        DBOS.register_queue(
            QUEUE,
            worker_concurrency=_at_a_time(settings),
            global_concurrency=settings.job_global_limit,
            polling_interval_sec=SQLITE_POLL_S if database.is_sqlite else POSTGRES_POLL_S,
            on_conflict="always_update",
        )
        yield
    finally:
        pieces.stop()
        with suppress(sa.exc.SQLAlchemyError):
            DBOS.destroy(destroy_registry=True, workflow_completion_timeout_sec=finish_s if pieces.active else 0)


def _calm(dbos: DBOS) -> None:
    """Have DBOS look only now and then for what does not exist here: delays, timeouts, work on a queue of its own.

    It would look each second, which is a third of what an idle process costs.
    """
    _workflow_commands._BACKGROUND_JOBS_INTERVAL_SEC = UNUSED_POLL_S  # noqa: SLF001 - there is no setting
    dbos._registry.get_internal_queue()._polling_interval_sec = UNUSED_POLL_S  # noqa: SLF001


def _keep_own_limit(dbos: DBOS, at_a_time: int) -> None:
    """Have this process keep to its own limit: DBOS reads everybody's from one row, written by who started last."""
    read = dbos._sys_db.get_queue  # noqa: SLF001 - there is no setting

    def get_queue(name: str, **options: Any) -> Queue | None:
        queue = read(name, **options)
        if queue is not None and name == QUEUE:
            queue._worker_concurrency = at_a_time  # noqa: SLF001
        return queue

    dbos._sys_db.get_queue = get_queue  # type: ignore[method-assign]  # noqa: SLF001


def _at_a_time(settings: Settings) -> int:
    """Return how many jobs run here at a time; DBOS wants it no higher than the limit for all."""
    return min(settings.job_workers, settings.job_global_limit or settings.job_workers)
