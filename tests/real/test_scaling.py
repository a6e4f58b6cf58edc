"""docs/scaling.md is right: its commands make a service of two machines, which share a database and a bucket."""

from __future__ import annotations

import glob
import re
import shlex
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import psycopg
import pytest
from click.testing import CliRunner
from real.postgres import Postgres
from real.programs import ROOT, Program, Server

from app import audio
from app.cli import main
from app.jobs.database import POOL_OVERFLOW, POOL_SIZE
from app.settings import Settings

pytestmark = pytest.mark.real

PAGE: Final = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
COMMANDS: Final = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)).splitlines()
BUCKET: Final = "my-bucket"
LIMIT_S: Final = 60.0


def commands(containing: str) -> list[list[str]]:
    return [shlex.split(line, comments=True) for line in COMMANDS if containing in line]


def written_settings() -> dict[str, str]:
    """Return what the page writes into `studio.env`."""
    (file,) = re.findall(r"<<'END'\n(.*?)END\n", PAGE, re.DOTALL)
    return dict(line.split("=", 1) for line in file.splitlines())


@pytest.fixture
def s3() -> Iterator[str]:
    """Return the URL of a server that speaks S3 and has the page's bucket."""
    from moto.server import ThreadedMotoServer

    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    try:
        with urlopen(Request(f"http://{host}:{port}/{BUCKET}", method="PUT"), timeout=10):
            yield f"http://{host}:{port}"
    finally:
        moto.stop()


@pytest.fixture
def page_database_url(postgres: Postgres) -> str:
    """Return the URL of the database that the page's statements make."""
    written = urlsplit(written_settings()["STUDIO_DATABASE_URL"])
    (command,) = commands("CREATE DATABASE")
    statements = [word for word in command if word.startswith("CREATE")]
    with psycopg.connect(postgres.new_database(), autocommit=True) as connection:
        for statement in statements:
            # The role of the page is taken: it is the one that the tests' own Postgres was made with.
            connection.execute(re.sub(r"\b(ROLE|OWNER) studio\b", r"\1 page_studio", statement).encode())
    return f"postgresql://page_studio:{written.password}@127.0.0.1:{postgres.port}{written.path}"


def test_the_commands_for_two_machines_make_one_service(tmp_path: Path, page_database_url: str, s3: str) -> None:
    (web, *_), (worker,) = commands("gunicorn wsgi:app"), commands("app.cli worker")
    assert web[1:] == [".venv/bin/gunicorn", "wsgi:app"]
    assert worker[:2] == [".venv/bin/python", "-m"]
    place = {
        "STUDIO_DATABASE_URL": page_database_url,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": s3,
        "AWS_ALLOW_HTTP": "true",
    }
    upstream = {"STUDIO_ENGINE": "composer", "HF_API_URL": "", "HF_TOKEN": ""}
    settings = {**written_settings(), **place, **upstream}
    programs: list[Program] = []
    try:
        redirecting = {"STUDIO_DATA_DIR": str(tmp_path / "a"), "STUDIO_STORE_REDIRECTS": "true"}
        first = Server(folder(tmp_path, "first"), web[2], (), settings | redirecting)
        second = Server(folder(tmp_path, "second"), web[2], (), settings | {"STUDIO_DATA_DIR": str(tmp_path / "b")})
        programs += [first, second]
        programs.append(
            Program(
                folder(tmp_path, "worker"),
                *worker[2:],
                environment=settings | {"STUDIO_DATA_DIR": str(tmp_path / "c")},
            )
        )
        first.wait_until_up()
        second.wait_until_up()
        submitted = first.request("POST", "/api/jobs", body=b'{"prompt": "calm piano", "duration": 5}')
        assert submitted.status == 202, submitted.content
        url = f"/api/status/{submitted.json['id']}"
        give_up_at = time.monotonic() + LIMIT_S
        while (job := second.request("GET", url).json)["status"] in ("queued", "running"):
            assert time.monotonic() < give_up_at, job
            time.sleep(0.2)

        assert job["status"] == "succeeded", job
        piece = second.request("HEAD", job["audio_url"])
        assert (piece.status, piece.headers["Content-Type"]) == (200, "audio/wav")
        assert audio.prove(second.request("GET", job["audio_url"]).content).duration_s == pytest.approx(5, abs=1)
        redirect = first.request("GET", job["audio_url"])
        assert redirect.status == 307
        assert redirect.headers["Location"].startswith(s3)
        assert audio.prove(fetched(redirect.headers["Location"])).duration_s == pytest.approx(5, abs=1)
        assert not any((tmp_path / machine).exists() for machine in "abc"), "nothing is kept on a machine"
        assert [program.stop() < 25 for program in reversed(programs)] == [True] * 3
        assert [program.process.returncode for program in programs] == [0] * 3
    finally:
        for program in programs:
            program.kill()


