"""What the README promises a newcomer: `make run`, then its curl lines, and there is music."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from real.programs import wait_for

from app.audio import prove

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]
START_LIMIT_S = 60.0


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
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
        env={**clean, "STUDIO_DATA_DIR": str(tmp_path_factory.mktemp("data"))},
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


def _get(port: int, path: str) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    try:
        return connection.getresponse().read()
    finally:
        connection.close()


@pytest.mark.skipif(not shutil.which("curl"), reason="needs curl")
def test_the_lines_about_songs_give_songs(port: int, tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8").split("## Songs", 1)[1]
    asked, made, *_ = re.findall(r"```sh\n(.*?)```", readme, re.DOTALL)

    answer = subprocess.run(
        ["bash", "-ec", asked.replace(":8000", f":{port}")], check=True, timeout=60, capture_output=True
    )
    song = json.loads(answer.stdout)
    assert [section["name"] for section in song["sections"]] == ["Intro", "Verse"]
    wait_for(lambda: json.loads(_get(port, song["links"]["self"]))["status"] == "succeeded")
    assert prove(_get(port, f"/api/jobs/{song['id']}/audio")).duration_s == 14.0

    studio = f"PYTHONPATH={ROOT} {sys.executable} -m app.cli"
    commands = made.replace(".venv/bin/studio", studio)
    subprocess.run(["bash", "-ec", commands], cwd=tmp_path, check=True, timeout=60)
    assert prove((tmp_path / "calm.wav").read_bytes()).duration_s == 10.0
    assert prove((tmp_path / "song.mp3").read_bytes()).duration_s == pytest.approx(14.0, abs=0.1)
