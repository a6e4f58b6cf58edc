"""Virtual environments with a real Gradio in each: built once, kept in a cache, used by `tests/real/`.

Every version lives in a folder of its own, named after all that decides its content, so a
changed pin is a new folder and never a half-updated old one. A virtual environment cannot be
moved once it is built, so a folder is finished in its place: what counts is the `.ready` file
that is written last, under a lock that a second test run waits for.

To add a version: one line in `GRADIO`. To prepare all of them: `python tests/real/environments.py`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BUILD_LIMIT_S: Final = 900.0
"""A package index that stalls must not hold the tests for ever."""


class NotPrepared(Exception):
    """An environment could not be built; the text says what was tried."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What goes into an environment.

    Attributes:
        pins: Requirements beside Gradio itself: its own bounds are open, and newer releases broke it.
        newest_python: Above this (major, minor) the pinned dependencies have no wheels.
    """

    pins: tuple[str, ...] = ()
    newest_python: tuple[int, int] | None = None


GRADIO: Final[Mapping[str, Recipe]] = {
    "3.50.2": Recipe(
        (
            "pydantic<2.11",
            "huggingface_hub<0.26",
            "fastapi<0.113",
            "starlette<0.28",
            "httpx<0.28",
            "numpy<2",
        ),
        newest_python=(3, 12),
    ),
    "4.44.1": Recipe(
        ("huggingface_hub<0.26", "pydantic<2.11", "numpy<2", "starlette<0.42", "fastapi<0.116"),
        newest_python=(3, 12),
    ),
    "5.50.0": Recipe(),
    "6.31.0": Recipe(),
}


def gradio_python(version: str) -> Path:
    """Return the interpreter of an environment with that Gradio, building it if need be.

    Raises:
        NotPrepared: the environment could not be built.
    """
    recipe = GRADIO[version]
    base, (major, minor) = _base_python(recipe)
    requirements = (f"gradio=={version}", *recipe.pins)
    key = hashlib.sha256("\n".join(requirements).encode()).hexdigest()[:10]
    folder = cache_folder() / f"gradio-{version}-py{major}.{minor}-{key}"
    python, ready = folder / "bin" / "python", folder / ".ready"
    if _is_ready(python, ready):
        return python
    with _lock(folder.with_name(folder.name + ".lock")):
        if not _is_ready(python, ready):  # another run may have built it while this one waited
            _build(folder, base, requirements)
            ready.write_text("\n".join(requirements) + "\n", encoding="utf-8")
    return python


def cache_folder() -> Path:
    """Return where environments are kept: `TEST_CACHE_DIR`, or the user's cache folder."""
    if chosen := os.environ.get("TEST_CACHE_DIR"):
        return Path(chosen).expanduser().resolve()
    user_cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(user_cache).expanduser().resolve() / "studio-tests"


def _is_ready(python: Path, ready: Path) -> bool:
    # The interpreter is a link; it dangles when the Python below it was uninstalled.
    return ready.is_file() and python.exists()


def _base_python(recipe: Recipe) -> tuple[Path, tuple[int, int]]:
    """Return the interpreter to build on, and its version: this one, unless it is too new for the pins."""
    running = (sys.version_info.major, sys.version_info.minor)
    newest = recipe.newest_python
    if newest is None or running <= newest:
        return Path(sys.executable), running
    for minor in range(newest[1], 10, -1):
        name = f"python{newest[0]}.{minor}"
        if (found := shutil.which(name)) and _runs([found, "-c", "import venv"]):
            return Path(found), (newest[0], minor)
    raise NotPrepared(f"needs Python {newest[0]}.{newest[1]} or older on the PATH; this is {running[0]}.{running[1]}")


def _build(folder: Path, base: Path, requirements: Sequence[str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    python = folder / "bin" / "python"
    if uv := _uv():
        _run([*uv, "venv", "--quiet", "--no-project", "--python", str(base), str(folder)])
        _run([*uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), *requirements])
    else:
        _run([str(base), "-m", "venv", str(folder)])
        _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements])


def _uv() -> list[str] | None:
    """Return the command that starts uv, or None where there is none."""
    commands = [[sys.executable, "-m", "uv"], ["uv"]]
    return next((command for command in commands if _runs([*command, "--version"])), None)


def _runs(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _run(command: Sequence[str]) -> None:
    # Neither tool may look at a project or a configuration that lies around where the tests are started.
    outside = tempfile.gettempdir()
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=BUILD_LIMIT_S,
            stdin=subprocess.DEVNULL,
            cwd=outside,
        )
    except subprocess.TimeoutExpired:
        raise NotPrepared(f"took longer than {BUILD_LIMIT_S:g} s: {' '.join(command)}") from None
    if done.returncode:
        raise NotPrepared(f"{' '.join(command)}\n{done.stdout}{done.stderr}".rstrip())


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Prepare every environment and say what was done."""
    failed = False
    for version in GRADIO:
        started_s = time.monotonic()
        try:
            python = gradio_python(version)
        except NotPrepared as error:
            failed = True
            print(f"Gradio {version}: not prepared: {error}", flush=True)  # noqa: T201 - this is a script too
        else:
            elapsed_s = time.monotonic() - started_s
            print(f"Gradio {version}: {python} ({elapsed_s:.1f} s)", flush=True)  # noqa: T201
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