def test_what_tee_appends_to_exists_before(postgres: Postgres) -> None:
    """A pattern that matches no file is taken literally by the shell: it can only name a file that is there."""
    targets = [Path(word) for line in commands("tee ") for word in line[line.index("tee") + 1 :] if word[0] != "-"]

    assert targets
    for target in targets:
        if glob.has_magic(str(target)):
            assert (postgres._data / target.name).is_file(), f"Postgres does not come with {target.name}"


def test_postgres_takes_the_addresses_it_is_told_to_listen_on(postgres: Postgres) -> None:
    words = ("ALTER SYSTEM", "restart postgresql")
    (command,) = commands(words[0])
    statement = command[-1]
    with psycopg.connect(postgres.new_database(), autocommit=True) as connection:
        connection.execute(statement.encode())
        try:
            row = connection.execute(
                "SELECT setting FROM pg_file_settings WHERE name = 'listen_addresses' ORDER BY seqno DESC LIMIT 1"
            ).fetchone()
        finally:
            connection.execute("ALTER SYSTEM RESET listen_addresses")

    assert row == ("localhost,10.0.0.1",)
    # It counts from the next start on.
    (told,), (restarted,) = ([number for number, line in enumerate(COMMANDS) if word in line] for word in words)
    assert told < restarted


def test_the_file_of_secrets_is_private_and_not_for_git(tmp_path: Path) -> None:
    (writing,) = re.findall(r"^[^\n]*<<'END'\n.*?^END\n", PAGE, re.DOTALL | re.MULTILINE)
    subprocess.run(["sh", "-ec", writing], cwd=tmp_path, check=True, timeout=10)

    file = tmp_path / "studio.env"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert dict(line.split("=", 1) for line in file.read_text("utf-8").splitlines()) == written_settings()
    if (ROOT / ".git").exists():
        assert subprocess.run(["git", "check-ignore", "--quiet", file.name], cwd=ROOT, check=False).returncode == 0


def test_the_connections_of_a_process_are_counted_right() -> None:
    (connections,) = re.findall(r"Each process holds at most (\d+) connections", PAGE)
    (all_of_them, kept, processes) = re.findall(
        r"Postgres allows (\d+) unless .* keeps (\d+) of them .* beyond (\d+) busy processes", PAGE
    )[0]

    assert int(connections) == POOL_SIZE + POOL_OVERFLOW
    assert (int(all_of_them) - int(kept)) // int(connections) == int(processes)


def test_the_commands_for_looking_after_it_exist() -> None:
    found = commands("app.cli jobs")

    assert {words[4] for words in found} == {"list", "show", "cancel", "retry"}
    for words in found:
        # Where there are no jobs, a command that is written correctly says just that.
        result = CliRunner(env={"STUDIO_DATA_DIR": "/nowhere"}).invoke(main, words[3:])
        assert "There are no jobs" in result.stderr


def test_every_setting_that_the_page_names_exists() -> None:
    named = set(re.findall(r"\b(?:STUDIO|HF)_[A-Z_]+\b", PAGE))

    assert named <= {field.alias for field in Settings.model_fields.values()}


def folder(parent: Path, name: str) -> Path:
    made = parent / name
    made.mkdir()
    return made


def fetched(url: str) -> bytes:
    with urlopen(url, timeout=10) as response:
        content: bytes = response.read()
    return content
