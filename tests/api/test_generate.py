"""POST /studio-generate when all goes well."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping

import pytest
from fakes import NOTES, TONE, FakeEngine, MakeClient, tone
from flask.testing import FlaskClient

from app import audio
from app.engines.engine import Abilities, Brief, Document, DocumentFormat
from app.errors import UpstreamError

WHOLE_REQUEST: Mapping[str, object] = {
    "prompt": "lo-fi hip hop",
    "duration": 12.5,
    "mood": "calm",
    "tempo": 90,
    "instruments": ["piano", "strings"],
    "username": "nina",
    "seed": 7,
    "format": "wav",
}


def test_the_answer_is_the_audio_itself(client: FlaskClient) -> None:
    response = client.post("/studio-generate", json={"prompt": "rain"})

    assert response.status_code == 200
    assert response.content_type == "audio/wav"
    assert response.data == TONE.content
    assert response.content_length == len(TONE.content)


def test_the_engine_is_told_when_the_answer_has_gone_out(make_client: MakeClient) -> None:
    told: list[bool] = []

    engine = FakeEngine(let_go=lambda: told.append(True))

    response = make_client(engine).post("/studio-generate", json={"prompt": "rain"})

    assert told == []
    response.close()
    assert told == [True]


def test_the_answer_says_where_it_comes_from(client: FlaskClient) -> None:
    response = client.post("/studio-generate", json=WHOLE_REQUEST)

    digest = base64.b64encode(hashlib.sha256(TONE.content).digest()).decode()
    assert response.headers["Studio-Engine"] == "fake"
    assert response.headers["Studio-Seed"] == "7"
    assert response.headers["Studio-Attempts"] == "1"
    assert response.headers["Studio-Duration"] == "1.00"
    assert response.headers["Repr-Digest"] == f"sha-256=:{digest}:"
    assert re.fullmatch(r"upstream;dur=\d+\.\d, decode;dur=\d+\.\d", response.headers["Server-Timing"])
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Request-ID"]


def test_the_duration_is_the_one_delivered_and_not_the_one_asked_for(make_client: MakeClient) -> None:
    client = make_client(FakeEngine(tone(2.345)))

    response = client.post("/studio-generate", json={"prompt": "rain", "duration": 30})

    assert response.headers["Studio-Duration"] == "2.35"


def test_the_engine_gets_every_field(client: FlaskClient, engine: FakeEngine) -> None:
    client.post("/studio-generate", json=WHOLE_REQUEST)

    assert engine.briefs == [
        Brief("lo-fi hip hop", 12.5, 7, mood="calm", tempo_bpm=90, instruments=("piano", "strings"))
    ]


def test_the_prompt_alone_is_enough(client: FlaskClient, engine: FakeEngine) -> None:
    client.post("/studio-generate", json={"prompt": "rain"})

    (brief,) = engine.briefs
    assert brief == Brief("rain", 10.0, brief.seed)


def test_null_for_an_optional_field_is_the_same_as_leaving_it_out(client: FlaskClient, engine: FakeEngine) -> None:
    response = client.post("/studio-generate", json=dict.fromkeys(WHOLE_REQUEST) | {"prompt": "rain"})

    assert response.content_type == "audio/wav"
    assert engine.briefs == [Brief("rain", 10.0, engine.briefs[0].seed)]


def test_without_a_seed_one_is_drawn_and_reported(client: FlaskClient, engine: FakeEngine) -> None:
    seeds = [client.post("/studio-generate", json={"prompt": "rain"}).headers["Studio-Seed"] for _ in range(3)]

    assert [str(brief.seed) for brief in engine.briefs] == seeds
    assert len(set(seeds)) == 3
    assert all(0 <= brief.seed < 2**32 for brief in engine.briefs)


@pytest.mark.parametrize(
    ("sent", "field", "value"),
    [
        ({"prompt": "  rain \n on\tthe\r\nroof \n"}, "prompt", "rain   on the roof"),
        ({"prompt": "é" * 1_000}, "prompt", "é" * 1_000),
        ({"prompt": " " + "x" * 1_000 + " "}, "prompt", "x" * 1_000),
        ({"prompt": "line\u2028break"}, "prompt", "line break"),
        ({"prompt": "\ufeffrain"}, "prompt", "rain"),
        ({"prompt": "\u202e \u200d \U0001f469 are text"}, "prompt", "\u202e \u200d \U0001f469 are text"),
        ({"duration": 5}, "duration_s", 5.0),
        ({"duration": 30.0}, "duration_s", 30.0),
        ({"duration": "12"}, "duration_s", 12.0),
        ({"duration": " 12.5 "}, "duration_s", 12.5),
        ({"duration": "1e1"}, "duration_s", 10.0),
        ({"tempo": 40}, "tempo_bpm", 40),
        ({"tempo": 220}, "tempo_bpm", 220),
        ({"tempo": "90"}, "tempo_bpm", 90),
        ({"tempo": 90.0}, "tempo_bpm", 90),
        ({"seed": 0}, "seed", 0),
        ({"seed": 2**32 - 1}, "seed", 2**32 - 1),
        ({"seed": 7.0}, "seed", 7),
        ({"mood": "  "}, "mood", None),
        ({"mood": " calm\n"}, "mood", "calm"),
        ({"mood": "m" * 60}, "mood", "m" * 60),
        ({"instruments": "piano, strings"}, "instruments", ("piano", "strings")),
        ({"instruments": " piano ,, \n strings, "}, "instruments", ("piano", "strings")),
        ({"instruments": ["piano", " ", "strings\n"]}, "instruments", ("piano", "strings")),
        ({"instruments": ["piano, strings"]}, "instruments", ("piano", "strings")),
        ({"instruments": ""}, "instruments", ()),
        ({"instruments": []}, "instruments", ()),
        ({"instruments": "i" * 200}, "instruments", ("i" * 200,)),
        ({"instruments": list("abcdefghijkl")}, "instruments", tuple("abcdefghijkl")),
    ],
)
def test_a_field_is_understood(
    client: FlaskClient, engine: FakeEngine, sent: Mapping[str, object], field: str, value: object
) -> None:
    response = client.post("/studio-generate", json={"prompt": "rain", **sent})

    assert response.status_code == 200, response.text
    assert getattr(engine.briefs[0], field) == value


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.studio+json"],
)
def test_a_json_content_type_is_accepted(client: FlaskClient, content_type: str) -> None:
    response = client.post("/studio-generate", data=b'{"prompt": "rain"}', content_type=content_type)

    assert response.status_code == 200


def test_a_byte_order_mark_is_overlooked(client: FlaskClient) -> None:
    response = client.post("/studio-generate", data=b'\xef\xbb\xbf{"prompt": "rain"}', content_type="application/json")

    assert response.status_code == 200


@pytest.mark.parametrize(("format", "media_type"), audio.MEDIA_TYPES.items())
def test_the_format_field_chooses_the_container(client: FlaskClient, format: str, media_type: str) -> None:
    response = client.post(
        "/studio-generate", json={"prompt": "rain", "format": format}, headers={"Accept": "audio/wav"}
    )

    assert response.content_type == media_type
    assert audio.sniff(response.data) == format
    assert f'.{format}"' in response.headers["Content-Disposition"]


@pytest.mark.parametrize(
    ("accept", "format"),
    [
        ("audio/wav", "wav"),
        ("audio/x-wav", "wav"),
        ("audio/wave", "wav"),
        ("audio/flac", "flac"),
        ("audio/x-flac", "flac"),
        ("audio/ogg", "ogg"),
        ("application/ogg", "ogg"),
        ("audio/mpeg", "mp3"),
        ("audio/mp3", "mp3"),
        ("AUDIO/FLAC", "flac"),
        ("audio/flac;q=0.5, audio/mpeg", "mp3"),
        ("audio/flac, */*", "flac"),
        ("audio/flac, */*;q=0.1", "flac"),
        ("audio/wav;q=0, audio/ogg", "ogg"),
        ("audio/*", "wav"),
        ("*/*", "wav"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "wav"),
        ("application/json", "wav"),
        ("image/png", "wav"),
        ("", "wav"),
        ("garbage;;;q=x,,", "wav"),
    ],
)
def test_without_a_format_field_the_accept_header_chooses(client: FlaskClient, accept: str, format: str) -> None:
    response = client.post("/studio-generate", json={"prompt": "rain"}, headers={"Accept": accept})

    assert response.status_code == 200
    assert audio.sniff(response.data) == format


STEMS = Document(b"PK and so on", "stems", 12.5)
ALL_FORMATS = Abilities(formats=(*audio.AUDIO_FORMATS, "mid", "stems"))


@pytest.mark.parametrize(("document", "ending"), [(NOTES, "mid"), (STEMS, "zip")])
def test_a_document_is_delivered_like_audio(make_client: MakeClient, document: Document, ending: str) -> None:
    client = make_client(FakeEngine(document, abilities=ALL_FORMATS))

    response = client.post("/studio-generate", json={"prompt": "rain", "seed": 7, "format": document.format})

    digest = base64.b64encode(hashlib.sha256(document.content).digest()).decode()
    assert response.status_code == 200
    assert response.data == document.content
    assert response.content_type == {"mid": "audio/midi", "stems": "application/zip"}[document.format]
    assert f'filename="studio-rain.{ending}"' in response.headers["Content-Disposition"]
    assert response.headers["Studio-Duration"] == "12.50"
    assert response.headers["Studio-Seed"] == "7"
    assert response.headers["Repr-Digest"] == f"sha-256=:{digest}:"
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("accept", "document"),
    [
        ("audio/midi", NOTES),
        ("audio/mid", NOTES),
        ("audio/x-midi", NOTES),
        ("audio/midi, audio/wav;q=0.5", NOTES),
        ("application/zip", STEMS),
    ],
)
def test_the_accept_header_chooses_documents_where_the_engine_has_them(
    make_client: MakeClient, accept: str, document: Document
) -> None:
    engine = FakeEngine(document, abilities=ALL_FORMATS)

    response = make_client(engine).post("/studio-generate", json={"prompt": "rain"}, headers={"Accept": accept})

    assert response.data == document.content
    assert engine.briefs[0].format == document.format


@pytest.mark.parametrize(
    ("accept", "format"), [("audio/midi", "wav"), ("application/zip", "wav"), ("audio/midi, audio/flac;q=0.1", "flac")]
)
def test_an_accept_header_that_the_engine_cannot_satisfy_is_one_that_nobody_knows(
    client: FlaskClient, accept: str, format: str
) -> None:
    response = client.post("/studio-generate", json={"prompt": "rain"}, headers={"Accept": accept})

    assert response.status_code == 200
    assert audio.sniff(response.data) == format


@pytest.mark.parametrize("format", ["mid", "stems"])
def test_a_format_field_that_the_engine_cannot_satisfy_is_refused(
    client: FlaskClient, engine: FakeEngine, format: DocumentFormat
) -> None:
    response = client.post("/studio-generate", json={"prompt": "rain", "format": format})

    assert response.status_code == 400
    problem = response.get_json(force=True)
    assert problem["code"] == "invalid-request"
    assert problem["errors"] == [
        {"field": "format", "message": "must be one of 'wav', 'flac', 'ogg' or 'mp3' with this engine"}
    ]
    assert engine.briefs == []


def test_what_could_not_be_done_as_asked_is_said(make_client: MakeClient) -> None:
    client = make_client(FakeEngine(remarks=('Nobody here plays "kazoo".', "Nobody here plays a bağlama.")))

    response = client.post("/studio-generate", json={"prompt": "rain"})

    assert response.headers["Studio-Remarks"] == (
        '%"Nobody here plays %22kazoo%22.", %"Nobody here plays a ba%c4%9flama."'
    )


def test_without_remarks_there_is_no_header_for_them(client: FlaskClient) -> None:
    assert "Studio-Remarks" not in client.post("/studio-generate", json={"prompt": "rain"}).headers


def test_a_failed_attempt_is_repeated_and_counted(make_client: MakeClient) -> None:
    client = make_client(FakeEngine(UpstreamError("It hiccuped."), TONE, attempts=2, backoff_s=0.0))

    response = client.post("/studio-generate", json={"prompt": "rain"})

    assert response.status_code == 200
    assert response.headers["Studio-Attempts"] == "2"


def test_the_deadline_is_the_one_of_the_settings(make_client: MakeClient) -> None:
    engine = FakeEngine(timeout_s=600)
    client = make_client(engine, STUDIO_DEADLINE_S=20)

    client.post("/studio-generate", json={"prompt": "rain"})

    assert 19 < engine.deadlines[0].remaining_s() <= 20
