"""`studio jobs`: what an operator sees and does, on the database of the settings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from job_samples import TickingClock, queued_job, result_of

from app.cli import main
from app.engines.engine import Brief
from app.jobs.job import Job
from app.jobs.parts import open_parts
from app.jobs.records import Records
from app.jobs.song import Section, SongRequest
from app.settings import Settings

ERROR: dict[str, object] = {"code": "upstream-error", "status": 502, "title": "The upstream failed."}


def studio(folder: Path, *arguments: str) -> Result:
    return CliRunner(env={"STUDIO_DATA_DIR": str(folder)}).invoke(main, list(arguments))


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    """Return the records of a service whose folder is `tmp_path`."""
    parts = open_parts(Settings.model_validate({"STUDIO_DATA_DIR": tmp_path}), engine_name="fake")
    yield parts.records
    parts.database.close()


@pytest.fixture
def clock() -> TickingClock:
    return TickingClock()


def found(records: Records, id: str) -> Job:
    job = records.get(id)
    assert job is not None
    return job


def test_jobs_are_listed_newest_first(tmp_path: Path, records: Records, clock: TickingClock) -> None:
    first, second = queued_job(records, clock, owner="ann"), queued_job(records, clock)
    assert records.start(first.id, 1, "Composing…")

    result = studio(tmp_path, "jobs", "list")

    assert result.exit_code == 0, result.output
    heads, newest, oldest = result.stdout.splitlines()
    assert heads.split() == ["ID", "STATUS", "ATTEMPT", "CREATED", "OWNER", "MESSAGE"]
    assert newest.startswith(f"{second.id}  queued   0/3      2023-11-14T22:13:20+00:00  -      Waiting")
    assert oldest.startswith(f"{first.id}  running  1/3      2023-11-14T22:13:20+00:00  ann    Composing…")
    (_, only) = studio(tmp_path, "jobs", "list", "--limit", "1").stdout.splitlines()
    assert only.startswith(second.id)
    assert len(studio(tmp_path, "jobs", "list", "--status", "running").stdout.splitlines()) == 2
    assert len(studio(tmp_path, "jobs", "list", "--username", "nobody").stdout.splitlines()) == 1


def test_a_list_for_programs_is_json(tmp_path: Path, records: Records, clock: TickingClock) -> None:
    job = queued_job(records, clock)

    (described,) = json.loads(studio(tmp_path, "jobs", "list", "--json").stdout)

    assert described["id"] == job.id
    assert described["request"]["prompt"] == "calm piano"
    assert described["created_at"] == "2023-11-14T22:13:20+00:00"


def test_a_job_is_shown_with_all_that_is_known(tmp_path: Path, records: Records, clock: TickingClock) -> None:
    job = queued_job(records, clock)
    assert records.start(job.id, 1, "Composing…")
    assert records.succeed(job.id, result_of(job))

    shown = studio(tmp_path, "jobs", "show", job.id)
    described = json.loads(studio(tmp_path, "jobs", "show", job.id, "--json").stdout)

    lines = dict(line.split(maxsplit=1) for line in shown.stdout.splitlines() if " " in line)
    assert lines["status"] == described["status"] == "succeeded"
    assert json.loads(lines["result"]) == described["result"]
    assert described["result"]["file"] == f"{job.id}.mp3"
    assert described["error"] is None
    assert "error" not in lines


def test_a_job_is_cancelled_and_one_that_is_over_stays_as_it_is(
    tmp_path: Path, records: Records, clock: TickingClock
) -> None:
    waiting, running, done = (queued_job(records, clock) for _ in range(3))
    for job in (running, done):
        assert records.start(job.id, 1, "Composing…")
    assert records.succeed(done.id, result_of(done))

    result = studio(tmp_path, "jobs", "cancel", waiting.id, running.id, done.id)

    assert result.exit_code == 0, result.output
    assert [line.split()[1] for line in result.stdout.splitlines()] == ["cancelled", "running", "succeeded"]
    assert found(records, waiting.id).status == "cancelled"
    assert found(records, running.id).cancel_requested
    assert found(records, done.id).status == "succeeded"


def test_a_failed_job_is_asked_for_again_as_a_new_one(tmp_path: Path, records: Records, clock: TickingClock) -> None:
    job = queued_job(records, clock, owner="ann")
    assert records.start(job.id, 1, "Composing…")
    assert records.fail(job.id, ERROR, retryable=True, message="Try again.")

    result = studio(tmp_path, "jobs", "retry", job.id)

    assert result.exit_code == 0, result.output
    again = found(records, result.stdout.strip())
    assert again.id != job.id
    assert (again.status, again.owner, again.request) == ("queued", "ann", job.request)
    assert found(records, job.id).status == "failed"


def test_a_job_that_has_not_failed_is_not_asked_for_again(
    tmp_path: Path, records: Records, clock: TickingClock
) -> None:
    result = studio(tmp_path, "jobs", "retry", queued_job(records, clock).id)

    assert result.exit_code == 1
    assert result.stdout == ""
    assert "The job is queued" in result.stderr


@pytest.mark.parametrize("command", ["show", "cancel", "retry"])
def test_a_job_that_is_not_there_is_told(tmp_path: Path, records: Records, command: str) -> None:
    result = studio(tmp_path, "jobs", command, "0" * 32)

    assert result.exit_code == 1
    assert "There is no such job." in result.stderr
    assert "Traceback" not in result.output


def test_a_folder_without_jobs_is_told_and_left_as_it_is(tmp_path: Path) -> None:
    result = studio(tmp_path / "elsewhere", "jobs", "list")

    assert result.exit_code == 1
    assert "STUDIO_DATA_DIR" in result.stderr
    assert not (tmp_path / "elsewhere").exists()


def test_a_database_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "studio.sqlite").write_bytes(b"not a database, but long enough to look like one" * 100)

    result = studio(tmp_path, "jobs", "list")

    assert result.exit_code == 1
    assert "The job database is damaged." in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("arguments", [("jobs", "list"), ("worker",)])
def test_settings_that_cannot_be_used_are_named(arguments: tuple[str, ...]) -> None:
    result = CliRunner(env={"STUDIO_JOB_WORKERS": "many"}).invoke(main, list(arguments))

    assert result.exit_code == 1
    assert "STUDIO_JOB_WORKERS" in result.stderr


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"STUDIO_ENGINE": "composer"}, "A worker needs STUDIO_DATABASE_URL"),
        ({"STUDIO_DATABASE_URL": "postgresql://a:secret@127.0.0.1:1/b"}, "HF_API_URL"),
    ],
)
def test_a_worker_says_what_it_needs(settings: dict[str, str], sentence: str) -> None:
    result = CliRunner(env=settings).invoke(main, ["worker"])

    assert result.exit_code == 1
    assert sentence in result.stderr
    assert "secret" not in result.output


def test_songs_are_listed_cancelled_and_asked_for_again_like_any_job(tmp_path: Path) -> None:
    parts = open_parts(Settings.model_validate({"STUDIO_DATA_DIR": tmp_path}), engine_name="fake")
    sections = (Section("Intro", Brief("rain", 5.0, seed=1)), Section("Outro", Brief("sun", 5.0, seed=2)))
    song = parts.jobs.submit_song(SongRequest(sections, seed=1), owner="", request_id="r").job

    _, listed = studio(tmp_path, "jobs", "list").stdout.splitlines()
    shown = studio(tmp_path, "jobs", "show", song.id, "--json")
    cancelled = studio(tmp_path, "jobs", "cancel", song.id)
    again = studio(tmp_path, "jobs", "retry", song.id)

    assert listed.split()[:3] == [song.id, "queued", "0/1"]
    assert [each["name"] for each in json.loads(shown.stdout)["request"]["sections"]] == ["Intro", "Outro"]
    assert "cancelled" in cancelled.stdout
    assert {job.status for job in parts.jobs.sections(song.id).values()} == {"cancelled"}
    assert len(parts.jobs.sections(again.stdout.strip())) == 2
    parts.database.close()
