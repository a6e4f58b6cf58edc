"""The database of the jobs: who may read it, how it comes to its tables, and what is said when it cannot be used."""

from __future__ import annotations

import dataclasses
import os
import sqlite3
import stat
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from job_samples import PROCESSES, TTL_S, NotingQueue, TickingClock, at_once, migrate, queued_job
from real.postgres import Postgres
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from app.engines.engine import Brief
from app.errors import JobStoreUnavailable
from app.jobs.database import MIGRATIONS, SQLITE_FILE, Database, open_database
from app.jobs.job import JobRequest, new_id
from app.jobs.records import Records
from app.jobs.tables import CHANGES, EXECUTORS, GONE, JOBS
from app.settings import Settings


@pytest.fixture
def sqlite_database(sqlite_settings: Settings) -> Iterator[Database]:
    with closing(open_database(sqlite_settings)) as database:
        yield database


def versions(database: Database) -> list[int]:
    with database.reading() as connection:
        return list(connection.execute(sa.text("SELECT version FROM studio_schema ORDER BY version")).scalars())


# ---------------------------------------------------------------------- files


def test_nothing_is_opened_before_it_is_used(sqlite_settings: Settings) -> None:
    open_database(sqlite_settings)

    assert not sqlite_settings.data_dir.exists()


def test_nobody_else_can_read_the_files(sqlite_settings: Settings, sqlite_database: Database) -> None:
    mask = os.umask(0)
    try:
        records = Records(sqlite_database, ttl_s=TTL_S, queue=NotingQueue())
        queued_job(records, TickingClock())
    finally:
        os.umask(mask)

    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in sqlite_settings.data_dir.iterdir()}
    assert files == {SQLITE_FILE: 0o600, f"{SQLITE_FILE}-wal": 0o600, f"{SQLITE_FILE}-shm": 0o600}
    assert stat.S_IMODE(sqlite_settings.data_dir.stat().st_mode) == 0o700


def test_who_looks_in_from_outside_takes_nothing_along(sqlite_settings: Settings, sqlite_database: Database) -> None:
    """Whoever closes the file last deletes the log beside it, and only locks tell that others have it open."""
    with sqlite_database.reading(), sqlite_database.reading():  # two connections
        pass
    path = sqlite_settings.data_dir / SQLITE_FILE
    look = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA user_version').fetchall(); c.close()"
    )

    subprocess.run([sys.executable, "-c", look, path], check=True, timeout=60)

    assert path.with_name(f"{SQLITE_FILE}-wal").exists()


def test_a_folder_that_exists_stays_as_it_is(sqlite_settings: Settings, sqlite_database: Database) -> None:
    sqlite_settings.data_dir.mkdir()
    sqlite_settings.data_dir.chmod(0o750)

    sqlite_database.migrate()

    assert stat.S_IMODE(sqlite_settings.data_dir.stat().st_mode) == 0o750


def test_readers_do_not_wait_for_a_writer(sqlite_database: Database) -> None:
    with sqlite_database.writing(), sqlite_database.reading() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM studio_jobs")).scalar_one() == 0


def test_a_writer_has_the_lock_before_it_reads(sqlite_settings: Settings, sqlite_database: Database) -> None:
    with sqlite_database.writing() as connection:
        connection.execute(sa.text("SELECT count(*) FROM studio_jobs"))

        file = sqlite_settings.data_dir / SQLITE_FILE
        with closing(sqlite3.connect(file, timeout=0)) as other, pytest.raises(sqlite3.OperationalError, match="lock"):
            other.execute("BEGIN IMMEDIATE")


def test_an_exception_undoes_what_was_written(database: Database, clock: TickingClock) -> None:
    def write_and_fail() -> None:
        with database.writing() as connection:
            connection.execute(sa.insert(GONE), {"id": "x", "gone_at_s": clock()})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()

    with database.reading() as connection:
        assert connection.execute(sa.select(GONE)).all() == []


# ---------------------------------------------------------------------- tables


def test_the_tables_are_those_that_are_asked(database: Database) -> None:
    database.migrate()

    inspector = sa.inspect(database.engine)
    for table in (JOBS, CHANGES, GONE, EXECUTORS):
        columns = {column["name"]: column for column in inspector.get_columns(table.name)}
        assert list(columns) == [column.name for column in table.columns]
        for column in table.columns:
            kind = columns[column.name]["type"]
            assert kind._type_affinity is column.type._type_affinity, column
            assert column.primary_key or columns[column.name]["nullable"] == column.nullable, column
        keys = inspector.get_pk_constraint(table.name)["constrained_columns"]
        assert keys == [column.name for column in table.primary_key]


