"""Songs: sections that are jobs of their own, and the job that joins them."""

from __future__ import annotations

from typing import Any, Final

import pytest
from flask.testing import FlaskClient
from job_service import JobService, MakeService

from app.errors import PromptRefused

SONG: Final = {
    "title": "Rain",
    "style": "lo-fi hip hop",
    "tempo": 80,
    "key": "A minor",
    "seed": 7,
    "sections": [
        {"name": "Intro", "duration": 8, "energy": 2},
        {"prompt": "with strings", "duration": 12, "mood": "calm"},
        {"duration": 6.5, "energy": 1, "seed": 3, "instruments": "piano"},
    ],
}


@pytest.fixture
def service(make_service: MakeService) -> JobService:
    return make_service()


def submit(service: JobService, **changed: object) -> dict[str, Any]:
    response = service.client.post("/api/songs", json=SONG | changed)
    assert response.status_code == 202, response.text
    song: dict[str, Any] = response.get_json()
    return song


def faults(client: FlaskClient, **changed: object) -> dict[str, str]:
    response = client.post("/api/songs", json=SONG | changed)
    assert response.status_code == 400, response.text
    return {each["field"]: each["message"] for each in response.get_json(force=True)["errors"]}


def jobs_of(song: dict[str, Any]) -> list[str]:
    return [section["job_id"] for section in song["sections"]]


def test_what_sections_leave_out_is_as_in_the_song(service: JobService) -> None:
    song = submit(service)

    assert song["request"]["sections"] == [
        {
            "name": "Intro",
            "prompt": "lo-fi hip hop, in A minor",
            "duration": 8.0,
            "mood": "gentle",
            "energy": 2,
            "tempo": 80,
            "instruments": [],
            "seed": 8,
        },
        {
            "name": "Section 2",
            "prompt": "lo-fi hip hop, with strings, in A minor",
            "duration": 12.0,
            "mood": "calm",
            "energy": None,
            "tempo": 80,
            "instruments": [],
            "seed": 9,
        },
        {
            "name": "Section 3",
            "prompt": "lo-fi hip hop, in A minor",
            "duration": 6.5,
            "mood": "very calm",
            "energy": 1,
            "tempo": 80,
            "instruments": ["piano"],
            "seed": 3,
        },
    ]


def test_sections_are_jobs_and_say_when_they_begin(service: JobService) -> None:
    song = submit(service)

    assert (song["status"], song["message"], song["queue_position"]) == (
        "queued",
        "Waiting for the first section to begin",
        None,
    )
    assert [(each["number"], each["start"], each["duration"]) for each in song["sections"]] == [
        (1, 0.0, 8.0),
        (2, 8.0, 12.0),
        (3, 20.0, 6.5),
    ]
    assert service.enqueued == jobs_of(song)
    assert [service.status(each)["queue_position"] for each in jobs_of(song)] == [0, 1, 2]
    assert service.songs == []


def test_a_song_tells_how_far_its_sections_are(service: JobService) -> None:
    song = submit(service)
    first, second, third = jobs_of(song)

    service.start(first)
    begun = service.status(song["id"])
    service.succeed(first)
    after_one = service.status(song["id"])
    service.run(second)
    service.run(third)
    at_last = service.status(song["id"])

    assert (begun["status"], begun["message"]) == ("running", "The sections are being made…")
    assert (after_one["message"], after_one["progress"]) == ("1 of 3 sections are ready", 0.25)
    assert after_one["sections"][0]["audio_url"] == f"/api/jobs/{first}/audio"
    assert after_one["sections"][1]["audio_url"] is None
    assert at_last["message"] == "The sections are being joined…"
    assert service.songs == [song["id"]]
    told = [change.message for change in service.jobs.changes(song["id"], 0)]
    assert told == [
        "Waiting for the first section to begin",
        "The sections are being made…",
        "1 of 3 sections are ready",
        "2 of 3 sections are ready",
        "The sections are being joined…",
    ]


def test_a_section_that_fails_loses_none_of_the_others(service: JobService) -> None:
    song = submit(service)
    first, second, third = jobs_of(song)
    service.run(first)
    service.start(second)
    service.fail(second, PromptRefused("Too loud."))

    while_third = service.status(song["id"])
    service.run(third)

    assert while_third["status"] == "running"
    assert while_third["message"] == "1 of 3 sections are ready, 1 could not be made"
    assert while_third["sections"][1]["error"]["code"] == "prompt-refused"
    assert service.songs == [song["id"]]


def test_cancelling_a_song_cancels_its_sections(service: JobService) -> None:
    song = submit(service)
    first, second, _ = jobs_of(song)
    service.run(first)
    service.start(second)

    response = service.client.delete(f"/api/jobs/{song['id']}")

    assert response.status_code == 202
    assert [service.status(each)["message"] for each in jobs_of(song)] == [
        "The piece is ready.",
        "Cancelling…",
        "The job was cancelled.",
    ]
    service.records.cancel(second)
    assert service.songs == [song["id"]]


def test_a_song_that_waits_is_cancelled_at_once(service: JobService) -> None:
    song = submit(service)

    assert service.client.delete(f"/api/jobs/{song['id']}").status_code == 204

    assert {service.status(each)["status"] for each in (song["id"], *jobs_of(song))} == {"cancelled"}


