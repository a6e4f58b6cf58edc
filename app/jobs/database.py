"""The one database of the jobs: an SQLite file by default, Postgres where many machines share it.

Our tables and those of the workflow engine stand side by side on the same SQLAlchemy engine, so
that "the job is written and its workflow is enqueued" is one transaction. Nothing is opened
before the first use, and a failure of one use is not remembered: once the disk has room or the
server is back, the next use succeeds.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from app.errors import JobStoreUnavailable
from app.retry import Deadline
from app.settings import Settings

if TYPE_CHECKING:
    from psycopg.abc import PQGen

T = TypeVar("T")

SQLITE_FILE: Final = "studio.sqlite"
POOL_SIZE: Final = 10
POOL_OVERFLOW: Final = 10
POOL_TIMEOUT_S: Final = 10.0
LOCK_TIMEOUT_S: Final = 10.0
CONNECT_TIMEOUT_S: Final = 5
STATEMENT_TIMEOUT_S: Final = 30.0
IDLE_TRANSACTION_TIMEOUT_S: Final = 10.0
"""A process that was frozen within a transaction must not keep its rows from those who take its jobs over."""
ANSWER_TIMEOUT_S: Final = STATEMENT_TIMEOUT_S + 5.0
"""How long a Postgres may be silent that should have given the statement up: its disk or machine stands still."""
RECYCLE_S: Final = 1_800
RETRY_AFTER_S: Final = 5.0

_SQLITE_CACHE_KIB: Final = 1_000
"""For each connection; SQLite's own 2,000 would add up over the pool."""
_SQLITE_WAL_BYTES: Final = 16 * 2**20
"""What the write-ahead log is cut back to after a burst."""
_WAL_RETRY_S: Final = 0.01
_MIGRATION_LOCK: Final = 0x57_0D_10
"""Key of the advisory lock under which one process at a time changes our tables on Postgres."""

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
        CREATE TABLE studio_jobs (
            id TEXT PRIMARY KEY,
            owner TEXT NOT NULL,
            username TEXT,
            idempotency_key TEXT,
            digest TEXT NOT NULL,
            status TEXT NOT NULL,
            message TEXT NOT NULL,
            progress DOUBLE PRECISION,
            queue_position INTEGER,
            attempt INTEGER NOT NULL,
            max_attempts INTEGER NOT NULL,
            retryable BOOLEAN NOT NULL,
            engine TEXT NOT NULL,
            request TEXT NOT NULL,
            created_at_s DOUBLE PRECISION NOT NULL,
            started_at_s DOUBLE PRECISION,
            finished_at_s DOUBLE PRECISION,
            expires_at_s DOUBLE PRECISION NOT NULL,
            error TEXT,
            result TEXT,
            size_bytes BIGINT NOT NULL,
            ticket TEXT,
            cancel_requested BOOLEAN NOT NULL,
            change INTEGER NOT NULL,
            request_id TEXT NOT NULL
        )
        """,
        "CREATE UNIQUE INDEX studio_jobs_by_key ON studio_jobs (owner, idempotency_key)",
        "CREATE INDEX studio_jobs_by_owner ON studio_jobs (owner, created_at_s, id)",
        "CREATE INDEX studio_jobs_by_status ON studio_jobs (status, created_at_s, id)",
        "CREATE INDEX studio_jobs_by_expiry ON studio_jobs (expires_at_s)",
        """
        CREATE TABLE studio_job_changes (
            job_id TEXT NOT NULL,
            number INTEGER NOT NULL,
            at_s DOUBLE PRECISION NOT NULL,
            status TEXT NOT NULL,
            message TEXT NOT NULL,
            progress DOUBLE PRECISION,
            queue_position INTEGER,
            attempt INTEGER NOT NULL,
            PRIMARY KEY (job_id, number)
        )
        """,
        "CREATE TABLE studio_gone (id TEXT PRIMARY KEY, gone_at_s DOUBLE PRECISION NOT NULL)",
        "CREATE INDEX studio_gone_by_time ON studio_gone (gone_at_s)",
        """
        CREATE TABLE studio_executors (
            id TEXT PRIMARY KEY,
            started_at_s DOUBLE PRECISION NOT NULL,
            beat_at_s DOUBLE PRECISION NOT NULL
        )
        """,
    ),
    (
        """
        CREATE TABLE studio_training (
            owner TEXT NOT NULL,
            id TEXT NOT NULL,
            status TEXT NOT NULL,
            error TEXT,
            config TEXT,
            size_bytes BIGINT NOT NULL,
            updated_at_s DOUBLE PRECISION NOT NULL,
            PRIMARY KEY (owner, id)
        )
        """,
        "CREATE INDEX studio_training_by_time ON studio_training (updated_at_s)",
    ),
    (
        "ALTER TABLE studio_jobs ADD COLUMN sections INTEGER NOT NULL DEFAULT 0",
        """
        CREATE TABLE studio_song_sections (
            song_id TEXT NOT NULL,
            number INTEGER NOT NULL,
            job_id TEXT NOT NULL,
            PRIMARY KEY (song_id, number)
        )
        """,
        "CREATE INDEX studio_song_sections_by_job ON studio_song_sections (job_id, song_id)",
        "DROP INDEX studio_jobs_by_status",
        "CREATE INDEX studio_jobs_by_status ON studio_jobs (status, created_at_s, id, queue_position, sections)",
    ),
)
"""What leads from one version of our tables to the next, in words that both databases understand.

