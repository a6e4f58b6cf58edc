"""Whatever is killed, a song comes to its end, with each section made once, and as if nobody had been killed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest
from real.chaos import Client, Fleet, MakeFleet, judge
from real.programs import wait_for

from app.audio import prove

pytestmark = pytest.mark.real

KILLS: Final = 2


def submit(client: Client, **song: object) -> str:
    answer = client.fleet.request("POST", "/api/songs", body=json.dumps(song).encode())
    assert answer.status == 202, answer.content
    song_id: str = answer.json["id"]
    client.jobs[song_id] = "song"
    return song_id


def song_of(sections: int, *, seconds: float) -> dict[str, object]:
    return {"seed": 7, "sections": [{"prompt": f"section {number}", "duration": seconds} for number in range(sections)]}


def standing(client: Client, song_id: str) -> Mapping[str, Any]:
    """Return how the song stands, once somebody says so."""
    wait_for(lambda: client.status(song_id))
    song = client.status(song_id)
    assert song
    return song


def ready(song: Mapping[str, Any]) -> list[str]:
    """Return the prompts of the sections that are made."""
    asked = song["request"]["sections"]
    return [asked[each["number"] - 1]["prompt"] for each in song["sections"] if each["status"] == "succeeded"]


def audio_of(fleet: Fleet, song_id: str) -> bytes:
    answer = fleet.request("GET", f"/api/jobs/{song_id}/audio")
    assert answer.status == 200, answer.content
    return answer.content


def test_killed_again_and_again_no_section_that_is_stored_is_made_once_more(make_fleet: MakeFleet) -> None:
    fleet = make_fleet(takes_s=1.0)
    client = Client(fleet)
    server = fleet.add_server()
    song_id = submit(client, **song_of(6, seconds=3))

    stored: list[tuple[int, str]] = []
    for kill in range(KILLS):
        wait_for(lambda: len(ready(standing(client, song_id))) > kill)  # noqa: B023 - it is over when the round is
        made = ready(standing(client, song_id))
        fleet.kill(server)
        stored += [(len(fleet.trace()), prompt) for prompt in made]
        server = fleet.add_server()
    client.wait()

    assert client.ends[song_id]["status"] == "succeeded"
    assert len(ready(client.ends[song_id])) == 6
    assert prove(audio_of(fleet, song_id)).duration_s == 18.0
    trace = fleet.trace()
    assert stored
    assert not [prompt for at, prompt in stored if prompt in [entry["prompt"] for entry in trace[at:]]]
    verdict = judge(client)
    assert (verdict.lost, verdict.doubled, verdict.changed) == ([], [], [])


def test_a_song_whose_sections_and_joining_were_killed_sounds_like_any_other(make_fleet: MakeFleet) -> None:
    """An MP3, because that takes long enough to be interrupted."""
    fleet = make_fleet(STUDIO_ENGINE="composer")
    client = Client(fleet)
    server = fleet.add_server(app="wsgi:app")
    song = {**song_of(4, seconds=12), "style": "lo-fi hip hop", "format": "mp3"}
    undisturbed_id = submit(client, **song)
    client.wait()

    disturbed_id = submit(client, **song)
    wait_for(lambda: 0 < len(ready(standing(client, disturbed_id))) < 4)
    fleet.kill(server)
    server = fleet.add_server(app="wsgi:app")
    wait_for(lambda: standing(client, disturbed_id)["message"] == "The sections are being joined…")
    fleet.kill(server)
    fleet.add_server(app="wsgi:app")
    was_joining = standing(client, disturbed_id)["status"] == "running"
    client.wait()

    assert was_joining
    assert client.ends[disturbed_id]["status"] == "succeeded"
    assert audio_of(fleet, disturbed_id) == audio_of(fleet, undisturbed_id)


def test_workers_share_the_sections_of_a_song_and_go_on_with_those_of_a_dead_one(
    make_fleet: MakeFleet, database_url: str
) -> None:
    fleet = make_fleet(takes_s=1.0, STUDIO_DATABASE_URL=database_url, STUDIO_JOB_WORKERS="2")
    client = Client(fleet)
    fleet.add_server()
    first, _ = fleet.add_worker(), fleet.add_worker()
    song_id = submit(client, **song_of(12, seconds=3))
    wait_for(lambda: {entry["program"] for entry in fleet.trace()} == {each.pid for each in fleet.workers})
    wait_for(lambda: len(ready(standing(client, song_id))) >= 4)

    fleet.kill(first)
    client.wait()

    assert client.ends[song_id]["status"] == "succeeded"
    assert prove(audio_of(fleet, song_id)).duration_s == 36.0
    verdict = judge(client)
    assert (verdict.lost, verdict.doubled, verdict.changed) == ([], [], [])
