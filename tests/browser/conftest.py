"""A browser that may talk to our servers alone and has nothing to complain about, and the servers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import ConsoleMessage, Page, Request
from real.programs import Server, free_port

MOODY: Final = "browser.moody_service:app"
COMPOSER: Final = "wsgi:app"

Serve = Callable[..., Server]


NARROW: Final = (320, 640)
"""Widths of a small phone, and of 1280 pixels at a zoom of 200 %."""


def faults(page: Page) -> list[str]:
    """Return what axe-core finds fault with, in light and in dark."""
    return [*_faults(page, "light"), *_faults(page, "dark")]


def _faults(page: Page, scheme: Literal["light", "dark"]) -> list[str]:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    found = Axe().run(page)
    return [f"{scheme} {each['id']}: {node['html']}" for each in found.response["violations"] for node in each["nodes"]]


def widths(page: Page) -> list[int]:
    """Return how wide the page is on each of the narrow screens."""
    found: list[int] = []
    for width in NARROW:
        page.set_viewport_size({"width": width, "height": 640})
        found.append(page.evaluate("document.documentElement.scrollWidth"))
    return found


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict[str, Any]:
    """Return how Chromium is started: the one of the system, which in containers has no sandbox to use."""
    return {"executable_path": os.environ.get("CHROMIUM", "/usr/bin/chromium"), "args": ["--no-sandbox"]}


@pytest.fixture(scope="session")
def base_url() -> None:
    """Stand in for a fixture of pytest-playwright, whose form this version of pytest warns of."""


@pytest.fixture
def page(page: Page) -> Iterator[Page]:
    """Return a tab; the test fails when a script has a mistake, a policy is violated, or somebody else is asked."""
    complaints: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        # Chromium says of each answer from 400 on, and of each that did not come, that it failed to load.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            complaints.append(message.text)

    def on_request(request: Request) -> None:
        url = urlsplit(request.url)
        if url.scheme not in {"blob", "data"} and url.hostname != "127.0.0.1":
            complaints.append(f"asked {request.url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", on_request)
    page.set_default_timeout(20_000)
    yield page
    assert complaints == []


class Servers:
    """Starts servers, and ends all of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started: list[Server] = []

    def start(self, app: str, *, data: Path | None = None, port: int | None = None, **environment: str) -> Server:
        """Return a server that is up, and runs jobs where it should.

        Args:
            app: What gunicorn serves.
            data: Where it keeps its jobs.
            port: Where it listens.
            environment: Settings by name.
        """
        folder = self._folder / str(len(self._started))
        folder.mkdir()
        port = port or free_port()
        settings = {"PORT": str(port), "STUDIO_DATA_DIR": str(data or folder / "data"), "STUDIO_JOB_ATTEMPTS": "1"}
        server = Server(folder, app, (), settings | environment)
        server.port = port
        self._started.append(server)
        server.wait_until_up()
        return server

    def end(self) -> None:
        for server in self._started:
            server.kill()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Return what starts servers; they end with the test."""
    servers = Servers(tmp_path)
    yield servers.start
    servers.end()


@pytest.fixture(scope="session")
def _shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    servers = Servers(tmp_path_factory.mktemp("browser"))
    yield servers
    servers.end()


@pytest.fixture(scope="session")
def moody(_shared: Servers) -> Server:
    """Return a server on the moody engine, which tests leave as it is."""
    server = _shared.start(MOODY)
    server.wait_until_ready()
    return server


@pytest.fixture(scope="session")
def composer(_shared: Servers) -> Server:
    """Return a server on the composer, which tests leave as it is."""
    server = _shared.start(COMPOSER, STUDIO_ENGINE="composer")
    server.wait_until_ready()
    return server
