"""The audio of a job: whole, in part, unchanged, or honestly not there."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from fakes import TONE
from job_service import JobService
from werkzeug.test import TestResponse

from app.errors import UpstreamError

CONTENT = TONE.content
SIZE = len(CONTENT)


def code_of(response: Any) -> str:
    assert response.content_type == "application/problem+json"
    return str(json.loads(response.data)["code"])


@pytest.fixture
def url(service: JobService) -> str:
    """Where the audio of a finished job is."""
    return f"/api/jobs/{service.finished(username='nina', seed=7)}/audio"


def part_of(service: JobService, url: str, range: str, **headers: str) -> TestResponse:
    return service.client.get(url, headers={"Range": range, **headers})


def test_the_audio_is_what_was_made(service: JobService, url: str) -> None:
    response = service.client.get(url)

    digest = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
    assert response.status_code == 200
    assert response.data == CONTENT
    assert response.content_type == "audio/wav"
    assert response.content_length == SIZE
    assert response.headers["Content-Disposition"].startswith('inline; filename="studio-nina-rain.wav"')
    assert response.headers["ETag"] == f'"{hashlib.sha256(CONTENT).hexdigest()}"'
    assert response.headers["Repr-Digest"] == f"sha-256=:{digest}:"
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["Cache-Control"] == "private, no-cache"
    assert response.headers["Studio-Seed"] == "7"
    assert response.headers["Studio-Engine"] == "fake"
    assert response.headers["Studio-Attempts"] == "1"
    assert response.headers["Server-Timing"].startswith("job;dur=")


def test_head_tells_the_size_and_reads_nothing(service: JobService, url: str) -> None:
    whole = service.client.get(url)
    service.store.delete(service.job(url.split("/")[3]).id + ".wav")
    response = service.client.head(url, headers={"Range": "bytes=0-9"})

    assert response.status_code == 200
    assert response.data == b""
    assert response.content_length == SIZE
    for name in ("ETag", "Content-Type", "Accept-Ranges", "Content-Disposition", "Repr-Digest"):
        assert response.headers[name] == whole.headers[name]


@pytest.mark.parametrize(
    ("range", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-9", 0, 10),
        ("bytes=10-19", 10, 20),
        ("bytes=44-", 44, SIZE),
        ("bytes=0-", 0, SIZE),
        ("bytes=-10", SIZE - 10, SIZE),
        (f"bytes=-{SIZE * 2}", 0, SIZE),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE),
        ("bytes=100-999999999", 100, SIZE),
        ("BYTES= 5-6 ", 5, 7),
    ],
)
def test_a_part_is_sent_alone(service: JobService, url: str, range: str, start: int, end: int) -> None:
    response = part_of(service, url, range)

    assert response.status_code == 206
    assert response.data == CONTENT[start:end]
    assert response.content_length == end - start
    assert response.headers["Content-Range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert response.headers["ETag"]
    assert response.content_type == "audio/wav"


@pytest.mark.parametrize(
    "range",
    ["", "bytes", "bytes=", "bytes=-", "bytes=9-0", "bytes=a-b", "bytes=0-1,5-6", "seconds=0-1", "bytes=" + "9" * 40],
)
def test_a_range_that_is_none_is_answered_with_the_whole(service: JobService, url: str, range: str) -> None:
    response = part_of(service, url, range)

    assert (response.status_code, response.data) == (200, CONTENT)
    assert "Content-Range" not in response.headers


@pytest.mark.parametrize("range", [f"bytes={SIZE}-", f"bytes={SIZE}-{SIZE + 5}", "bytes=-0", "bytes=99999999-"])
def test_a_range_behind_the_end_is_told_how_long_the_file_is(service: JobService, url: str, range: str) -> None:
    response = part_of(service, url, range)

    assert response.status_code == 416
    assert code_of(response) == "range-not-satisfiable"
    assert response.headers["Content-Range"] == f"bytes */{SIZE}"
    assert response.headers["Cache-Control"] == "no-store"


def test_a_part_is_only_for_those_who_have_the_rest_of_the_same_file(service: JobService, url: str) -> None:
    etag = service.client.get(url).headers["ETag"]

    assert part_of(service, url, "bytes=0-9", **{"If-Range": etag}).status_code == 206
    for other in ('"other"', f"W/{etag}", "Wed, 21 Oct 2026 07:28:00 GMT"):
        assert part_of(service, url, "bytes=0-9", **{"If-Range": other}).data == CONTENT


@pytest.mark.parametrize("sent", ["{}", "W/{}", '"other", {}', "*"])
def test_what_the_caller_has_is_not_sent_again(service: JobService, url: str, sent: str) -> None:
    etag = service.client.get(url).headers["ETag"]

    response = service.client.get(url, headers={"If-None-Match": sent.format(etag), "Range": "bytes=0-9"})

    assert (response.status_code, response.data) == (304, b"")
    assert response.headers["ETag"] == etag
    assert response.headers["Cache-Control"] == "private, no-cache"


def test_what_the_caller_has_of_another_file_is_no_reason_not_to_send_it(service: JobService, url: str) -> None:
    assert service.client.get(url, headers={"If-None-Match": '"other"'}).data == CONTENT


def test_before_the_end_there_is_no_audio(service: JobService) -> None:
    job_id = service.submit()
    queued = service.client.get(f"/api/jobs/{job_id}/audio")
    service.start(job_id)
    running = service.client.get(f"/api/jobs/{job_id}/audio")

    assert [code_of(each) for each in (queued, running)] == ["job-not-finished"] * 2
    assert running.headers["Retry-After"] == "1"


def test_a_job_that_did_not_succeed_never_has_audio(service: JobService) -> None:
    failed, cancelled = service.submit(), service.submit()
    service.start(failed)
    service.fail(failed, UpstreamError("It hiccuped."))
    service.client.delete(f"/api/jobs/{cancelled}")

    codes = [code_of(service.client.get(f"/api/jobs/{job_id}/audio")) for job_id in (failed, cancelled)]

    assert codes == ["no-result", "cancelled"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.unlink(),
        lambda file: file.write_bytes(b"\0" * SIZE),
        lambda file: file.write_bytes(CONTENT[:-1]),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(CONTENT + b"\0"),
    ],
    ids=["missing", "overwritten", "cut", "empty", "longer"],
)
def test_a_damaged_file_is_never_sent(service: JobService, tmp_path: Path, url: str, damage: Any) -> None:
    (file,) = (tmp_path / "files").iterdir()
    damage(file)

    response = service.client.get(url)

    assert code_of(response) == "result-lost"
    assert str(tmp_path) not in response.text
    assert "ETag" not in response.headers


@pytest.mark.parametrize("range", ["bytes=0-9", "bytes=-1"])
def test_not_even_a_part_of_a_damaged_file_is_sent(service: JobService, tmp_path: Path, url: str, range: str) -> None:
    (file,) = (tmp_path / "files").iterdir()
    file.write_bytes(CONTENT[:5_000] + b"\0\1" + CONTENT[5_002:])

    assert code_of(part_of(service, url, range)) == "result-lost"


def test_a_file_in_a_bucket_is_loaded_from_there_if_that_is_wanted(
    service: JobService, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address is signed for GET alone, so that HEAD is answered here. It ends soon, and must not be kept."""
    monkeypatch.setattr(service.store, "presigned_url", lambda name, **_: f"https://bucket.example/{name}")
    etag = service.client.get(url).headers["ETag"]
    monkeypatch.setattr(service.jobs, "_redirects", True)

    response, head = service.client.get(url, headers={"If-None-Match": etag}), service.client.head(url)

    assert response.status_code == 307
    assert response.headers["Location"].startswith("https://bucket.example/")
    assert response.headers["Cache-Control"] == "no-store"
    assert "ETag" not in response.headers
    assert (head.status_code, head.content_length) == (200, SIZE)
