"""`studio generate` and `studio song`: files that play, and what is said when there is none."""

from __future__ import annotations

import io
import json
import os
import socket
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest
import requests
import responses
import structlog
from click.testing import CliRunner, Result
from fakes import TONE

from app.audio import prove
from app.cli import main
from app.client import MAX_RETRIES, PATIENCE_S, RETRY_S, SUBMISSIONS, Client

URL: Final = "https://studio.example"
JOB: Final = "0" * 32


@pytest.fixture(autouse=True)
def _as_loud_as_before() -> Iterator[None]:
    """The commands silence the log, as they are alone in their processes, which these tests are not."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


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


def test_a_piece_goes_to_standard_output(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    main(["generate", "calm piano", "--duration", "5", "--format", "flac", "-o", "-"], standalone_mode=False)

    assert prove(capfdbinary.readouterr().out).format == "flac"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_no_music(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdout", Terminal())

    with pytest.raises(SystemExit):
        main(["generate", "x", "-o", "-"], standalone_mode=False)

    assert "Music would be written to the terminal" in capsys.readouterr().err


def test_a_bar_stays_on_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that wraps cannot be drawn anew: each time another one would stay behind."""
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    monkeypatch.setenv("COLUMNS", "60")
    named = json.dumps({"style": "jazz", "sections": [{"name": "Section " * 8, "duration": 3}]})
    (tmp_path / "song.json").write_text(named)

    main(["song", str(tmp_path / "song.json"), "-o", str(tmp_path / "a.wav")], standalone_mode=False)

    bars, _ = terminal.getvalue().split("\x1b[?25h")
    drawn = [line.replace("\x1b[?25l", "") for line in bars.split("\r")]
    assert any("Section Section" in line for line in drawn)
    assert max(map(len, drawn)) <= 60


def test_where_there_is_no_standard_output_none_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", None)

    with pytest.raises(SystemExit) as end:
        main(["generate", "x", "-o", "-"], standalone_mode=False)

    assert end.value.code == 2


def test_where_there_is_no_standard_error_the_music_stays_clean(
    monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr("sys.stderr", None)

    main(["generate", "x", "--duration", "5", "--format", "mid", "-o", "-"], standalone_mode=False)

    assert capfdbinary.readouterr().out.startswith(b"MThd")


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
        (["song", "-", "-o", "a.mid"], "No format ends in .mid here: use .wav, .flac, .ogg, .oga, .mp3, or --format."),
        (["song", "-", "--format", "mid", "-o", "a"], "'mid' is not one of 'wav', 'flac', 'ogg', 'mp3'."),
        (["generate", "x", "--duration", "abc", "-o", "a.wav"], "duration must be a number."),
        (["generate", "x", "--tempo", "500", "-o", "a.wav"], "tempo must be at most 220."),
        (["generate", "x", "-o", ""], "Name the file to write."),
        (["generate", "x", "--key", "schlüssel", "-o", "a.wav"], "it holds characters that no key has."),
    ],
)
def test_what_cannot_be_used_is_named(words: list[str], fault: str) -> None:
    result = studio(*words, sent=b"{")

    assert result.exit_code == 2
    assert fault in said(result)


def test_a_song_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    song = b'{"style": "jazz", "sections": [{"duration": 3}, {"duration": 1, "\\u001b[31mloud": 1}]}'

    result = studio("song", "-", "-o", str(tmp_path / "a.wav"), sent=song)

    assert result.exit_code == 2
    assert "Error: Section 2: duration must be at least 3." in said(result)
    assert "Section 2: [31mloud is not a field of this request." in said(result), "a file may colour no terminal"