def test_migrating_again_changes_nothing(database_settings: Settings, database: Database) -> None:
    database.migrate()
    database.migrate()
    with closing(open_database(database_settings)) as other:
        other.migrate()

    assert versions(database) == list(range(1, len(MIGRATIONS) + 1))


def test_many_processes_may_migrate_at_once(database_settings: Settings) -> None:
    assert at_once(migrate, database_settings) == [None] * PROCESSES

    with closing(open_database(database_settings)) as database:
        assert versions(database) == list(range(1, len(MIGRATIONS) + 1))


def test_a_migration_that_fails_leaves_nothing_and_can_be_repeated(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE studio_gone (id TEXT)"))

    with pytest.raises((OperationalError, ProgrammingError)):
        database.migrate()
    assert sa.inspect(database.engine).get_table_names() == ["studio_gone"]

    with database.engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE studio_gone"))
    assert versions(database) == list(range(1, len(MIGRATIONS) + 1))


def test_tables_of_a_newer_release_are_left_alone(database_settings: Settings, database: Database) -> None:
    with database.writing() as connection:
        connection.execute(sa.text("INSERT INTO studio_schema VALUES (999)"))

    with closing(open_database(database_settings)) as older:
        older.migrate()

        assert versions(older)[-1] == 999


# ---------------------------------------------------------------------- what is said when it cannot be used


@contextmanager
def each_connection(database: Database, pragma: Callable[[], str]) -> Iterator[None]:
    """Tell SQLite something whenever a connection is taken from the pool."""

    def tell(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute(f"PRAGMA {pragma()}")

    sa.event.listen(database.engine, "checkout", tell)
    yield
    sa.event.remove(database.engine, "checkout", tell)


def unavailable(act: Callable[[], object]) -> str:
    """Return what is said about the database that the act finds unusable."""
    with pytest.raises(JobStoreUnavailable) as raised:
        act()
    assert raised.value.retry_after_s
    return raised.value.detail


@pytest.mark.parametrize(
    ("broken", "well", "detail"),
    [
        ("max_page_count=1", "max_page_count=1073741823", "The disk of the job database is full."),
        ("query_only=ON", "query_only=OFF", "The job database cannot be written to."),
    ],
)
def test_a_disk_that_takes_nothing_keeps_nothing_until_it_is_well_again(
    sqlite_database: Database, clock: TickingClock, broken: str, well: str, detail: str
) -> None:
    records = Records(sqlite_database, ttl_s=TTL_S, queue=NotingQueue(), clock=clock)
    before = queued_job(records, clock)
    large = JobRequest(Brief("x" * 100_000, 5.0, seed=1))
    state = broken

    with each_connection(sqlite_database, lambda: state):
        assert unavailable(lambda: queued_job(records, clock, request=large)) == detail
        assert [job.id for job in records.page("")[0]] == [before.id]

        state = well
        after = queued_job(records, clock, request=large)
        assert [job.id for job in records.page("")[0]] == [after.id, before.id]


def test_a_lock_that_somebody_else_keeps_is_waited_for_and_then_given_up(
    sqlite_settings: Settings, sqlite_database: Database, clock: TickingClock
) -> None:
    records = Records(sqlite_database, ttl_s=TTL_S, queue=NotingQueue(), clock=clock)
    sqlite_database.migrate()

    with (
        each_connection(sqlite_database, lambda: "busy_timeout=20"),
        closing(sqlite3.connect(sqlite_settings.data_dir / SQLITE_FILE)) as other,
    ):
        other.execute("BEGIN IMMEDIATE")
        assert unavailable(lambda: queued_job(records, clock)) == "The job database is locked by another process."
        assert records.page("") == ([], None)
        other.rollback()
        queued_job(records, clock)


def test_a_folder_that_cannot_be_used_is_tried_again(sqlite_settings: Settings, sqlite_database: Database) -> None:
    sqlite_settings.data_dir.write_text("in the way")
    assert unavailable(sqlite_database.migrate) == "The folder of the job database cannot be used."

    sqlite_settings.data_dir.unlink()
    sqlite_database.migrate()


def test_a_damaged_file_is_told(sqlite_settings: Settings, sqlite_database: Database) -> None:
    sqlite_settings.data_dir.mkdir()
    file = sqlite_settings.data_dir / SQLITE_FILE
    file.write_bytes(b"This is no database. " * 1_000)
    assert unavailable(sqlite_database.migrate) == "The job database is damaged."

    file.unlink()
    sqlite_database.migrate()


def test_a_pool_that_is_used_up_is_told(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/x", pool_size=1, max_overflow=0, pool_timeout=0.01)
    with closing(Database(engine)) as database, database.reading():
        assert unavailable(lambda: _read(database)) == "The connections to the job database are all in use."


def _read(database: Database) -> None:
    with database.reading():
        pass


def test_tables_of_the_workflow_engine_that_are_not_there_yet_are_told(database: Database) -> None:
    def ask() -> None:
        with database.reading() as connection:
            connection.execute(sa.text("SELECT * FROM workflow_status"))

    assert unavailable(ask) == "The tables of the job database are not set up yet."


def test_a_mistake_of_ours_is_not_blamed_on_the_database(database: Database) -> None:
    with pytest.raises((OperationalError, ProgrammingError)), database.reading() as connection:
        connection.execute(sa.text("SELECT nonsense FROM studio_jobs"))
    with pytest.raises(IntegrityError), database.writing() as connection:
        connection.execute(sa.text("INSERT INTO studio_gone VALUES ('x', 1), ('x', 2)"))


def test_an_error_does_not_quote_prompts(database: Database, clock: TickingClock) -> None:
    records, secret = Records(database, ttl_s=TTL_S, queue=NotingQueue()), os.urandom(8).hex()
    with database.writing() as connection:
        connection.execute(sa.text("DROP TABLE studio_jobs"))

    with pytest.raises(JobStoreUnavailable) as raised:
        queued_job(records, clock, request=JobRequest(Brief(secret, 5.0, seed=1)), key=secret)

    assert secret not in "".join(traceback.format_exception(raised.value))
    assert secret not in raised.value.log_text


# ---------------------------------------------------------------------- Postgres


def test_a_server_that_was_gone_is_used_again(clock: TickingClock) -> None:
    with Postgres("fsync=off") as server:
        settings = Settings.model_validate({"STUDIO_DATABASE_URL": server.new_database()})
        with closing(open_database(settings)) as database:
            records = Records(database, ttl_s=TTL_S, queue=NotingQueue(), clock=clock)
            before = queued_job(records, clock)

            server.stop()
            assert unavailable(lambda: queued_job(records, clock)) == "The job database cannot be reached."
            assert unavailable(lambda: records.get(before.id)) == "The job database cannot be reached."

            server.start()
            after = queued_job(records, clock)
            assert [job.id for job in records.page("")[0]] == [after.id, before.id]


def test_a_transaction_that_the_server_left_is_not_there(clock: TickingClock) -> None:
    with Postgres("fsync=off") as server:
        settings = Settings.model_validate({"STUDIO_DATABASE_URL": server.new_database()})
        with closing(open_database(settings)) as database:
            records = Records(database, ttl_s=TTL_S, queue=NotingQueue(), clock=clock)
            known = queued_job(records, clock, key="known")

            job = dataclasses.replace(known, id=new_id())

            def write() -> None:
                with records.writing() as connection:
                    records.insert(connection, job, idempotency_key="lost")
                    server.stop()

            unavailable(write)

            server.start()
            assert records.by_key("", "lost") is None
            assert records.by_key("", "known") is not None


def test_a_question_on_postgres_has_a_limit(database_url: str) -> None:
    settings = Settings.model_validate({"STUDIO_DATABASE_URL": database_url})

    def ask() -> None:
        with database.reading() as connection:
            connection.execute(sa.text("SET statement_timeout = 20"))
            connection.execute(sa.text("SELECT pg_sleep(5)"))

    with closing(open_database(settings)) as database:
        with database.reading() as connection:
            limits = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
            assert [connection.execute(sa.text(f"SHOW {name}")).scalar_one() for name in limits] == [
                "30s",
                "10s",
                "10s",
            ]
        assert unavailable(ask) == "The job database took too long to answer."


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_both_names_of_postgres_are_understood(database_url: str, scheme: str) -> None:
    settings = Settings.model_validate({"STUDIO_DATABASE_URL": database_url.replace("postgresql", scheme, 1)})

    with closing(open_database(settings)) as database:
        database.migrate()


def test_a_server_that_is_not_there_is_told() -> None:
    settings = Settings.model_validate({"STUDIO_DATABASE_URL": "postgresql://x:geheim@127.0.0.1:1/x"})

    with closing(open_database(settings)) as database, pytest.raises(JobStoreUnavailable) as raised:
        database.migrate()

    assert raised.value.detail == "The job database cannot be reached."
    assert "geheim" not in "".join(traceback.format_exception(raised.value))
    assert "geheim" not in repr(database.engine)
