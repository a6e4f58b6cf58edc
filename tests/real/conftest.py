"""Servers for the tests of this folder; all of it starts only when a test asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from real.chaos import Fleet, MakeFleet
from real.environments import GRADIO, NotPrepared, gradio_python
from real.gradio_servers import Gradio
from real.redis_server import NotInstalled, RedisServer


@pytest.fixture(scope="session", params=GRADIO)
def gradio(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gradio]:
    """Return one version of Gradio; its servers live as long as tests of this version run."""
    version = str(request.param)
    try:
        gradio_python(version)
    except NotPrepared as error:
        pytest.fail(f"no environment for Gradio {version}: {error}", pytrace=False)
    servers = Gradio(version, tmp_path_factory.mktemp(f"gradio-{version}"))
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()


@pytest.fixture
def make_fleet(tmp_path: Path) -> Iterator[MakeFleet]:
    """Return what starts programs that share their jobs; they end with the test."""
    fleets: list[Fleet] = []

    def make(*, takes_s: float = 1.0, **settings: str) -> Fleet:
        fleets.append(Fleet(tmp_path, takes_s=takes_s, settings=settings))
        return fleets[-1]

    yield make
    for fleet in fleets:
        fleet.end()


@pytest.fixture(scope="session")
def _running_redis() -> Iterator[RedisServer]:
    try:
        server = RedisServer()
    except NotInstalled as error:
        pytest.fail(str(error), pytrace=False)
    with server:
        yield server


@pytest.fixture
def redis_server(_running_redis: RedisServer) -> RedisServer:
    """Return a running Redis with nothing in it."""
    _running_redis.empty()
    return _running_redis