@pytest.mark.parametrize(
    ("song", "fault"),
    [(b"[]", "- must hold a JSON object."), (b" " * 70_000, "- is larger than 64 KiB."), (b"[" * 60_000, "not JSON")],
)
def test_what_is_no_song_is_told(tmp_path: Path, song: bytes, fault: str) -> None:
    result = studio("song", "-", "-o", str(tmp_path / "a.wav"), sent=song)

    assert (result.exit_code, fault in said(result)) == (2, True), result.stderr


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    result = studio("song", "/proc/self/mem", "-o", str(tmp_path / "a.wav"))

    assert (result.exit_code, said(result)) == (2, "Error: /proc/self/mem cannot be read: Input/output error.")


def test_what_the_composer_cannot_make_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.making._COMPOSER_TIMEOUT_S", 0.0)

    result = studio("generate", "x", "--duration", "5", "-o", str(tmp_path / "a.wav"))

    assert (result.exit_code, "Error: The music engine did not finish in time." in said(result)) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_a_song_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    song = b'\xef\xbb\xbf{"style": "jazz", "sections": [{"duration": 3}]}'

    assert studio("song", "-", "-o", str(tmp_path / "a.wav"), sent=song).exit_code == 0


@pytest.mark.parametrize(
    ("words", "name", "described", "made"),
    [
        ((), "song", {}, "wav"),
        ((), "song", {"format": "flac"}, "flac"),
        ((), "song.ogg", {"format": "flac"}, "ogg"),
        (("--format", "mp3"), "song.ogg", {"format": "flac"}, "mp3"),
    ],
)
def test_the_format_of_a_song_is_the_most_urgent_one(
    tmp_path: Path, words: tuple[str, ...], name: str, described: dict[str, str], made: str
) -> None:
    song = json.dumps({"style": "jazz", "sections": [{"duration": 3}], **described}).encode()

    result = studio("song", "-", "-o", str(tmp_path / name), *words, sent=song)

    assert result.exit_code == 0, result.stderr
    assert prove((tmp_path / name).read_bytes()).format == made


def test_a_song_is_made_by_a_service(tmp_path: Path, wire: responses.RequestsMock) -> None:
    wire.post(f"{URL}/api/songs", json=job("succeeded"), status=202)
    wire.get(f"{URL}/api/jobs/{JOB}/audio", body=TONE.content, content_type="audio/flac")
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


NOTES: Final = ("generate", "x", "--duration", "5", "--format", "mid", "-o")
"""A piece that is small enough for a pipe which nobody reads yet."""


def test_a_pipe_gets_the_piece_and_stays(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)

    result = studio(*NOTES, str(pipe))

    assert (result.exit_code, os.read(reader, 4)) == (0, b"MThd"), result.stderr
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]
    os.close(reader)


def test_a_link_stays_and_leads_to_the_new_piece(tmp_path: Path) -> None:
    link, target = tmp_path / "a.mid", tmp_path / "deep" / "b.mid"
    target.parent.mkdir()
    target.write_bytes(b"before")
    target.chmod(0o600)
    link.symlink_to(target)

    assert studio(*NOTES, str(link)).exit_code == 0

    assert link.readlink() == target
    assert target.read_bytes().startswith(b"MThd")
    assert target.stat().st_mode & 0o777 == 0o600, "whom it was hidden from it is shown to"


def test_a_link_to_nothing_gets_something_to_lead_to(tmp_path: Path) -> None:
    (tmp_path / "a.mid").symlink_to("b.mid")

    assert studio(*NOTES, str(tmp_path / "a.mid")).exit_code == 0

    assert (tmp_path / "a.mid").is_symlink()
    assert (tmp_path / "b.mid").read_bytes().startswith(b"MThd")


