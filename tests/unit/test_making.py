"""`studio generate` and `studio song`: files that play, and what is said when there is none."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import requests
import responses
from click.testing import CliRunner, Result
from fakes import TONE

from app.audio import prove
from app.cli import main
from app.client import MAX_RETRIES, Client

URL: Final = "https://studio.example"
JOB: Final = "0" * 32


def studio(*words: str, sent: bytes | None = None) -> Result:
    return CliRunner().invoke(main, words, input=sent)


def said(result: Result) -> str:
    return " ".join(result.stderr.split())


# ---------------------------------------------------------------------- here


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3"])
def test_a_clip_is_made_as_the_ending_says(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"calm.{ending}"

    result = studio("generate", "calm piano", "--duration", "5", "--mood", "relaxing", "-o", str(file))

    assert result.exit_code == 0, result.stderr
    audio = prove(file.read_bytes())
    assert audio.format == ending
    assert audio.duration_s == pytest.approx(5.0, abs=0.1)
    assert f"wrote {file} (5.0" in said(result)


def test_notes_and_players_are_files_too(tmp_path: Path) -> None:
    notes, players = tmp_path / "a.mid", tmp_path / "a.zip"

    assert studio("generate", "x", "--duration", "5", "-o", str(notes)).exit_code == 0
    assert studio("generate", "x", "--duration", "5", "-o", str(players)).exit_code == 0

    assert notes.read_bytes().startswith(b"MThd")
    assert zipfile.ZipFile(players).namelist()


def test_the_same_seed_makes_the_same_piece(tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.wav", "b.wav")]
    for file in files:
        studio("generate", "calm piano", "--duration", "5", "--seed", "7", "-o", str(file))

    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_piece_goes_to_standard_output(tmp_path: Path) -> None:
    result = studio("generate", "calm piano", "--duration", "5", "--format", "flac", "-o", "-")

    assert prove(result.stdout_bytes).format == "flac"


def test_what_nobody_plays_is_said(tmp_path: Path) -> None:
    result = studio("generate", "x", "--duration", "5", "--instruments", "kazoo", "-o", str(tmp_path / "a.wav"))

    assert 'Nobody here plays "kazoo".' in result.stderr


def test_a_song_is_made_of_its_sections(tmp_path: Path) -> None:
    (tmp_path / "song.json").write_text(
        json.dumps({"style": "jazz", "sections": [{"duration": 4}, {"name": "Chorus", "duration": 5}]})
    )

    result = studio("song", str(tmp_path / "song.json"), "-o", str(tmp_path / "song.wav"))

    assert result.exit_code == 0, result.stderr
    assert prove((tmp_path / "song.wav").read_bytes()).duration_s == 9.0


def test_a_song_comes_from_standard_input(tmp_path: Path) -> None:
    song = json.dumps({"style": "jazz", "sections": [{"duration": 4}]}).encode()

    assert studio("song", "-", "-o", str(tmp_path / "song.mp3"), sent=song).exit_code == 0
    assert prove((tmp_path / "song.mp3").read_bytes()).format == "mp3"


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["generate", "x", "--duration", "80", "-o", "a.wav"], "duration must be at most 30."),
        (["generate", "x", "--tempo", "fast", "-o", "a.wav"], "tempo must be a whole number."),
        (["generate", " ", "-o", "a.wav"], "prompt must not be empty."),
        (["generate", "x", "-o", "a.xyz"], "No format ends in .xyz"),
        (["generate", "x"], "Missing option '-o'"),
        (["song", "nowhere.json", "-o", "a.wav"], "does not exist"),
        (["song", "-", "-o", "a.wav"], "- is not JSON"),
        (["song", "-", "-o", "a.mid"], "- is not JSON"),
    ],
)
def test_what_cannot_be_used_is_named(words: list[str], fault: str) -> None:
    result = studio(*words, sent=b"{")

    assert result.exit_code == 2
    assert fault in said(result)


def test_a_song_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    song = b'{"style": "jazz", "sections": [{"duration": 1}]}'

    result = studio("song", "-", "-o", str(tmp_path / "a.wav"), sent=song)

    assert (result.exit_code, said(result)) == (2, "Error: sections[0].duration must be at least 3.")


@pytest.mark.parametrize(
    ("sent", "fault"),
    [
        (b"[1]", "- must hold a JSON object."),
        (b'{"title": "' + b"x" * 70_000 + b'"}', "- is larger than 64 KiB."),
        (b'{"style": "jazz", "sections": [{"duration": 4, "seed": -1}]}', "sections[0].seed must be at least 0."),
    ],
)
def test_what_is_no_song_is_told(tmp_path: Path, sent: bytes, fault: str) -> None:
    result = studio("song", "-", "-o", str(tmp_path / "a.wav"), sent=sent)

    assert (result.exit_code, said(result)) == (2, f"Error: {fault}")


def test_a_song_is_made_by_a_service(tmp_path: Path, wire: responses.RequestsMock) -> None:
    wire.post(f"{URL}/api/songs", json=job("succeeded"), status=202)
    wire.get(f"{URL}/api/jobs/{JOB}/audio", body=TONE.content)
    song = b'{"style": "jazz", "sections": [{"duration": 4}]}'

    result = studio("song", "-", "--url", URL, "-o", str(tmp_path / "a.flac"), sent=song)

    assert result.exit_code == 0, result.stderr
    assert json.loads(wire.calls[0].request.body or "")["format"] == "flac"
    assert (tmp_path / "a.flac").read_bytes() == TONE.content


def test_audio_that_is_refused_leaves_no_file(tmp_path: Path, wire: responses.RequestsMock) -> None:
    wire.post(f"{URL}/api/jobs", json=job("succeeded"), status=202)
    wire.get(f"{URL}/api/jobs/{JOB}/audio", status=410, json={"title": "The job is deleted."})

    result = fetch(tmp_path)

    assert (result.exit_code, "The job is deleted." in said(result)) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_told_before_the_work() -> None:
    result = studio("generate", "x", "--duration", "5", "-o", "/nowhere/at/all.wav")

    assert result.exit_code == 1
    assert "/nowhere/at/all.wav cannot be written" in said(result)
    assert "Composing" not in result.stderr


def test_what_was_there_stays_when_nothing_comes_of_it(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    file.write_bytes(b"before")

    studio("generate", "x", "--duration", "80", "-o", str(file))

    assert file.read_bytes() == b"before"
    assert [each.name for each in tmp_path.iterdir()] == ["a.wav"]


# ---------------------------------------------------------------------- by a service


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[responses.RequestsMock]:
    """What a service answers; nobody waits between questions."""
    monkeypatch.setattr("app.making.Client", partial(Client, sleep=lambda _: None))
    with responses.RequestsMock(assert_all_requests_are_fired=False) as wire:
        yield wire


def job(status: str, **changed: object) -> dict[str, Any]:
    return {
        "id": JOB,
        "status": status,
        "message": "Composing…",
        "progress": None,
        "poll_after_ms": None if status != "running" else 100,
        "audio_url": f"/api/jobs/{JOB}/audio" if status == "succeeded" else None,
        "error": None,
        "sections": None,
        "remarks": [],
        "request": {"seed": 7},
        "links": {"self": f"/api/status/{JOB}"},
        **changed,
    }


def fetch(tmp_path: Path) -> Result:
    return studio("generate", "calm piano", "--url", URL, "-o", str(tmp_path / "calm.wav"))


def test_a_service_makes_it(tmp_path: Path, wire: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_API_KEY", "secret")
    wire.post(f"{URL}/api/jobs", json=job("queued", poll_after_ms=100), status=202)
    wire.get(f"{URL}/api/status/{JOB}", json=job("running", progress=0.5))
    wire.get(f"{URL}/api/status/{JOB}", json=job("succeeded"))
    wire.get(f"{URL}/api/jobs/{JOB}/audio", body=TONE.content)

    result = fetch(tmp_path)

    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "calm.wav").read_bytes() == TONE.content
    asked = wire.calls[0].request
    assert asked.headers["Authorization"] == "Bearer secret"
    assert json.loads(asked.body or "")["prompt"] == "calm piano"
    assert "secret" not in result.output


def test_a_submission_that_is_repeated_starts_one_job(tmp_path: Path, wire: responses.RequestsMock) -> None:
    wire.post(f"{URL}/api/jobs", body=requests.ConnectionError())
    wire.post(f"{URL}/api/jobs", json=job("succeeded"), status=202)
    wire.get(f"{URL}/api/jobs/{JOB}/audio", body=TONE.content)

    assert fetch(tmp_path).exit_code == 0

    first, second = (call.request.headers["Idempotency-Key"] for call in wire.calls[:2])
    assert first == second


def test_questions_may_fail_for_a_while(tmp_path: Path, wire: responses.RequestsMock) -> None:
    wire.post(f"{URL}/api/jobs", json=job("running"), status=202)
    for _ in range(MAX_RETRIES):
        wire.get(f"{URL}/api/status/{JOB}", status=503, json={"title": "Away.", "retryable": True})
    wire.get(f"{URL}/api/status/{JOB}", json=job("succeeded"))
    wire.get(f"{URL}/api/jobs/{JOB}/audio", body=TONE.content)

    result = fetch(tmp_path)

    assert result.exit_code == 0
    assert "Server issue, retrying… (5/5)" in said(result)


def test_when_nobody_answers_the_job_is_not_given_up_for_lost(tmp_path: Path, wire: responses.RequestsMock) -> None:
    wire.post(f"{URL}/api/jobs", json=job("running"), status=202)
    wire.get(f"{URL}/api/status/{JOB}", body=requests.ConnectionError())

    result = fetch(tmp_path)

    assert result.exit_code == 1
    assert f"The job may well be done: ask {URL}/api/status/{JOB} again." in said(result)


@pytest.mark.parametrize(
    ("answer", "exit_code", "told"),
    [
        (
            {
                "status": 400,
                "json": {"title": "The request is not valid.", "errors": [{"field": "mood", "message": "is no mood"}]},
            },
            2,
            "The request is not valid. mood is no mood",
        ),
        ({"status": 401, "json": {"title": "No key.", "hint": "Send one."}}, 1, "No key. Send one."),
        ({"status": 404, "body": "<html>"}, 1, "The service answered 404 Not Found."),
        ({"status": 200, "json": {}}, 1, "What answers there is not this service."),
        ({"status": 200, "body": b"RIFF"}, 1, "What answers there is not this service."),
        ({"status": 503, "json": {"title": "Not configured.", "retryable": False}}, 1, "Not configured."),
    ],
)
def test_a_refusal_is_told(
    tmp_path: Path, wire: responses.RequestsMock, answer: dict[str, Any], exit_code: int, told: str
) -> None:
    wire.post(f"{URL}/api/jobs", **answer)

    result = fetch(tmp_path)

    assert (result.exit_code, told in said(result)) == (exit_code, True), result.stderr


def test_a_job_that_failed_says_why_and_what_is_left(tmp_path: Path, wire: responses.RequestsMock) -> None:
    failed = job(
        "failed",
        message="“Part 2” could not be made. The others are kept.",
        error={"title": "The prompt was refused.", "detail": "Too loud.", "hint": "Change it."},
        sections=[{"name": "Part 1", "audio_url": "/api/jobs/1/audio"}, {"name": "Part 2", "audio_url": None}],
    )
    wire.post(f"{URL}/api/jobs", json=failed, status=202)

    result = fetch(tmp_path)

    assert result.exit_code == 1
    for each in ("“Part 2” could not be made", "Too loud.", "Change it.", "Part 1 is there: /api/jobs/1/audio", JOB):
        assert each in said(result)
    assert list(tmp_path.iterdir()) == []


def test_audio_that_breaks_off_leaves_no_file(tmp_path: Path, wire: responses.RequestsMock) -> None:
    wire.post(f"{URL}/api/jobs", json=job("succeeded"), status=202)
    wire.get(
        f"{URL}/api/jobs/{JOB}/audio",
        body=TONE.content,
        headers={"Content-Length": "9999999"},
        auto_calculate_content_length=False,
    )

    result = fetch(tmp_path)

    assert result.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_an_address_that_is_none_is_told(tmp_path: Path) -> None:
    result = studio("generate", "x", "--url", "studio.example", "-o", str(tmp_path / "a.wav"))

    assert (result.exit_code, "studio.example is not the address of a service." in said(result)) == (2, True)


def test_an_interrupted_wait_cancels_the_job(tmp_path: Path, wire: responses.RequestsMock) -> None:
    def interrupt(_: object) -> Any:
        raise KeyboardInterrupt

    wire.post(f"{URL}/api/jobs", json=job("running"), status=202)
    wire.add_callback(responses.GET, f"{URL}/api/status/{JOB}", callback=interrupt)
    cancelled = wire.delete(f"{URL}/api/jobs/{JOB}", status=202)

    result = fetch(tmp_path)

    assert result.exit_code != 0
    assert cancelled.call_count == 1


def test_waits_grow_no_longer_than_they_must() -> None:
    waited: list[float] = []
    client = Client(URL, sleep=waited.append)
    standings: Callable[[], object] = lambda: list(client.follow(job("succeeded")))  # noqa: E731

    standings()

    assert waited == []
