"""What may lie in the repository at all."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_FILE_BYTES = 4 * 2**20
MADE_BY_TOOLS = (".venv/", "__pycache__/", "_cache/", ".hypothesis/", ".coverage")


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    """Return the files that git tracks."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    return [name for name in listing.stdout.split("\0") if name]


def test_nothing_that_a_tool_makes_is_tracked(tracked: list[str]) -> None:
    assert [name for name in tracked if any(made in f"{name}/" for made in MADE_BY_TOOLS)] == []


def test_no_tracked_file_is_large(tracked: list[str]) -> None:
    assert [name for name in tracked if (ROOT / name).exists() and (ROOT / name).stat().st_size > MAX_FILE_BYTES] == []
