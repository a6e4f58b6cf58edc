"""How many files a process may open, tried in processes of their own: a limit holds for all of a process."""

from __future__ import annotations

import subprocess
import sys

import pytest
from real.programs import ROOT

ASK = """
import resource, sys
from app.serving.files import allow_open_files
soft, hard, wanted = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(allow_open_files(wanted), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "expected"),
    [
        (256, 1_024, 512, "512 512 1024"),
        (256, 1_024, 5_000, "1024 1024 1024"),
        (256, 1_024, 100, "256 256 1024"),
    ],
)
def test_as_many_as_are_wanted_and_allowed(soft: int, hard: int, wanted: int, expected: str) -> None:
    asked = subprocess.run(
        [sys.executable, "-c", ASK, str(soft), str(hard), str(wanted)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )

    assert asked.stdout.strip() == expected