def test_deleting_a_song_deletes_its_sections(service: JobService) -> None:
    song = submit(service)
    for each in jobs_of(song):
        service.run(each)
    service.records.cancel(song["id"])

    assert service.client.delete(f"/api/jobs/{song['id']}").status_code == 204

    for each in (song["id"], *jobs_of(song)):
        assert service.client.get(f"/api/status/{each}").status_code == 410
    assert list(service.store.names()) == []


def test_only_what_is_missing_is_made_again(service: JobService) -> None:
    song = submit(service)
    first, second, third = jobs_of(song)
    service.run(first)
    service.start(second)
    service.fail(second, PromptRefused("Too loud."))
    service.run(third)
    service.records.cancel(song["id"])
    link = service.status(song["id"])["links"]["remake"]

    again = service.client.post(link, json={}).get_json()

    assert again["id"] != song["id"]
    assert again["request"] == song["request"]
    new_first, new_second, new_third = jobs_of(again)
    assert (new_first, new_third) == (first, third)
    assert new_second != second
    service.run(new_second)
    assert service.songs == [song["id"], again["id"]]


def test_a_section_that_was_made_is_made_again_with_another_seed(service: JobService) -> None:
    song = submit(service)
    for each in jobs_of(song):
        service.run(each)
    service.records.cancel(song["id"])

    again = service.client.post(f"/api/songs/{song['id']}/remake", json={"sections": [2]}).get_json()

    assert jobs_of(again)[0] == jobs_of(song)[0]
    assert jobs_of(again)[1] != jobs_of(song)[1]
    assert again["request"]["sections"][1]["seed"] != song["request"]["sections"][1]["seed"]


def test_a_section_that_two_songs_have_stays_with_the_other(service: JobService) -> None:
    song = submit(service)
    for each in jobs_of(song):
        service.run(each)
    service.records.cancel(song["id"])
    again = service.client.post(f"/api/songs/{song['id']}/remake", json={"sections": [2]}).get_json()

    service.client.delete(f"/api/jobs/{song['id']}")

    assert service.status(jobs_of(again)[0])["status"] == "succeeded"
    assert service.client.get(f"/api/status/{jobs_of(song)[1]}").status_code == 410


def test_a_song_that_is_being_made_cannot_be_remade(service: JobService) -> None:
    song = submit(service)

    response = service.client.post(f"/api/songs/{song['id']}/remake", json={})

    assert (response.status_code, response.get_json(force=True)["code"]) == (409, "job-not-finished")


def test_a_piece_is_no_song(service: JobService) -> None:
    assert service.client.post(f"/api/songs/{service.finished()}/remake", json={}).status_code == 404


def test_sections_that_are_not_there_cannot_be_remade(service: JobService) -> None:
    song = submit(service)
    service.records.cancel(song["id"])

    response = service.client.post(f"/api/songs/{song['id']}/remake", json={"sections": [4]})

    (fault,) = response.get_json(force=True)["errors"]
    assert fault == {"field": "sections", "message": "must be at most 3: the song has no more"}


@pytest.mark.parametrize(
    ("changed", "field", "message"),
    [
        ({"sections": []}, "sections", "must have at least 1 entry"),
        ({"sections": [{"duration": 5}] * 31}, "sections", "must have at most 30 entries"),
        ({"sections": [{"duration": 101}] * 6}, "sections", "must be at most 600 seconds together"),
        ({"sections": [{"duration": 5}, {"duration": 2.9}]}, "sections[1].duration", "must be at least 3"),
        ({"sections": [{"duration": 121}]}, "sections[0].duration", "must be at most 120"),
        ({"sections": [{"duration": 5, "energy": 6}]}, "sections[0].energy", "must be at most 5"),
        ({"sections": [{"duration": 5, "x": 6}]}, "sections[0].x", "is not a field of this request"),
        ({"sections": [{}]}, "sections[0].duration", "is required"),
        ({"style": None}, "style", "is required unless each section has a prompt"),
        ({"key": "H minor"}, "key", "must be a key, such as `A minor` or `F# major`"),
        ({"format": "stems"}, "format", "must be one of 'wav', 'flac', 'ogg' or 'mp3'"),
    ],
)
def test_what_cannot_be_used_is_named(
    service: JobService, changed: dict[str, object], field: str, message: str
) -> None:
    assert faults(service.client, **changed) == {field: message}


def test_the_same_key_never_starts_a_second_song(service: JobService) -> None:
    headers = {"Idempotency-Key": "one"}

    first = service.client.post("/api/songs", json=SONG, headers=headers)
    again = service.client.post("/api/songs", json=SONG, headers=headers)
    other = service.client.post("/api/songs", json=SONG | {"tempo": 81}, headers=headers)
    piece = service.client.post("/api/jobs", json={"prompt": "rain"}, headers=headers)

    assert again.get_json()["id"] == first.get_json()["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (other.status_code, piece.status_code) == (422, 422)
    assert len(service.enqueued) == 3


def test_more_sections_than_may_wait_are_refused(make_service: MakeService) -> None:
    service = make_service(STUDIO_MAX_QUEUED=2)

    response = service.client.post("/api/songs", json=SONG)

    assert (response.status_code, response.get_json(force=True)["code"]) == (503, "overloaded")
    assert service.enqueued == []
