"""What every test may use: an environment without settings, and the service with an engine that always succeeds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from fakes import FakeEngine, MakeClient
from flask.testing import FlaskClient
from real.postgres import NotInstalled, Postgres

from app import create_app
from app.engines.engine import Engine
from app.settings import Settings

# schemathesis brings `rich` along, with which structlog would draw each traceback with all variables: for seconds.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("STUDIO_", "HF_")) or name == "PORT":
            monkeypatch.delenv(name)


@pytest.fixture
def engine() -> FakeEngine:
    """The engine behind `client`."""
    return FakeEngine()


@pytest.fixture
def make_client(tmp_path: Path) -> MakeClient:
    """Return a client of a service with the given engine and settings."""

    def make(engine: Engine | None, **settings: object) -> FlaskClient:
        settings = {"STUDIO_DATA_DIR": tmp_path, **settings}
        return create_app(Settings.model_validate(settings), engine=engine).test_client()

    return make


@pytest.fixture
def client(engine: FakeEngine, make_client: MakeClient) -> FlaskClient:
    """Return a client of the service."""
    return make_client(engine)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Return a running Postgres; `new_database()` gives a test one of its own."""
    try:
        server = Postgres("fsync=off")
    except NotInstalled as error:
        pytest.fail(str(error), pytrace=False)
    with server:
        yield server


@pytest.fixture
def database_url(postgres: Postgres) -> str:
    """Return the URL of an empty Postgres database."""
    return postgres.new_database()
