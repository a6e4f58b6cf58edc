"""Virtual environments of the contenders: this service as it is deployed, and libraries that it does not use.

As in `tests/real/environments.py`, each is built once, in a folder of the user's cache that is
named after all that decides its content, and counts once its `.ready` file is written. What is
installed is named exactly, and as wheels only: an install runs no code of the packages.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

BUILD_LIMIT_S: Final = 900.0
REQUIREMENTS: Final = Path(__file__).parents[1] / "requirements.txt"
DEPLOYED: Final = "deployed"

ENVIRONMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    # Libraries look at what else is installed: with the tools of developers beside it, structlog takes 0.1 s longer.
    DEPLOYED: ("--require-hashes", "-r", str(REQUIREMENTS)),
    "fastapi": ("fastapi==0.165.0", "httpx==0.28.1", "uvicorn[standard]==0.54.0"),
    # Exactly this one: 1.107.0 was reported to be compromised, and is no longer offered.
    "litellm": ("litellm[proxy]==1.106.0",),
}


class NotPrepared(Exception):
    """An environment could not be built, or is not there; the text says why."""


def python_of(name: str, *, build: bool = True) -> Path:
    """Return the interpreter of an environment in `ENVIRONMENTS`.

    Args:
        name: Which one.
        build: Whether to build it when it is not there; that takes a minute, and a package index.
    Raises:
        NotPrepared: it could not be built, or may not be.
    """
    requirements = ENVIRONMENTS[name]
    major, minor = sys.version_info[:2]
    decides = REQUIREMENTS.read_bytes() if name == DEPLOYED else "\n".join(requirements).encode()
    key = hashlib.sha256(decides).hexdigest()[:10]
    folder = _cache_folder() / f"{name}-py{major}.{minor}-{key}"
    python, ready = folder / "bin" / "python", folder / ".ready"
    if not (ready.is_file() and python.exists()):
        if not build:
            raise NotPrepared(f"its environment is not built; `python -m bench.environments {name}` does that")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_name(f"{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not ready.is_file():  # another run may have built it while this one waited
                _build(folder, requirements)
                ready.write_text("\n".join(requirements) + "\n", encoding="utf-8")
    return python


def _cache_folder() -> Path:
    if chosen := os.environ.get("TEST_CACHE_DIR"):
        return Path(chosen).expanduser().resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().resolve() / "studio-bench"


def _build(folder: Path, requirements: Sequence[str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    uv = [sys.executable, "-m", "uv"]
    _run([*uv, "venv", "--quiet", "--no-project", "--python", sys.executable, str(folder)])
    wheels = ["--only-binary", ":all:", "--compile-bytecode", "--python", str(folder / "bin" / "python")]
    _run([*uv, "pip", "install", "--quiet", *wheels, *requirements])


def _run(command: Sequence[str]) -> None:
    # uv must not look at the project that lies around where the benchmark is started.
    outside = tempfile.gettempdir()
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=BUILD_LIMIT_S, stdin=subprocess.DEVNULL,
            cwd=outside,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise NotPrepared(f"took longer than {BUILD_LIMIT_S:g} s: {' '.join(command)}") from None
    if done.returncode:
        raise NotPrepared(f"{' '.join(command)}\n{done.stdout}{done.stderr}".rstrip())


if __name__ == "__main__":
    for each in sys.argv[1:] or ENVIRONMENTS:
        print(each, python_of(each), flush=True)
