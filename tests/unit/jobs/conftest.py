"""Records on real databases: most of what is said of them must hold on each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from job_samples import TTL_S, NotingQueue, TickingClock

from app.jobs.database import Database, open_database
from app.jobs.records import Records
from app.settings import Settings


@pytest.fixture
def sqlite_settings(tmp_path: Path) -> Settings:
    return Settings.model_validate({"STUDIO_DATA_DIR": tmp_path / "data"})


@pytest.fixture(params=["sqlite", "postgres"])
def database_settings(request: pytest.FixtureRequest) -> Settings:
    """Return settings that name an empty database, once of each kind."""
    if request.param == "sqlite":
        settings: Settings = request.getfixturevalue("sqlite_settings")
        return settings
    return Settings.model_validate({"STUDIO_DATABASE_URL": request.getfixturevalue("database_url")})


@pytest.fixture
def database(database_settings: Settings) -> Iterator[Database]:
    database = open_database(database_settings)
    yield database
    database.close()


@pytest.fixture
def clock() -> TickingClock:
    return TickingClock()


@pytest.fixture
def records(database: Database, clock: TickingClock) -> Records:
    return Records(database, ttl_s=TTL_S, queue=NotingQueue(), clock=clock)