Only ever append: a version that was once released is never edited, and an older process must be
able to work on newer tables while a deployment is rolled out.
"""


class Database:
    """A pool of connections. One object serves all threads of a process; it must not cross a fork."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine: Final = engine
        """Connects and bounds as it should for whoever uses it; call `migrate` first."""
        self._is_migrated = False
        self._migrating = threading.Lock()

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Yield a connection for questions; what it is asked holds no locks.

        Raises:
            JobStoreUnavailable: the database cannot be used right now.
        """
        self.migrate()
        with explained(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Yield a connection whose transaction is committed at the end, or rolled back by an exception.

        On SQLite it has the only write lock from the start: what is read first and written then
        cannot change in between.

        Raises:
            JobStoreUnavailable: the database cannot be used right now; nothing was written.
        """
        self.migrate()
        with self._transaction() as connection:
            yield connection

    def migrate(self) -> None:
        """Bring our tables to the version of this code. Any number of processes may do so at once.

        Raises:
            JobStoreUnavailable: the database cannot be used right now.
        """
        if self._is_migrated:
            return
        with self._migrating:
            if not self._is_migrated:
                self._migrate()
                self._is_migrated = True

    def _migrate(self) -> None:
        with self._transaction() as connection:
            if not self.is_sqlite:
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            connection.execute(sa.text("CREATE TABLE IF NOT EXISTS studio_schema (version INTEGER PRIMARY KEY)"))
            version = connection.execute(sa.text("SELECT coalesce(max(version), 0) FROM studio_schema")).scalar_one()
            for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
                for statement in statements:
                    connection.execute(sa.text(statement))
                connection.execute(sa.text("INSERT INTO studio_schema VALUES (:version)"), {"version": number})

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with explained(), self.engine.begin() as connection:
            if self.is_sqlite:
                # The driver would begin before the first INSERT only, which is after the reading.
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection

    def scrub(self) -> None:
        """Let deleted texts leave the disk too: SQLite's log keeps old pages until it is emptied."""
        if self.is_sqlite:
            with self.reading() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the idle connections."""
        self.engine.dispose()


def open_database(settings: Settings) -> Database:
    """Return the database that the settings name; nothing is connected yet."""
    if settings.database_url is None:
        return Database(_sqlite_engine(settings.data_dir / SQLITE_FILE))
    return Database(_postgres_engine(settings.database_url.get_secret_value()))


# ---------------------------------------------------------------------- engines

_POOL: Final[Mapping[str, object]] = {
    "pool_size": POOL_SIZE,
    "max_overflow": POOL_OVERFLOW,
    "pool_timeout": POOL_TIMEOUT_S,
    "hide_parameters": True,  # an exception's text, and so the log, would quote prompts
}


def _sqlite_engine(path: Path) -> sa.Engine:
    url = sa.URL.create("sqlite", database=str(path.absolute()))
    engine = sa.create_engine(url, connect_args={"timeout": LOCK_TIMEOUT_S}, **_POOL)

    @event.listens_for(engine, "do_connect")
    def make_private_file(*_: object) -> None:
        # SQLite would make it readable for everyone, and gives its log the same mode.
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        except FileExistsError:
            # A file that is there must not be opened: closing it again would drop every lock that this process has
            # on it (POSIX), and whoever closes it last elsewhere would delete the log that is written here.
            # SQLite quietly falls back to a connection that can only read; this refuses that.
            if not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path)) from None

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = "IMMEDIATE"
        _turn_on_write_ahead_log(connection)
        # What was acknowledged survives a power cut too; NORMAL would do for a killed process alone.
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA secure_delete=ON")  # prompts are personal data
        connection.execute(f"PRAGMA cache_size=-{_SQLITE_CACHE_KIB}")
        connection.execute(f"PRAGMA journal_size_limit={_SQLITE_WAL_BYTES}")

    @event.listens_for(engine, "handle_error")
    def drop_broken_connections(context: sa.engine.ExceptionContext) -> None:
        # A connection that met a read-only or broken disk may stay so when the disk is well again.
        name = _sqlite_code(context.original_exception)
        if name.startswith(("READONLY", "CANTOPEN", "IOERR", "CORRUPT", "NOTADB")):
            context.is_disconnect = True

    return engine


def _turn_on_write_ahead_log(connection: sqlite3.Connection) -> None:
    # It stays on, so that this is only a look at the file but for the first time. Then, of processes that come
    # at the same moment, SQLite refuses all but one at once: its own timeout does not count for this.
    deadline = Deadline.after(LOCK_TIMEOUT_S)
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if deadline.expired or not _sqlite_code(error).startswith("BUSY"):
                raise
            time.sleep(_WAL_RETRY_S)
        else:
            return


def _postgres_engine(url: str, *, answer_timeout_s: float = ANSWER_TIMEOUT_S) -> sa.Engine:
    import psycopg

    class BoundedConnection(psycopg.Connection[Any]):
        """Does not wait for ever for a server that keeps the connection open and says nothing."""

        def wait(self, gen: PQGen[T], interval: float = 0.1, timeout: float | None = None) -> T:
            try:
                return super().wait(gen, interval=interval, timeout=timeout or answer_timeout_s)
            except psycopg.OperationalError:
                if self.info.transaction_status == psycopg.pq.TransactionStatus.ACTIVE:
                    self.close()  # its next answer would be the one to this question
                raise

    engine = sa.create_engine(
        sa.make_url(url).set(drivername="postgresql+psycopg"),
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 15_000,
            "application_name": "studio",
            # Statements that are prepared on one connection do not exist on another, and PgBouncer's
            # transactions may each get another one.
            "prepare_threshold": None,
        },
        pool_pre_ping=True,
        pool_recycle=RECYCLE_S,
        **_POOL,
    )

    @event.listens_for(engine, "do_connect")
    def connect(_dialect: object, _record: object, cargs: Sequence[Any], cparams: Mapping[str, Any]) -> DBAPIConnection:
        return cast("DBAPIConnection", BoundedConnection.connect(*cargs, **cparams))

    @event.listens_for(engine, "connect")
    def set_up(connection: DBAPIConnection, _: object) -> None:
        # Not as `options` of the connection: connection poolers in front of Postgres refuse those.
        cursor = connection.cursor()
        for name, limit_s in (
            ("statement_timeout", STATEMENT_TIMEOUT_S),
            ("lock_timeout", LOCK_TIMEOUT_S),
            ("idle_in_transaction_session_timeout", IDLE_TRANSACTION_TIMEOUT_S),
        ):
            cursor.execute(f"SET {name} = {int(limit_s * 1000)}")
        cursor.close()
        connection.commit()

    return engine


# ---------------------------------------------------------------------- failures

_SENTENCES: Final[Mapping[str, str]] = {
    "FULL": "The disk of the job database is full.",
    "READONLY": "The job database cannot be written to.",
    "CANTOPEN": "The job database cannot be opened.",
    "BUSY": "The job database is locked by another process.",
    "LOCKED": "The job database is locked by another process.",
    "IOERR": "The disk of the job database has a problem.",
    "CORRUPT": "The job database is damaged.",
    "NOTADB": "The job database is damaged.",
    "53100": "The disk of the job database is full.",
    "53300": "The job database has no connection left.",
    "25006": "The job database cannot be written to.",
    "55P03": "The job database is locked by another process.",
    "57014": "The job database took too long to answer.",
}
"""By the names of SQLite's result codes and by Postgres' SQLSTATE."""


@contextmanager
def explained() -> Iterator[None]:
    """Turn every way in which the database cannot be used into `JobStoreUnavailable`; mistakes of ours stay."""
    try:
        yield
    except DBAPIError as error:
        if _is_mistake(error):
            raise
        # Of the driver's error alone: SQLAlchemy's text around it holds the statement.
        raise JobStoreUnavailable(
            _sentence(error.orig), retry_after_s=RETRY_AFTER_S, log_text=str(error.orig)
        ) from error
    except PoolTimeoutError as error:
        detail = "The connections to the job database are all in use."
        raise JobStoreUnavailable(detail, retry_after_s=RETRY_AFTER_S) from error
    except OSError as error:
        detail = "The folder of the job database cannot be used."
        raise JobStoreUnavailable(detail, retry_after_s=RETRY_AFTER_S, log_text=str(error)) from error


def _is_mistake(error: DBAPIError) -> bool:
    """Tell whether the statement is to blame, and not the state of the database."""
    if isinstance(error, DataError | IntegrityError | NotSupportedError):
        return True
    if _sqlite_code(error.orig) == "ERROR":
        return not _lacks_table(error.orig)
    return isinstance(error, ProgrammingError) and not _lacks_table(error.orig)


def _lacks_table(error: BaseException | None) -> bool:
    # The workflow engine makes its tables at a time of its own.
    return getattr(error, "sqlstate", None) == "42P01" or str(error).startswith("no such table")


def _sentence(error: BaseException | None) -> str:
    if _lacks_table(error):
        return "The tables of the job database are not set up yet."
    code = getattr(error, "sqlstate", None) or _sqlite_code(error).split("_")[0]
    return _SENTENCES.get(code, "The job database cannot be reached.")


def _sqlite_code(error: BaseException | None) -> str:
    """Return e.g. `READONLY_DBMOVED`, or "" for what is not an error of SQLite."""
    return str(getattr(error, "sqlite_errorname", "")).removeprefix("SQLITE_")
