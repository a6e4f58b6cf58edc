"""Contenders: what is measured side by side, each as a program that is started on a free port.

A contender is a function in `CONTENDERS` that says how to start itself. Each is small and
written as a competent developer would first write it; where a default would only make it look
bad (nginx' connections to the upstream, httpx' limit of 100, uvicorn's access log), it has the
better setting. What is missing on this machine raises `NotAvailable`, and is left out with a note.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

import yaml

from bench.environments import DEPLOYED, NotPrepared, python_of
from bench.programs import ROOT

STUDIO: Final = "this service"
DIRECT: Final = "direct"
NGINX: Final = "nginx proxy_pass"
TUNED_NGINX: Final = "nginx, buffers for large answers"

_LARGE_BUFFERS: Final = (
    "proxy_buffering off; proxy_buffer_size 256k; proxy_buffers 8 256k; proxy_busy_buffers_size 256k;"
)

API_KEY: Final = "the-benchmark-calls"
"""Everybody gets it sent; this service alone looks at it."""

_HERE: Final = Path(__file__).parent


class NotAvailable(Exception):
    """A contender cannot be started on this machine; the text says why."""


@dataclass(frozen=True, slots=True)
class Start:
    """How to start a program.

    Attributes:
        command: What to run, in the project's folder.
        environment: On top of the inherited one.
        up: What answers 200 once it is up; None when it is up once it takes connections.
        gives: The audio itself, or the upstream's answer as it is.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    up: str | None = None
    gives: Literal["audio", "answer"] = "audio"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a contender is started.

    Attributes:
        port: To listen on, on 127.0.0.1.
        upstream_url: Where its audio comes from.
        folder: For its files; empty.
        build: Whether environments may be built for it.
    """

    port: int
    upstream_url: str
    folder: Path
    build: bool = True


def studio(place: Place, **settings: str) -> Start:
    """This service, started and given memory as `render.yaml` does, with everything on that protects it."""
    plenty = "999999/second"  # requests are counted, and nobody is refused
    environment = {
        **_allocator(),
        "STUDIO_ENGINE": "huggingface",
        "HF_API_URL": place.upstream_url,
        "STUDIO_HOST": "127.0.0.1",
        "PORT": str(place.port),
        "STUDIO_DATA_DIR": str(place.folder / "data"),
        "STUDIO_API_KEYS": f"bench:{hashlib.sha256(API_KEY.encode()).hexdigest()}",
        "STUDIO_RATE_LIMIT": plenty,
        "STUDIO_READ_LIMIT": plenty,
        "STUDIO_ALLOWED_HOSTS": "127.0.0.1",
        "STUDIO_CORS_ORIGINS": "https://example.com",
        **settings,
    }
    return Start((_deployed(place), "-m", "gunicorn", "wsgi:app"), environment, up="/health")


def _deployed(place: Place) -> str:
    """Return the interpreter of what is installed where this service runs; this one, where that cannot be built."""
    try:
        return str(python_of(DEPLOYED, build=place.build))
    except NotPrepared:
        return sys.executable


def _allocator() -> dict[str, str]:
    """Return the variables that the deployment sets for the allocator."""
    (service,) = yaml.safe_load((ROOT / "render.yaml").read_text())["services"]
    variables = {each["key"]: each.get("value") for each in service["envVars"]}
    return {name: str(value) for name, value in variables.items() if name.startswith("MALLOC_")}


def naive_flask(place: Place) -> Start:
    return Start(
        (*_gunicorn(place), "--threads", "16", "bench.contenders.naive_flask:app"),
        {"UPSTREAM_URL": place.upstream_url},
    )


def bare_flask(place: Place) -> Start:
    """Nothing but `/health`: what Python, gunicorn and Flask take by themselves."""
    return Start((*_gunicorn(place), "--threads", "16", "bench.contenders.bare_flask:app"), up="/health")


def _gunicorn(place: Place) -> tuple[str, ...]:
    # Without `-c` it would read this service's configuration, which lies in the folder it starts in.
    return (
        *(_deployed(place), "-m", "gunicorn", "-c", os.devnull, "-b", f"127.0.0.1:{place.port}"),
        *("-k", "gthread", "--log-level", "warning"),
    )


def fastapi_httpx(place: Place) -> Start:
    python = _environment("fastapi", place)
    command = (
        *(str(python), "-m", "uvicorn", "--host", "127.0.0.1", "--port", str(place.port)),
        *("--log-level", "warning", "--no-access-log", "bench.contenders.fastapi_httpx:app"),
    )
    return Start(command, {"UPSTREAM_URL": place.upstream_url}, up="/health")


def nginx(place: Place, buffers: str = "") -> Start:
    """nginx' `proxy_pass`, with `buffers` in its configuration instead of its defaults."""
    program = _nginx()
    if program is None:
        raise NotAvailable("nginx is not installed (apt-get install nginx-light)")
    # Its workers, which are somebody else when root starts it, must find the folders for what they cannot buffer.
    place.folder.chmod(0o755)
    config = _filled("nginx.conf", place, {"@BUFFERS@": buffers})
    return Start((program, "-c", str(config), "-e", str(place.folder / "error.log")), gives="answer")


