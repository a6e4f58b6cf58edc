"""The parts that jobs are made of, opened together: once in each process, and not before they are needed."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from app.errors import JobStoreUnavailable
from app.jobs import Jobs
from app.jobs.gate import Gate
from app.retry import Clock
from app.settings import Settings

if TYPE_CHECKING:
    from app.jobs.database import Database
    from app.jobs.records import Records
    from app.jobs.training import TrainingRuns
    from app.store import FileStore

FAILURE_GOOD_S: Final = 5.0
"""How long a failure to open is everybody's answer. Opening may take that long to fail, and whoever tries waits."""

FILES_FOLDER: Final = Path("files")
"""Where finished files are within the data folder, unless they are in a bucket."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What jobs are made of. All of it serves all threads of one process, and must not cross a fork."""

    database: Database
    records: Records
    store: FileStore
    jobs: Jobs
    training: TrainingRuns


def open_parts(settings: Settings, *, engine_name: str, gate: Gate | None = None) -> Parts:
    """Open what the settings name, with all tables in place.

    Args:
        settings: Where jobs and files are kept, and how many, and for how long.
        engine_name: Of the engine that will make the pieces.
        gate: Bounds how many threads ask about jobs at a time; one of their own by default.

    Raises:
        JobStoreUnavailable: the database cannot be used right now; opening again may succeed.
    """
    from app.jobs.database import open_database
    from app.jobs.records import Records
    from app.jobs.training import TrainingRuns
    from app.jobs.workflow import PieceQueue
    from app.store import FileStore

    database = open_database(settings)
    try:
        database.migrate()
        queue = PieceQueue(database)
        queue.migrate()
    except BaseException:
        database.close()
        raise
    records = Records(database, ttl_s=settings.job_ttl_s, queue=queue)
    store = FileStore(settings.store_url, folder=settings.data_dir / FILES_FOLDER)
    jobs = Jobs(
        records,
        store,
        queue=queue,
        engine=engine_name,
        max_attempts=settings.job_attempts,
        max_queued=settings.max_queued,
        max_bytes=settings.store_max_bytes,
        ttl_s=settings.job_ttl_s,
        redirects=settings.store_redirects,
        gate=gate,
    )
    return Parts(database, records, store, jobs, TrainingRuns(database, ttl_s=settings.job_ttl_s, gate=gate))


class LateParts:
    """Opens the parts at the first call and returns the same ones from then on.

    A failure is the answer to everybody for `FAILURE_GOOD_S`, those included who waited meanwhile; then one
    of those who come next tries again. One object serves all threads of a process.
    """

    def __init__(self, settings: Settings, *, engine_name: str, clock: Clock = time.monotonic) -> None:
        """
        Args:
            settings: Where jobs and files are kept, and how many, and for how long.
            engine_name: Of the engine that will make the pieces.
            clock: Monotonic seconds.
        """
        self._settings = settings
        self._engine_name = engine_name
        self._clock = clock
        self._gate = Gate()
        self._opening = threading.Lock()
        self._opened: Parts | None = None
        self._failure: tuple[JobStoreUnavailable, float] | None = None
        """The last one, and until when it is good."""

    @property
    def are_open(self) -> bool:
        """Whether somebody has needed them by now."""
        return self._opened is not None

    def __call__(self) -> Parts:
        """Return the parts, for as many threads as may come.

        Raises:
            JobStoreUnavailable: the database cannot be used right now.
        """
        if self._opened is not None:
            return self._opened
        # Looked at before the lock too: who need not try need not wait for whoever does.
        self._raise_recent_failure()
        with self._opening:
            return self._open()

    def jobs(self) -> Jobs:
        """Return the jobs to a request, of which few may wait for a database that hangs.

        Raises:
            JobStoreUnavailable: the database cannot be used right now, or too many wait for it.
        """
        return self._for_request().jobs

    def training(self) -> TrainingRuns:
        """Return the training runs to a request, likewise.

        Raises:
            JobStoreUnavailable: as for `jobs`.
        """
        return self._for_request().training

    def _for_request(self) -> Parts:
        if self._opened is not None:
            return self._opened
        with self._gate.passing():
            return self()

    def _raise_recent_failure(self) -> None:
        if self._failure is None:
            return
        failure, until_s = self._failure
        if self._clock() < until_s:
            raise JobStoreUnavailable(failure.detail, retry_after_s=failure.retry_after_s)

    def _open(self) -> Parts:
        if self._opened is not None:
            return self._opened
        self._raise_recent_failure()
        try:
            self._opened = open_parts(self._settings, engine_name=self._engine_name, gate=self._gate)
        except JobStoreUnavailable as error:
            self._failure = error, self._clock() + FAILURE_GOOD_S
            raise
        return self._opened
