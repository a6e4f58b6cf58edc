"""Songs: sections that are jobs of their own, and the job that joins them."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import pytest
from api_keys import BOB, KEYS, NINA
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from job_samples import result_of
from job_service import JobService, MakeService
from pydantic import ValidationError

from app.errors import PromptRefused
from app.jobs.song import SongRequest
from app.web.briefs import song_of
from app.web.schemas import SongBody, field_errors

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
            "prompt": "lo-fi hip hop, in the key of A minor",
            "duration": 8.0,
            "mood": "gentle",
            "energy": 2,
            "tempo": 80,
            "instruments": [],
            "seed": 8,
        },
        {
            "name": "Section 2",
            "prompt": "lo-fi hip hop, with strings, in the key of A minor",
            "duration": 12.0,
            "mood": "calm",
            "energy": None,
            "tempo": 80,
            "instruments": [],
            "seed": 9,
        },
        {
            "name": "Section 3",
            "prompt": "lo-fi hip hop, in the key of A minor",
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


# ---------------------------------------------------------------------- what callers may send


HOSTILE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["\0", "\ud800", "🎹", "A minor\n", "1e400", 3, 120, 600.0001, 2.9999999, -0.0]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
FIELDS = ["title", "style", "mood", "tempo", "key", "instruments", "sections", "username", "seed", "format", "x"]
SECTION_FIELDS = ["name", "prompt", "duration", "mood", "energy", "instruments", "seed", "x"]
PATH = re.compile(r"[a-z]+|sections\[\d+\](\..*)?", re.DOTALL)  # whose last part may be no field of ours


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(st.sampled_from(FIELDS), HOSTILE, max_size=3),
    st.lists(st.dictionaries(st.sampled_from(SECTION_FIELDS), HOSTILE, max_size=3), max_size=3),
)
def test_whatever_is_sent_is_a_song_or_told_by_its_field(
    song: dict[str, object], sections: list[dict[str, object]]
) -> None:
    sent = SONG | {"sections": [{"duration": 5.0} | section for section in sections]} | song
    try:
        body = SongBody.model_validate(sent)
    except ValidationError as error:
        faults = field_errors(error)
        assert faults
        for fault in faults:
            assert PATH.fullmatch(fault.field), fault.field
            assert fault.message
            assert "\n" not in fault.message
    else:
        request = song_of(body)
        assert 1 <= len(request.sections) <= 30
        assert request.duration_s <= 600
        assert SongRequest.from_json(json.loads(json.dumps(request.to_json(), allow_nan=False))) == request
        for section in request.sections:
            assert len(section.brief.prompt) <= 1_000


@pytest.mark.parametrize(
    ("section", "field"),
    [
        ('{"duration": NaN}', "sections[0].duration"),
        ('{"duration": 1e999}', "sections[0].duration"),
        ('{"duration": "8"}', "sections[0].duration"),
        ('{"duration": true}', "sections[0].duration"),
        (r'{"duration": 8, "name": "a\u0000b"}', "sections[0].name"),
        (r'{"duration": 8, "name": "\ud800"}', "sections[0].name"),
        ('{"duration": 8, "instruments": [1]}', "sections[0].instruments"),
        ("[]", "sections[0]"),
        ('{"duration": 8, "seed": -1}', "sections[0].seed"),
    ],
)
def test_hostile_json_is_refused_by_the_path_of_its_field(service: JobService, section: str, field: str) -> None:
    content = f'{{"style": "jazz", "sections": [{section}]}}'

    response = service.client.post("/api/songs", data=content, content_type="application/json")

    assert response.status_code == 400
    told = response.get_json(force=True)
    # Some of it is no JSON at all, which is a fault of the body.
    assert [each["field"] for each in told["errors"]] in ([field], ["body"], [])


def test_names_may_be_in_any_script(service: JobService) -> None:
    song = submit(service, sections=[{"name": "Припев 🎹", "duration": 5}])

    assert song["sections"][0]["name"] == "Припев 🎹"


def test_a_hair_too_much_is_too_much(service: JobService) -> None:
    sections = [{"duration": 120}] * 4 + [{"duration": 116.9999}, {"duration": 3.0002}]

    assert faults(service.client, sections=sections) == {"sections": "must be at most 600 seconds together"}
    assert submit(service, sections=[{"duration": 20}] * 30)["sections"][29]["start"] == 580


# ---------------------------------------------------------------------- how much


def test_each_section_counts_as_a_request_but_a_song_is_not_refused_for_them(make_service: MakeService) -> None:
    service = make_service(STUDIO_RATE_LIMIT="2/second, 5/minute")

    song = service.client.post("/api/songs", json=SONG)
    left = song.headers["RateLimit-Remaining"]
    further = service.client.post("/api/jobs", json={"prompt": "rain"})

    assert (song.status_code, left) == (202, "0")
    assert (further.status_code, further.headers["RateLimit-Limit"]) == (429, "2")
    assert service.client.get(f"/api/status/{song.get_json()['id']}").status_code == 200


def test_a_song_that_is_answered_again_counts_once(make_service: MakeService) -> None:
    service = make_service(STUDIO_RATE_LIMIT="10/hour")
    headers = {"Idempotency-Key": "one"}

    left = [
        service.client.post("/api/songs", json=SONG, headers=headers).headers["RateLimit-Remaining"] for _ in range(2)
    ]

    assert left == ["7", "6"]


def test_songs_are_listed_with_their_sections_in_them(make_service: MakeService) -> None:
    service = make_service(**KEYS)
    song = service.client.post("/api/songs", json=SONG, headers=NINA).get_json()

    (listed,) = service.client.get("/api/jobs", headers=NINA).get_json()["jobs"]

    assert listed["id"] == song["id"]
    assert len(listed["sections"]) == 3
    assert service.client.get(f"/api/status/{song['id']}", headers=BOB).status_code == 404
    assert service.client.post(f"/api/songs/{song['id']}/remake", json={}, headers=BOB).status_code == 404


def test_a_whole_song_is_not_made_again_for_nothing(service: JobService) -> None:
    song = submit(service)
    for each in jobs_of(song):
        service.run(each)
    assert service.records.succeed(song["id"], result_of(service.job(song["id"])))

    answer = service.client.post(f"/api/songs/{song['id']}/remake", json={})

    assert answer.status_code == 400
    (error,) = answer.get_json()["errors"]
    assert error == {"field": "sections", "message": "must name a section, or `format` another format: none is missing"}


def test_another_format_is_joined_from_the_same_sections(service: JobService) -> None:
    song = submit(service)
    for each in jobs_of(song):
        service.run(each)
    assert service.records.succeed(song["id"], result_of(service.job(song["id"])))

    again = service.client.post(f"/api/songs/{song['id']}/remake", json={"format": "mp3"}).get_json()

    assert again["request"] == song["request"] | {"format": "mp3"}
    assert jobs_of(again) == jobs_of(song)
    assert service.songs[-1] == again["id"]


def test_a_song_whose_sections_are_all_there_is_joined_again(service: JobService) -> None:
    song = submit(service)
    for each in jobs_of(song):
        service.run(each)
    service.records.cancel(song["id"])

    again = service.client.post(f"/api/songs/{song['id']}/remake", json={}).get_json()

    assert again["message"] == "The sections are being joined…"
    assert service.songs == [song["id"], again["id"]]
