"""`studio generate` and `studio song` as people call them: exit codes, signals, terminals, and a service."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
from api_keys import KEYS, NINA
from click.testing import CliRunner
from fakes import TONE
from real.programs import ROOT, Server, free_port, wait_for

from app.audio import prove
from app.cli import main
from app.client import Client

pytestmark = pytest.mark.real

LIMIT_S: Final = 60.0
INTERRUPTED: Final = 130
SONG: Final = {"style": "calm piano", "seed": 7, "sections": [{"duration": 4, "energy": 2}, {"duration": 5}]}
CLIP: Final = ("generate", "calm piano", "--duration", "5", "--seed", "7")
LONG_SONG: Final = {"style": "orchestral", "sections": [{"duration": 120}] * 5}


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "app.cli", *words]


def environment(**more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("STUDIO_", "HF_", "COV_"))}
    return {**clean, "PYTHONPATH": str(ROOT), **more}


def studio(folder: Path, *words: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command(*words), cwd=folder, env=environment(**more), capture_output=True, check=False, timeout=LIMIT_S
    )


def written(folder: Path, song: Mapping[str, Any]) -> str:
    """Write the song down, and return its file's name."""
    (folder / "song.json").write_text(json.dumps(song), encoding="utf-8")
    return "song.json"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("service")
    settings = {"STUDIO_ENGINE": "composer", "STUDIO_DATA_DIR": str(folder / "data"), **KEYS}
    server = Server(folder, "wsgi:app", (), settings)
    try:
        server.wait_until_up()
        server.wait_until_ready()
        yield server
    finally:
        server.kill()


@pytest.fixture
def known(server: Server) -> tuple[tuple[str, str], dict[str, str]]:
    """Return how the service is asked by somebody with a key: words, and an environment."""
    key = NINA["Authorization"].removeprefix("Bearer ")
    return ("--url", f"http://127.0.0.1:{server.port}"), {"STUDIO_KEY": key}


# ---------------------------------------------------------------------- here


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    (tmp_path / "calm.wav").write_bytes(b"before")

    done = studio(tmp_path, *CLIP, "-o", "calm.wav")

    assert (done.returncode, done.stdout) == (0, b"")
    assert prove((tmp_path / "calm.wav").read_bytes()).duration_s == 5.0
    assert [each.name for each in tmp_path.iterdir()] == ["calm.wav"]
    assert b"\x1b" not in done.stderr
    assert b"%" not in done.stderr, "a bar was drawn where nobody sees it"
    assert done.stderr.endswith(b"wrote calm.wav (5.00 s, seed 7)\n")


def test_standard_output_gets_the_music_and_nothing_else(tmp_path: Path) -> None:
    done = studio(tmp_path, *CLIP, "-o", "-")

    assert done.returncode == 0
    assert prove(done.stdout).duration_s == 5.0


