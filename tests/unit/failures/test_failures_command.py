"""`studio analyze`: any text from anywhere is an error to it, and its answer is JSON."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from app.cli import main
from app.failures import Diagnosis, Evidence
from app.failures.command import _PART_BYTES, answer

ROOT: Final = Path(__file__).parents[3]
FULL_DISK: Final = b"\nOSError: [Errno 28] No space left on device\n"
HOSTILE: Final = (
    "$(touch pwned) `touch pwned` \"x\" 'y' ; rm -rf . | & \\ \n\r\t %s {0} ␛[31m \x1b[31m 🎵 \u202e --help"
)


def analyze(*options: str, sent: bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["analyze", *options], input=sent)


def told(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def run(
    *command: str | bytes, folder: Path, sent: bytes = b"", **environment: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-P", "-m", *command],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), **environment},
        input=sent,
        capture_output=True,
        check=False,
        timeout=60,
    )


def test_the_answer_is_the_contracts() -> None:
    config = '{"per_device_train_batch_size": 8}'

    answer = told(analyze("--job-id", "test", "--error", "CUDA out of memory", "--config", config))

    assert list(answer) == [
        *("job_id", "error_type", "error_phase", "description", "confidence", "suggestions", "retryable")
    ]
    assert (answer["job_id"], answer["error_type"], answer["error_phase"], answer["confidence"]) == (
        *("test", "oom_training", "training", "high"),
    )
    assert "per_device_train_batch_size (now 8) to 4" in answer["suggestions"][0]
    assert answer["retryable"] is False


def test_without_a_name_there_is_none() -> None:
    assert told(analyze("--error", "CUDA out of memory"))["job_id"] is None


def test_the_error_comes_from_standard_input_or_a_file(tmp_path: Path) -> None:
    log = b"\xff\xfe $(id) `id`\nOSError: [Errno 28] No space left on device: '/a/\xff'\n"
    (tmp_path / "run.log").write_bytes(log)

    assert told(analyze("--error", "-", sent=log))["error_type"] == "disk_full"
    assert told(analyze("--error-file", str(tmp_path / "run.log")))["error_type"] == "disk_full"


def test_the_end_of_a_log_of_any_length_is_read(tmp_path: Path) -> None:
    log = b"step\n" * _PART_BYTES + FULL_DISK

    assert told(analyze("--error", "-", sent=log))["error_type"] == "disk_full"


def test_the_beginning_of_a_log_of_any_length_is_read() -> None:
    log = FULL_DISK + b"step\n" * _PART_BYTES

    assert told(analyze("--error", "-", sent=log))["error_type"] == "disk_full"


@pytest.mark.parametrize("place", [0, 10**11])
def test_a_large_file_is_read_at_its_ends(tmp_path: Path, place: int) -> None:
    with (tmp_path / "run.log").open("wb") as stream:
        stream.seek(place)
        stream.write(FULL_DISK)
        stream.truncate(10**11 + len(FULL_DISK))

    assert told(analyze("--error-file", str(tmp_path / "run.log")))["error_type"] == "disk_full"


def test_the_last_part_of_a_pipe_may_be_short() -> None:
    log = b"step\n" * (_PART_BYTES * 2 // 5) + FULL_DISK + b"step\n" * 99

    assert told(analyze("--error", "-", sent=log))["error_type"] == "disk_full"


def test_a_closed_standard_input_is_told(tmp_path: Path) -> None:
    command = ["sh", "-c", 'exec "$0" -P -m app.failures --error - <&-', sys.executable]
    environment = {"PYTHONPATH": str(ROOT)}

    ran = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60
    )

    assert ran.returncode == 2
    assert "Standard input cannot be read." in ran.stderr


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400), st.text(max_size=40))
def test_any_bytes_are_an_error(sent: bytes, job_id: str) -> None:
    answer = told(analyze("--error", "-", "--job-id", job_id, sent=b"x" + sent))

    assert answer["job_id"] == job_id.encode("utf-8", "replace").decode()


@pytest.mark.parametrize("text", [HOSTILE, "--help", "-", "-x", "--error", "\ud800", "é" * 30_000])
def test_any_text_is_an_error(text: str) -> None:
    answer = told(analyze("--error", text, "--job-id", text, sent=b"x"))

    assert answer["error_type"] == "unknown"


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ([], "Give the error with --error or with --error-file"),
        (["--error", "x", "--error-file", __file__], "one of the two"),
        (["--error", " \n"], "there is nothing to analyse"),
        (["--error", "x", "--config", "[1]"], "--config must be a JSON object"),
        (["--error", "x", "--config", "null"], "--config must be a JSON object"),
        (["--error", "x", "--config", "{'a': 1}"], "property name enclosed in double quotes at character 1"),
        (["--error", "x", "--config", "[" * 100_000], "--config is nested too deeply"),
        (["--error", "x", "--config", '{"a": ' + "1" * 5_000 + "}"], "--config holds a number with too many digits"),
        (["--error-file", "/nowhere/at/all"], "does not exist"),
        (["CUDA out of memory"], "unexpected extra argument"),
    ],
)
def test_what_cannot_be_used_is_said(options: list[str], fault: str) -> None:
    result = analyze(*options)

    assert result.exit_code == 2
    assert fault in " ".join(result.stderr.split())
    assert result.stdout == ""


def test_an_analyser_that_fails_is_told_as_json() -> None:
    def broken(_: Evidence) -> Diagnosis:
        raise KeyError("a rule")

    assert answer(Evidence("x"), "test", analyse=broken) == (
        {"error": "The failure could not be analysed.", "details": "KeyError: 'a rule'"},
        1,
    )


@pytest.mark.parametrize("program", [("app.cli", "analyze"), ("app.failures",)])
def test_it_runs_anywhere_and_runs_nothing(tmp_path: Path, program: tuple[str, ...]) -> None:
    """In a folder with a program of the same name, without a locale, with settings that the service refuses."""
    (tmp_path / "app.py").write_text("raise SystemExit('the wrong program')")
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong library')")
    error = b"\xff\xfe" + HOSTILE.encode() + b"\nNo space left on device"

    ran = run(*program, "--error", error, "--job-id", b"\xff", folder=tmp_path, LC_ALL="C", STUDIO_NO_SUCH="1")
    sent = run(*program, "--error", "-", sent=error * 20_000, folder=tmp_path)

    assert json.loads(ran.stdout)["error_type"] == "disk_full", ran.stderr
    assert json.loads(ran.stdout)["job_id"] == "?"
    assert json.loads(sent.stdout)["error_type"] == "disk_full", sent.stderr
    assert ran.stdout.isascii()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["app.py", "json.py"]


def test_a_setup_makes_a_command_that_runs_anywhere(tmp_path: Path) -> None:
    """Without `-P` Python looks for `app` in the folder that it is started in first."""
    (tmp_path / "app.py").write_text("raise SystemExit('the wrong program')")
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    venv = os.path.relpath(tmp_path, ROOT)
    subprocess.run(
        ["make", "-C", ROOT, f"VENV={venv}", f"{venv}/bin/studio"], check=True, capture_output=True, timeout=60
    )

    ran = subprocess.run(
        ["bin/studio", "analyze", "--error", FULL_DISK], cwd=tmp_path, capture_output=True, check=False, timeout=60
    )

    assert json.loads(ran.stdout)["error_type"] == "disk_full", ran.stderr
