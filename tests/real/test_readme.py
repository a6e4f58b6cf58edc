"""What the README promises a newcomer: `make run`, then its curl line, and there is music."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.audio import prove

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
START_LIMIT_S = 60.0


@pytest.fixture
def port() -> Iterator[int]:
    """Return where `make run` serves, as started from the project's folder."""
    if not (ROOT / ".venv" / "run-ready").exists():
        pytest.skip("make run would first install: these tests are not run from make's environment")
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = int(free.getsockname()[1])
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("STUDIO_", "HF_", "MAKE", "MFLAGS"))
    }
    process = subprocess.Popen(
        ["make", "run", f"PORT={number}"],
        cwd=ROOT,
        env=clean,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        _wait_until_up(number, process)
        yield number
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        output, _ = process.communicate(timeout=40)
    assert f"http://127.0.0.1:{number}/studio-generate".encode() in output, "no curl line was printed"


def _wait_until_up(port: int, process: subprocess.Popen[bytes]) -> None:
    give_up_at = time.monotonic() + START_LIMIT_S
    while time.monotonic() < give_up_at:
        assert process.poll() is None
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/health")
            assert connection.getresponse().status == 200
        except OSError:
            time.sleep(0.05)
        else:
            return
        finally:
            connection.close()
    pytest.fail("make run did not serve in time")


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_the_first_curl_line_gives_music(port: int, tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    command = next(block for block in re.findall(r"```sh\n(.*?)```", readme, re.DOTALL) if "curl" in block)
    subprocess.run(["bash", "-ec", command.replace(":8000", f":{port}")], cwd=tmp_path, check=True, timeout=60)
    audio = prove((tmp_path / "calm.wav").read_bytes())
    assert audio.format == "wav"
    assert audio.duration_s == 10.0