@pytest.fixture
def unwritable(tmp_path: Path) -> Iterator[Path]:
    """What can be neither replaced nor written to: a socket."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        yield tmp_path / "s"


def test_what_cannot_be_written_to_is_told(unwritable: Path) -> None:
    result = studio(*NOTES, str(unwritable))

    assert result.exit_code == 1
    assert f"{unwritable} cannot be written: No such device or address." in said(result)


# ---------------------------------------------------------------------- by a service


@pytest.fixture
def waits_s() -> list[float]:
    """How long was waited, each time, where nobody waits."""
    return []


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch, waits_s: list[float]) -> Iterator[responses.RequestsMock]:
    """What a service answers; nobody waits between questions."""
    monkeypatch.setattr("app.making.Client", partial(Client, sleep=waits_s.append))
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


WHERE: Final = f"Job {JOB}: {URL}/api/status/{JOB}"


def fetch(tmp_path: Path, url: str = URL) -> Result:
    return studio("generate", "calm piano", "--url", url, "-o", str(tmp_path / "calm.wav"))


def made(wire: responses.RequestsMock) -> None:
    """Answer that the piece is made at once."""
    wire.post(f"{URL}/api/jobs", json=job("succeeded"), status=202)


def give(wire: responses.RequestsMock, **answer: Any) -> None:
    """Answer the question for the audio: with the piece, unless something else is said."""
    piece = {} if "json" in answer else {"body": TONE.content, "content_type": "audio/wav"}
    wire.get(f"{URL}/api/jobs/{JOB}/audio", **(piece | answer))


def test_a_service_makes_it(tmp_path: Path, wire: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUDIO_KEY", "secret")
    wire.post(f"{URL}/api/jobs", json=job("queued", poll_after_ms=100), status=202)
    wire.get(f"{URL}/api/status/{JOB}", json=job("running", progress=0.5))
    wire.get(f"{URL}/api/status/{JOB}", json=job("succeeded"))
    give(wire)

    result = fetch(tmp_path)

    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "calm.wav").read_bytes() == TONE.content
    asked = wire.calls[0].request
    assert asked.headers["Authorization"] == "Bearer secret"
    assert json.loads(asked.body or "")["prompt"] == "calm piano"
    assert "secret" not in result.output


def test_a_service_makes_a_song(tmp_path: Path, wire: responses.RequestsMock) -> None:
    wire.post(f"{URL}/api/songs", json=job("succeeded", remarks=["Nobody here plays “kazoo”."]), status=202)
    give(wire)
    song = b'{"style": "jazz", "format": "flac", "sections": [{"duration": 3}]}'

    result = studio("song", "-", "--url", URL, "-o", str(tmp_path / "a"), sent=song)

    assert result.exit_code == 0, result.stderr
    assert json.loads(wire.calls[0].request.body or "")["format"] == "flac"
    assert "Nobody here plays “kazoo”." in said(result)


def test_a_submission_that_is_repeated_starts_one_job(tmp_path: Path, wire: responses.RequestsMock) -> None:
    wire.post(f"{URL}/api/jobs", body=requests.ConnectionError())
    wire.post(f"{URL}/api/jobs", json=job("succeeded"), status=202)
    give(wire)

    assert fetch(tmp_path).exit_code == 0

    first, second = (call.request.headers["Idempotency-Key"] for call in wire.calls[:2])
    assert first == second


def test_questions_may_fail_for_a_while(tmp_path: Path, wire: responses.RequestsMock) -> None:
    wire.post(f"{URL}/api/jobs", json=job("running"), status=202)
    for _ in range(MAX_RETRIES):
        wire.get(f"{URL}/api/status/{JOB}", status=503, json={"title": "Away.", "retryable": True})
    wire.get(f"{URL}/api/status/{JOB}", json=job("succeeded"))
    give(wire)

    result = fetch(tmp_path)

    assert result.exit_code == 0
    assert "Server issue, retrying… (5/5)" in said(result)


def test_when_nobody_answers_the_job_is_not_given_up_for_lost(tmp_path: Path, wire: responses.RequestsMock) -> None:
    wire.post(f"{URL}/api/jobs", json=job("running"), status=202)
    wire.get(f"{URL}/api/status/{JOB}", body=requests.ConnectionError())

    result = fetch(tmp_path)

    assert result.exit_code == 1
    assert "The service cannot be reached." in said(result)
    assert said(result).endswith(f"The job may well be done all the same. {WHERE}")


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 500, "json": {"title": "Something is broken here.", "retryable": False}},
        {"status": 502, "body": "<html>"},
        {"status": 429, "json": {"title": "Too many requests."}},
        {"status": 200, "body": "<html>We are back soon."},
        {"status": 200, "json": {"id": JOB, "status": "done"}},
        {"body": requests.exceptions.ChunkedEncodingError()},
    ],
)
def test_a_question_that_fails_is_no_job_that_fails(
    tmp_path: Path, wire: responses.RequestsMock, answer: dict[str, Any]
) -> None:
    wire.post(f"{URL}/api/jobs", json=job("running"), status=202)
    wire.get(f"{URL}/api/status/{JOB}", **answer)
    wire.get(f"{URL}/api/status/{JOB}", json=job("succeeded"))
    give(wire)

    result = fetch(tmp_path)

    assert result.exit_code == 0, result.stderr


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"status": 404, "json": {"title": "There is nothing here."}}, "There is nothing here."),
        ({"status": 410, "json": {"title": "The job is not kept any more."}}, "The job is not kept any more."),
        ({"status": 400, "body": ""}, "The service answered 400 Bad Request."),
        ({"status": 500, "json": {"title": "Broken.", "retryable": False}}, "Broken."),
        ({"status": 302, "headers": {"Location": "/login?next=a"}}, f"It sends on to {URL}/login Job"),
    ],
)
def test_whatever_a_question_comes_to_the_job_is_named(
    tmp_path: Path, wire: responses.RequestsMock, answer: dict[str, Any], told: str
) -> None:
    wire.post(f"{URL}/api/jobs", json=job("running"), status=202)
    wire.get(f"{URL}/api/status/{JOB}", **answer)

    result = fetch(tmp_path)

    assert (result.exit_code, told in said(result)) == (1, True), result.stderr
    assert said(result).endswith(WHERE)


def test_a_question_waits_as_long_as_it_is_told(
    tmp_path: Path, wire: responses.RequestsMock, waits_s: list[float]
) -> None:
    wire.post(f"{URL}/api/jobs", json=job("running", poll_after_ms=1e12), status=202)
    for wait in ("1", "20", "86400"):
        wire.get(f"{URL}/api/status/{JOB}", status=503, headers={"Retry-After": wait})
    wire.get(f"{URL}/api/status/{JOB}", json=job("succeeded"))
    give(wire)

    assert fetch(tmp_path).exit_code == 0
    assert waits_s == [PATIENCE_S, RETRY_S, 20.0, PATIENCE_S]


@pytest.mark.parametrize(
    ("code", "retry_after"), [(503, "7"), (429, "7"), (409, "7")], ids=["overloaded", "rate-limited", "in flight"]
)
def test_a_service_that_asks_for_patience_gets_it(
    tmp_path: Path, wire: responses.RequestsMock, waits_s: list[float], code: int, retry_after: str
) -> None:
    problem = {"title": "All places are taken.", "retryable": True}
    wire.post(f"{URL}/api/jobs", status=code, json=problem, headers={"Retry-After": retry_after})
    made(wire)
    give(wire)

    result = fetch(tmp_path)

    assert (result.exit_code, waits_s) == (0, [7.0]), result.stderr
    assert "All places are taken. Asking again in 7 s…" in said(result)


@pytest.mark.parametrize(("retry_after", "submissions"), [("20", 4), ("3600", 1), ("0", 6)])
def test_patience_ends(
    tmp_path: Path, wire: responses.RequestsMock, waits_s: list[float], retry_after: str, submissions: int
) -> None:
    problem = {"title": "Too many requests.", "detail": "60 an hour.", "hint": "Wait.", "retryable": True}
    refused = wire.post(f"{URL}/api/jobs", status=429, json=problem, headers={"Retry-After": retry_after})

    result = fetch(tmp_path)

    assert result.exit_code == 1
    assert refused.call_count == submissions
    assert sum(waits_s) <= PATIENCE_S
    told = f"Error: Too many requests. 60 an hour. Wait. It wants to be asked again in {retry_after} s. Asked: {URL}"
    assert said(result).endswith(told)


def test_a_service_that_does_not_say_when_is_not_asked_for_ever(tmp_path: Path, wire: responses.RequestsMock) -> None:
    refused = wire.post(f"{URL}/api/jobs", status=502, body="<html>")

    result = fetch(tmp_path)

    assert refused.call_count == SUBMISSIONS
    assert f"Error: The service answered 502 Bad Gateway. Asked: {URL}" in said(result)
    assert "cannot be reached" not in said(result)


def test_who_has_mistyped_the_address_is_told(tmp_path: Path, wire: responses.RequestsMock) -> None:
    wire.post(f"{URL}/api/jobs", body=requests.ConnectionError())

    result = fetch(tmp_path)

    assert said(result).endswith(f"Error: The service cannot be reached. No connection. Asked: {URL}")


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
        ({"status": 400, "json": {"title": "No.", "errors": ["a", {"field": 1, "message": "b"}, None]}}, 2, "No. b"),
        ({"status": 400, "json": {"title": ["No."], "errors": 3, "hint": {}, "request_id": 7}}, 2, "400 Bad Request."),
        ({"status": 403, "json": {"title": "\ud800No."}}, 1, "403 Forbidden."),
        ({"status": 403, "json": ["No."]}, 1, "The service answered 403 Forbidden."),
        ({"status": 403, "body": "[" * 100_000}, 1, "The service answered 403 Forbidden."),
        ({"status": 403, "json": {"title": "No.", "request_id": "r1"}}, 1, "No. Request id: r1"),
        ({"status": 200, "json": {"links": {}}}, 1, "What answers there is not this service."),
        ({"status": 202, "json": job("queued", id="../../x")}, 1, "What answers there is not this service."),
        ({"status": 304}, 1, "The service answered 304 Not Modified."),
        ({"body": requests.exceptions.SSLError()}, 1, "The certificate of the service cannot be trusted."),
        ({"body": requests.Timeout()}, 1, "It took too long to answer."),
        ({"body": OSError("no such bundle")}, 1, "no such bundle"),
        ({"body": requests.exceptions.InvalidHeader()}, 1, "InvalidHeader"),
    ],
)
def test_a_refusal_is_told(
    tmp_path: Path, wire: responses.RequestsMock, answer: dict[str, Any], exit_code: int, told: str
) -> None:
    wire.post(f"{URL}/api/jobs", **answer)

    result = fetch(tmp_path)

    assert (result.exit_code, told in said(result)) == (exit_code, True), result.stderr


def test_what_a_service_says_cannot_steer_the_terminal(tmp_path: Path, wire: responses.RequestsMock) -> None:
    loud = "\x1b]0;mine\x07\x1b[2J\u202eLoud\r\n\x9b31m" + "!" * 10_000
    wire.post(f"{URL}/api/jobs", json=job("running", message=loud), status=202)
    wire.get(f"{URL}/api/status/{JOB}", json=job("failed", message=loud, error={"title": loud, "hint": loud}))

    result = fetch(tmp_path)

    assert "Loud" in result.stderr
    assert all(character.isprintable() for line in result.stderr.split("\n") for character in line)
    assert len(result.stderr) < 5_000


@pytest.mark.parametrize("status", [202, 302, 403])
def test_an_answer_without_an_end_is_not_waited_for(tmp_path: Path, wire: responses.RequestsMock, status: int) -> None:
    endless = io.BufferedReader(io.BytesIO(json.dumps(job("succeeded", filler="." * 2**23)).encode()))
    wire.post(f"{URL}/api/jobs", body=endless, status=status, headers={"Location": f"{URL}/v2"})

    result = fetch(tmp_path)

    assert result.exit_code == 1
    assert endless.closed or endless.tell() < 2**21


def test_a_password_in_the_address_is_not_shown(
    tmp_path: Path, wire: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDIO_KEY", "the key\n".replace(" ", "-"))
    address = URL.replace("://", "://nina:hidden@")
    wire.post(f"{address}/api/jobs", json=job("running"), status=202)
    wire.get(f"{address}/api/status/{JOB}", status=404)

    result = fetch(tmp_path, address)

    assert f"Job {JOB}: https://***@studio.example/api/status/{JOB}" in said(result)
    assert "hidden" not in result.output
    assert wire.calls[0].request.headers["Authorization"] == "Bearer the-key"


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("https://music.example/api/jobs", "The service is at https://music.example: use that address."),
        ("https://u:hidden@music.example/v2/api/jobs", "The service is at https://***@music.example/v2: use that"),
        ("/api/jobs?again", f"What answers there is not this service. It sends on to {URL}/api/jobs"),
        ("https://login.example/?t=hidden", "It sends on to https://login.example/ "),
        ("http://[", f"What answers there is not this service. Asked: {URL}"),
    ],
)
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_submission_goes_nowhere_else(
    tmp_path: Path, wire: responses.RequestsMock, code: int, location: str, told: str
) -> None:
    wire.post(f"{URL}/api/jobs", status=code, headers={"Location": location})

    result = fetch(tmp_path)

    assert result.exit_code != 0
    assert told in said(result), result.stderr
    assert "hidden" not in result.output
    assert len(wire.calls) == 1


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
    for each in (
        "“Part 2” could not be made",
        "Too loud.",
        "Change it.",
        f"Part 1 is there: {URL}/api/jobs/1/audio",
        WHERE,
    ):
        assert each in said(result)
    assert list(tmp_path.iterdir()) == []


SHORT: Final = {"headers": {"Content-Length": "9999999"}, "auto_calculate_content_length": False}


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 503, "json": {"title": "Away."}},
        {"status": 500, "json": {"title": "Broken.", "retryable": False}},
        {"status": 409, "json": {"title": "The job is not finished yet.", "retryable": True}},
        {"body": requests.ConnectionError()},
        {"body": b"<html>We are back soon.", "content_type": "text/html"},
        SHORT,
    ],
)
def test_audio_that_does_not_come_is_asked_for_again(
    tmp_path: Path, wire: responses.RequestsMock, answer: dict[str, Any]
) -> None:
    made(wire)
    give(wire, **answer)
    give(wire)

    result = fetch(tmp_path)

    assert result.exit_code == 0, result.stderr
    assert (tmp_path / "calm.wav").read_bytes() == TONE.content
    assert f"Server issue, retrying… (1/{MAX_RETRIES})" in said(result)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (SHORT, "The answer of the service broke off. ChunkedEncodingError"),
        ({"body": requests.TooManyRedirects()}, "It sends on and on."),
        ({"status": 410, "json": {"title": "The job is not kept any more."}}, "The job is not kept any more."),
    ],
)
def test_audio_that_never_comes_leaves_no_file_but_the_job_is_named(
    tmp_path: Path, wire: responses.RequestsMock, answer: dict[str, Any], told: str
) -> None:
    made(wire)
    give(wire, **answer)

    result = fetch(tmp_path)

    assert (result.exit_code, told in said(result)) == (1, True), result.stderr
    assert said(result).endswith(WHERE)
    assert list(tmp_path.iterdir()) == []


def test_audio_without_an_end_is_not_kept(
    tmp_path: Path, wire: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.client._MOST_FILE_BYTES", 1_000)
    made(wire)
    give(wire)

    result = fetch(tmp_path)

    assert "What is sent there is too large for a piece." in said(result)
    assert list(tmp_path.iterdir()) == []


def test_audio_that_lies_elsewhere_is_fetched_without_the_key(
    tmp_path: Path, wire: responses.RequestsMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STUDIO_KEY", "secret")
    made(wire)
    give(wire, status=307, body=b"", headers={"Location": "https://bucket.example/file"})
    wire.get("https://bucket.example/file", body=TONE.content, content_type="audio/wav")

    assert fetch(tmp_path).exit_code == 0

    assert "Authorization" in wire.calls[1].request.headers
    assert "Authorization" not in wire.calls[2].request.headers


def test_a_piece_that_cannot_be_written_is_still_there(wire: responses.RequestsMock, unwritable: Path) -> None:
    made(wire)
    give(wire)

    result = studio("generate", "x", "--url", URL, "-o", str(unwritable))

    assert result.exit_code == 1
    assert f"{unwritable} cannot be written: No such device or address. {WHERE}" in said(result)


@pytest.mark.parametrize("address", ["studio.example", "ftp://studio.example", "https://[", "https://studio:x"])
def test_an_address_that_is_none_is_told(tmp_path: Path, address: str) -> None:
    result = fetch(tmp_path, address)

    assert (result.exit_code, f"{address} is not the address of a service." in said(result)) == (2, True)


@pytest.mark.parametrize("address", ["nina:hidden@studio.example", "https://nina:hid/den?#@st@studio.example:x/"])
def test_an_address_that_is_none_shows_no_password_either(tmp_path: Path, address: str) -> None:
    result = fetch(tmp_path, address)

    assert "***@studio.example" in said(result)
    assert "nina" not in result.output
    assert "hid" not in result.output


def test_a_proxy_that_cannot_be_used_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:9")

    result = fetch(tmp_path)

    assert "Error: The proxy that is set here cannot be used. See HTTPS_PROXY and ALL_PROXY." in said(result)


def interrupt(_: object) -> Any:
    raise KeyboardInterrupt


def test_an_interrupted_wait_cancels_the_job(tmp_path: Path, wire: responses.RequestsMock) -> None:
    wire.post(f"{URL}/api/jobs", json=job("running"), status=202)
    wire.add_callback(responses.GET, f"{URL}/api/status/{JOB}", callback=interrupt)
    cancelled = wire.delete(f"{URL}/api/jobs/{JOB}", status=202)

    result = fetch(tmp_path)

    assert result.exit_code != 0
    assert cancelled.call_count == 1
    assert WHERE not in said(result)


def test_a_job_that_cannot_be_cancelled_is_named(tmp_path: Path, wire: responses.RequestsMock) -> None:
    wire.post(f"{URL}/api/jobs", json=job("running"), status=202)
    wire.add_callback(responses.GET, f"{URL}/api/status/{JOB}", callback=interrupt)
    wire.delete(f"{URL}/api/jobs/{JOB}", status=503, json={"title": "Away."})

    assert f"The job could not be cancelled. Away. {WHERE}" in said(fetch(tmp_path))


def test_an_interrupted_submission_has_no_job_to_cancel(tmp_path: Path, wire: responses.RequestsMock) -> None:
    wire.add_callback(responses.POST, f"{URL}/api/jobs", callback=interrupt)

    assert fetch(tmp_path).exit_code != 0
    assert len(wire.calls) <= 1


def test_an_interrupted_download_deletes_nothing(tmp_path: Path, wire: responses.RequestsMock) -> None:
    made(wire)
    wire.add_callback(responses.GET, f"{URL}/api/jobs/{JOB}/audio", callback=interrupt)
    deleted = wire.delete(f"{URL}/api/jobs/{JOB}", status=204)

    result = fetch(tmp_path)

    assert result.exit_code != 0
    assert deleted.call_count == 0
    assert WHERE in said(result)
    assert list(tmp_path.iterdir()) == []


def test_waits_are_as_short_as_they_may_be(tmp_path: Path, wire: responses.RequestsMock, waits_s: list[float]) -> None:
    made(wire)
    give(wire)

    assert fetch(tmp_path).exit_code == 0
    assert waits_s == []