def test_a_full_disk_behind_standard_output_is_told(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command(*CLIP, "-o", "-"),
            cwd=tmp_path,
            env=environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            timeout=LIMIT_S,
        )

    assert done.returncode == 1
    assert done.stderr.endswith(b"Error: - cannot be written: No space left on device.\n")


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"before")
    limited = (
        "import resource, runpy, sys; sys.argv = sys.argv[1:]; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)); runpy.run_module('app.cli', run_name='__main__')"
    )

    done = subprocess.run(
        [sys.executable, "-c", limited, "studio", *CLIP, "-o", "a.wav"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        check=False,
        timeout=LIMIT_S,
    )

    assert done.returncode == 1
    assert done.stderr.endswith(b"Error: a.wav cannot be written: File too large.\n")
    assert (tmp_path / "a.wav").read_bytes() == b"before"
    assert [each.name for each in tmp_path.iterdir()] == ["a.wav"]


def test_who_reads_no_further_is_not_shown_a_traceback(tmp_path: Path) -> None:
    with subprocess.Popen(
        command(*CLIP, "-o", "-"), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()


@pytest.mark.parametrize(
    ("words", "exit_code", "told"),
    [
        (("generate", "x", "--duration", "80", "-o", "a.wav"), 2, "duration must be at most 30."),
        (("generate", "x", "-o", "nowhere/a.wav"), 1, "nowhere/a.wav cannot be written"),
        (("song", "song.json", "-o", "a.wav"), 2, "Section 2: duration must be at least 3."),
        (("song", "nothing.json", "-o", "a.wav"), 2, "does not exist"),
    ],
)
def test_what_goes_wrong_is_said_with_an_exit_code(
    tmp_path: Path, words: tuple[str, ...], exit_code: int, told: str
) -> None:
    written(tmp_path, {"style": "jazz", "sections": [{"duration": 4}, {"duration": 1}]})

    done = studio(tmp_path, *words)

    assert (done.returncode, told in done.stderr.decode()) == (exit_code, True), done.stderr
    assert b"Traceback" not in done.stderr
    assert not (tmp_path / "a.wav").exists()


def test_ctrl_c_ends_it_without_a_traceback_and_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"before")
    words = command("song", written(tmp_path, LONG_SONG), "-o", "a.wav")
    with (
        (tmp_path / "stderr").open("wb") as stderr,
        subprocess.Popen(words, cwd=tmp_path, env=environment(), stderr=stderr) as process,
    ):
        wait_for(lambda: b"Section 1" in (tmp_path / "stderr").read_bytes())
        process.send_signal(signal.SIGINT)
        process.wait(LIMIT_S)

    assert process.returncode == INTERRUPTED
    assert (tmp_path / "stderr").read_text(encoding="utf-8").endswith("Interrupted.\n")
    assert (tmp_path / "a.wav").read_bytes() == b"before"
    assert {each.name for each in tmp_path.iterdir()} == {"a.wav", "song.json", "stderr"}


def test_a_terminal_shows_a_bar_without_colours_and_is_sent_no_music(tmp_path: Path) -> None:
    shown, code = on_a_terminal(tmp_path, *CLIP, "-o", "a.wav")
    assert code == 0
    assert b"100%" in shown
    assert b"\x1b[3" not in shown, "no colour was wanted"

    shown, code = on_a_terminal(tmp_path, *CLIP, "-o", "-")
    assert code == 2
    assert b"Music would be written to the terminal" in shown


def on_a_terminal(folder: Path, *words: str) -> tuple[bytes, int]:
    """Return what a terminal shows, and the exit code."""
    ours, theirs = pty.openpty()
    terminal = environment(NO_COLOR="1", TERM="xterm")
    with subprocess.Popen(
        command(*words), cwd=folder, env=terminal, stdin=theirs, stdout=theirs, stderr=theirs
    ) as process:
        os.close(theirs)
        shown = b"".join(read_all(ours))
    os.close(ours)
    return shown, process.returncode


def read_all(descriptor: int) -> Iterator[bytes]:
    while True:
        try:
            piece = os.read(descriptor, 65_536)
        except OSError:  # which is how a terminal says that nobody is left at its other end
            return
        if not piece:
            return
        yield piece


# ---------------------------------------------------------------------- by a service


def test_a_song_is_the_same_here_and_there(tmp_path: Path, known: tuple[tuple[str, str], dict[str, str]]) -> None:
    url, key = known
    file = written(tmp_path, SONG)

    here = studio(tmp_path, "song", file, "-o", "here.wav")
    there = studio(tmp_path, "song", file, "-o", "there.wav", *url, **key)

    assert (here.returncode, there.returncode) == (0, 0), there.stderr
    assert (tmp_path / "here.wav").read_bytes() == (tmp_path / "there.wav").read_bytes()
    assert prove((tmp_path / "here.wav").read_bytes()).duration_s == 9.0


def test_a_clip_is_the_same_here_and_there(tmp_path: Path, known: tuple[tuple[str, str], dict[str, str]]) -> None:
    url, key = known

    assert studio(tmp_path, *CLIP, "-o", "here.wav").returncode == 0
    assert studio(tmp_path, *CLIP, "-o", "there.wav", *url, "--key", key["STUDIO_KEY"]).returncode == 0

    assert (tmp_path / "here.wav").read_bytes() == (tmp_path / "there.wav").read_bytes()


def test_a_service_that_wants_a_key_says_so(tmp_path: Path, server: Server) -> None:
    done = studio(tmp_path, *CLIP, "-o", "a.wav", "--url", f"http://127.0.0.1:{server.port}")

    assert done.returncode == 1
    assert b"Error: An API key is needed" in done.stderr, done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_service_that_is_down_is_told(tmp_path: Path) -> None:
    done = studio(tmp_path, *CLIP, "-o", "a.wav", "--url", f"http://127.0.0.1:{free_port()}")

    assert done.returncode == 1
    assert b"The service cannot be reached." in done.stderr
    assert b"Traceback" not in done.stderr


JOB: Final = "0" * 32


class Faulty(ThreadingHTTPServer):
    """A service whose only job is done, and whose file comes short the first time; or never, once it `hangs`."""

    daemon_threads = True

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.hangs = False
        self.end = threading.Event()
        super().__init__(("127.0.0.1", 0), _Answers)


class _Answers(BaseHTTPRequestHandler):
    server: Faulty

    def do_POST(self) -> None:
        job = {"id": JOB, "status": "succeeded", "message": "The piece is ready.", "request": {"seed": 7}}
        self._answer(json.dumps(job).encode(), 202)

    def do_GET(self) -> None:
        is_first = "GET" not in self.server.asked
        self._answer(TONE.content, 200, left_out=1_000 if is_first else 0)

    def do_DELETE(self) -> None:
        self._answer(b"", 204)

    def _answer(self, content: bytes, status: int, *, left_out: int = 0) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) - left_out])
        self.server.asked.append(self.command)
        if left_out and self.server.hangs:
            self.server.end.wait(LIMIT_S)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def faulty() -> Iterator[Faulty]:
    with Faulty() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.end.set()
        server.shutdown()


def test_ctrl_c_in_a_download_leaves_the_finished_piece_where_it_is(tmp_path: Path, faulty: Faulty) -> None:
    faulty.hangs = True
    url = f"http://127.0.0.1:{faulty.server_port}"
    with subprocess.Popen(
        command(*CLIP, "-o", "a.wav", "--url", url), cwd=tmp_path, env=environment(), stderr=subprocess.PIPE
    ) as process:
        wait_for(lambda: "GET" in faulty.asked)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=LIMIT_S)

    assert process.returncode == INTERRUPTED
    assert faulty.asked == ["POST", "GET"]
    assert stderr.decode().endswith(f"Job {JOB}: {url}/api/status/{JOB}\nInterrupted.\n")
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_comes_short_is_begun_anew(
    tmp_path: Path, faulty: Faulty, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.making.Client", partial(Client, sleep=lambda _: None))
    words = (*CLIP, "-o", str(tmp_path / "a.wav"), "--url", f"http://127.0.0.1:{faulty.server_port}")

    result = CliRunner().invoke(main, words)

    assert result.exit_code == 0, result.stderr
    assert faulty.asked == ["POST", "GET", "GET"]
    assert (tmp_path / "a.wav").read_bytes() == TONE.content
