"""The parts that jobs are made of, opened together: once in each process, and not before they are needed."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from app.errors import JobStoreUnavailable
from app.jobs import Jobs
from app.settings import Settings

if TYPE_CHECKING:
    from app.jobs.database import Database
    from app.jobs.records import Records
    from app.store import FileStore

FILES_FOLDER: Final = Path("files")
"""Where finished files are within the data folder, unless they are in a bucket."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What jobs are made of. All of it serves all threads of one process, and must not cross a fork."""

    database: Database
    records: Records
    store: FileStore
    jobs: Jobs


def open_parts(settings: Settings, *, engine_name: str) -> Parts:
    """Open what the settings name, with all tables in place.

    Args:
        settings: Where jobs and files are kept, and how many, and for how long.
        engine_name: Of the engine that will make the pieces.

    Raises:
        JobStoreUnavailable: the database cannot be used right now; opening again may succeed.
    """
    from app.jobs.database import open_database
    from app.jobs.records import Records
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
    records = Records(database, ttl_s=settings.job_ttl_s)
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
    )
    return Parts(database, records, store, jobs)


class LateParts:
    """Opens the parts at the first call and returns the same ones from then on; a failure is not remembered."""

    def __init__(self, settings: Settings, *, engine_name: str) -> None:
        self._settings = settings
        self._engine_name = engine_name
        self._opening = threading.Lock()
        self._opened: Parts | None = None
        self._failure: JobStoreUnavailable | None = None

    def __call__(self) -> Parts:
        """Return the parts.

        Raises:
            JobStoreUnavailable: the database cannot be used right now.
        """
        if self._opened is not None:
            return self._opened
        earlier = self._failure
        with self._opening:
            return self._open(earlier)

    def _open(self, earlier: JobStoreUnavailable | None) -> Parts:
        if self._opened is not None:
            return self._opened
        # Who waited while another one tried in vain shares that answer: were each to try, one after the
        # other, the last of them would wait for the sum of all timeouts.
        if self._failure is not None and self._failure is not earlier:
            raise JobStoreUnavailable(self._failure.detail, retry_after_s=self._failure.retry_after_s)
        try:
            self._opened = open_parts(self._settings, engine_name=self._engine_name)
        except JobStoreUnavailable as error:
            self._failure = error
            raise
        return self._opened
