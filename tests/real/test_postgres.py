"""The Postgres of the tests does what the tests build on, and ours bears what Postgres does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from real.postgres import Postgres
from sqlalchemy.exc import OperationalError

from app.errors import JobStoreUnavailable
from app.jobs.database import CONNECT_TIMEOUT_S, Database, _postgres_engine

pytestmark = pytest.mark.real

TESTS = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    """Return one that may be stopped."""
    with Postgres("fsync=off") as server:
        yield server


def test_each_test_has_a_database_of_its_own(server: Postgres) -> None:
    first, second = server.new_database(), server.new_database()

    with psycopg.connect(first) as connection:
        connection.execute("CREATE TABLE kept (a int)")
    with psycopg.connect(second) as connection:
        assert connection.execute("SELECT to_regclass('kept')").fetchone() == (None,)


def test_what_was_committed_survives_a_stop(server: Postgres) -> None:
    url = server.new_database()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept (a int)")

    server.stop()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url, connect_timeout=2)
    server.start()

    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)


def test_nobody_answers_during_a_pause(server: Postgres) -> None:
    url = server.new_database()

    server.pause()
    try:
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url, connect_timeout=2)
    finally:
        server.resume()

    psycopg.connect(url, connect_timeout=10).close()


def test_whoever_asks_a_silent_postgres_gives_up_in_time(server: Postgres) -> None:
    database = Database(_postgres_engine(server.new_database(), answer_timeout_s=1.0))
    with database.reading() as connection:
        connection.execute(sa.text("SELECT 1"))

    server.pause()
    started_s = time.monotonic()
    try:
        with pytest.raises(JobStoreUnavailable), database.reading() as connection:
            connection.execute(sa.text("SELECT 1"))
    finally:
        server.resume()

    assert time.monotonic() - started_s < 1.0 + CONNECT_TIMEOUT_S + 1.0
    with database.reading() as connection:
        assert connection.execute(sa.text("SELECT 2")).scalar_one() == 2
    database.close()


def test_what_postgres_itself_refuses_leaves_the_connection_usable(server: Postgres) -> None:
    database = Database(_postgres_engine(server.new_database(), answer_timeout_s=5.0))
    with database.reading() as connection:
        connection.execute(sa.text("SET statement_timeout = 50"))
        with pytest.raises(OperationalError):
            connection.execute(sa.text("SELECT pg_sleep(5)"))
        connection.rollback()
        assert connection.execute(sa.text("SELECT 2")).scalar_one() == 2
    database.close()


def test_it_ends_with_the_process_that_started_it() -> None:
    starter = """
import os
from real.postgres import Postgres
server = Postgres()
server.start()
print(*server._pids(), server._folder, flush=True)
os.kill(os.getpid(), 9)
"""
    started = subprocess.run(
        [sys.executable, "-c", starter], cwd=TESTS, capture_output=True, text=True, check=False, timeout=60
    )
    pid, *_, folder = started.stdout.split()

    give_up_at = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < give_up_at:
        time.sleep(0.05)

    shutil.rmtree(folder)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)