def tuned_nginx(place: Place) -> Start:
    """The same, with buffers for answers of megabytes."""
    return nginx(place, _LARGE_BUFFERS)


def litellm(place: Place) -> Start:
    python = _environment("litellm", place)
    command = (
        *(str(python.with_name("litellm")), "--config", str(_filled("litellm.yaml", place))),
        *("--host", "127.0.0.1", "--port", str(place.port), "--telemetry", "False"),
    )
    environment = {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOG": "ERROR",
        "LITELLM_MASTER_KEY": f"sk-{secrets.token_hex(32)}",  # it does not start without one
        # Whatever else it would like to ask the world is refused at once.
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9"),
        **dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost"),
    }
    return Start(command, environment, up="/health/liveliness", gives="answer")


def _environment(name: str, place: Place) -> Path:
    try:
        return python_of(name, build=place.build)
    except NotPrepared as error:
        raise NotAvailable(str(error)) from error


def _filled(name: str, place: Place, more: Mapping[str, str] | None = None) -> Path:
    """Write a configuration with this place's values, and `more`, into its folder."""
    upstream = urlsplit(place.upstream_url)
    text = (_HERE / name).read_text(encoding="utf-8")
    for word, value in {
        "@FOLDER@": str(place.folder),
        "@PORT@": str(place.port),
        "@UPSTREAM_URL@": place.upstream_url,
        "@UPSTREAM_PORT@": str(upstream.port),
        "@UPSTREAM_PATH@": upstream.path,
        **(more or {}),
    }.items():
        text = text.replace(word, value)
    path = place.folder / name
    path.write_text(text, encoding="utf-8")
    return path


Contender = Callable[[Place], Start]

CONTENDERS: Final[Mapping[str, Contender]] = {
    STUDIO: studio,
    NGINX: nginx,
    "naive Flask + requests": naive_flask,
    "FastAPI + httpx": fastapi_httpx,
    "LiteLLM pass-through": litellm,
}


def versions() -> dict[str, str]:
    """Return the versions of what the contenders that are here are made of."""
    try:
        found = _installed(str(python_of(DEPLOYED, build=False)), "flask", "gunicorn", "requests")
    except NotPrepared:
        found = _installed(sys.executable, "flask", "gunicorn", "requests") | {"environment": "of developers"}
    for environment, names in (("fastapi", ("fastapi", "httpx", "uvicorn")), ("litellm", ("litellm",))):
        with suppress(NotPrepared):
            found |= _installed(str(python_of(environment, build=False)), *names)
    if program := _nginx():
        told = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr
        found["nginx"] = told.rpartition("/")[2].strip()
    return found


def _installed(python: str, *names: str) -> dict[str, str]:
    asked = f"import importlib.metadata as m; print(*map(m.version, {names!r}))"
    told = subprocess.run([python, "-c", asked], capture_output=True, text=True, check=True).stdout
    return dict(zip(names, told.split(), strict=True))


def _nginx() -> str | None:
    # Debian keeps it where only root's PATH leads.
    return shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
