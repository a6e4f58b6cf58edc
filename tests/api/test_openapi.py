"""The description is complete, and its page works without anybody else's server.

That what it says is what happens is for `tests/real/test_contract.py` to show.
"""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import pytest
from api_keys import KEYS
from fakes import FakeEngine, MakeClient
from flask.testing import FlaskClient
from job_service import JobService
from pydantic import ValidationError

from app.engines.engine import Abilities, Format
from app.errors import EngineError, catalogue
from app.web.problems import MEDIA_TYPE
from app.web.schemas import GenerateRequest

PRIVATE = {
    "/",
    "/creator",
    "/assets/<name>",
    "/docs",
    "/docs/",
    "/docs/openapi.json",
    "/docs/errors",
    "/docs/swagger/<path:name>",
    "/docs/static/<path:filename>",
}
"""Routes that are no part of the API: they describe it, or use it."""


@pytest.fixture
def description(client: FlaskClient) -> dict[str, Any]:
    response = client.get("/docs/openapi.json")
    assert response.content_type == "application/json"
    document: dict[str, Any] = json.loads(response.data)
    return document


def test_every_route_is_described_or_private(client: FlaskClient, description: dict[str, Any]) -> None:
    routes = {re.sub("<(id)>", r"{\1}", rule.rule) for rule in client.application.url_map.iter_rules()}

    assert routes == set(description["paths"]) | PRIVATE


def test_it_is_openapi_3_1_and_says_what_this_is(description: dict[str, Any]) -> None:
    assert description["openapi"].startswith("3.1")
    assert description["info"]["title"] == "Studio"
    assert description["info"]["version"]
    assert all(
        operation["summary"] and operation["description"]
        for path in description["paths"].values()
        for operation in path.values()
    )


def test_every_failure_is_described_as_a_problem(description: dict[str, Any]) -> None:
    for path in description["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    assert response["content"] == {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}


def test_the_described_statuses_are_the_produced_ones(
    make_client: MakeClient, service: JobService, description: dict[str, Any]
) -> None:
    def generate(client: FlaskClient, **arguments: Any) -> int:
        return client.post("/studio-generate", **{"json": {"prompt": "rain"}, **arguments}).status_code

    produced: set[int] = set()
    full = FakeEngine(while_working=lambda: produced.add(generate(busy)))
    busy = make_client(full, STUDIO_MAX_ACTIVE=1)
    client = make_client(FakeEngine())
    produced.add(generate(busy))
    produced |= {generate(make_client(FakeEngine(row()))) for row in catalogue() if issubclass(row, EngineError)}
    service.records.lose_result(service.finished(key="lost"))
    produced |= {
        generate(service.client, headers={"Idempotency-Key": "lost"}),
        generate(client, headers={"Prefer": "respond-async"}),
        generate(client, headers={"Idempotency-Key": "k", "Prefer": "respond-async"}),
        generate(client, headers={"Idempotency-Key": "k"}, json={"prompt": "snow"}),
        generate(make_client(FakeEngine(), STUDIO_API_KEYS="nina:" + "0" * 64)),
        generate(client, json={}),
        generate(client, json=None, data="rain"),
        generate(client, json={"prompt": "x" * 70_000}),
        generate(make_client(FakeEngine(RuntimeError()))),
        generate(make_client(None)),
    }

    assert {int(status) for status in description["paths"]["/studio-generate"]["post"]["responses"]} == produced


@pytest.mark.parametrize(
    ("method", "path", "statuses"),
    [
        ("get", "/health", "200 500"),
        ("get", "/ready", "200 500 503"),
        ("get", "/metrics", "200 401 500"),
        ("get", "/api/engines", "200 304 401 500"),
        ("post", "/api/jobs", "202 400 401 409 413 415 422 500 503"),
        ("get", "/api/jobs", "200 400 401 403 500 503"),
        ("get", "/api/status/{id}", "200 401 404 410 500 503"),
        ("get", "/api/jobs/{id}/events", "200 204 400 401 404 410 500 503"),
        ("get", "/api/jobs/{id}/audio", "200 206 304 307 401 404 409 410 416 500 503"),
        ("delete", "/api/jobs/{id}", "202 204 401 404 410 500 503"),
        ("get", "/api/jobs/{id}/analyze-failure", "200 401 404 409 410 500 503"),
        ("post", "/api/analyze-failure", "200 400 401 413 415 500"),
        ("put", "/api/training/local/{id}", "200 201 400 401 413 415 500 503"),
        ("get", "/api/training/local/{id}/analyze-failure", "200 400 401 404 409 500 503"),
    ],
)
def test_the_statuses_of_a_route_are_described(
    description: dict[str, Any], method: str, path: str, statuses: str
) -> None:
    assert sorted(description["paths"][path][method]["responses"]) == statuses.split()


def test_who_needs_a_key_may_be_told_to_stop_guessing(make_client: MakeClient) -> None:
    paths = make_client(FakeEngine(), **KEYS).get("/docs/openapi.json").get_json()["paths"]
    statuses = [set(operation["responses"]) for path in paths.values() for operation in path.values()]

    assert any("401" in each for each in statuses)
    assert all(("401" in each) == ("429" in each) for each in statuses)


def test_the_described_headers_of_a_clip_are_the_sent_ones(service: JobService, description: dict[str, Any]) -> None:
    remarking = JobService(service.settings.data_dir, FakeEngine(remarks=("It rains.",)))
    plain = set(service.client.post("/studio-generate", json={"prompt": "rain"}).headers.keys())
    with remarking.running():
        for _ in range(2):
            response = remarking.client.post(
                "/studio-generate", json={"prompt": "rain"}, headers={"Idempotency-Key": "k"}
            )
    remarked = set(response.headers.keys())
    remarking.close()
    described = description["paths"]["/studio-generate"]["post"]["responses"]["200"]["headers"]

    assert {name for name, header in described.items() if header.get("required")} <= plain
    assert set(described) - {"Studio-Fallback-Reason"} <= remarked  # that one: test_fallback.py
    assert {name for name in remarked if name.startswith("Studio-")} <= set(described)


def test_the_body_is_described_by_the_model_that_checks_it(description: dict[str, Any]) -> None:
    body = description["paths"]["/studio-generate"]["post"]["requestBody"]
    fields = description["components"]["schemas"]["GenerateRequest"]

    assert body["required"] is True
    assert body["content"] == {"application/json": {"schema": {"$ref": "#/components/schemas/GenerateRequest"}}}
    assert fields["required"] == ["prompt"]
    assert fields["additionalProperties"] is False
    assert fields["properties"]["duration"]["anyOf"][0] == {"type": "number", "minimum": 5, "maximum": 30}
    assert all(field["description"] for field in fields["properties"].values())


@pytest.mark.parametrize(
    ("field", "spelled"),
    [
        ("duration", [f"{tenths / 10:g}" for tenths in range(400)] + ["30.0", "30.05", "4.99", "10.", ""]),
        ("tempo", [str(bpm) for bpm in range(300)] + ["90.5", "fast", ""]),
    ],
)
def test_numbers_in_words_are_described_as_they_are_accepted(
    description: dict[str, Any], field: str, spelled: list[str]
) -> None:
    options = description["components"]["schemas"]["GenerateRequest"]["properties"][field]["anyOf"]
    (pattern,) = (option["pattern"] for option in options if option["type"] == "string")

    described = {each for each in spelled if re.search(pattern, each)}

    assert described == {each for each in spelled if is_accepted({field: each})} - {"10."}


def is_accepted(fields: dict[str, object]) -> bool:
    try:
        GenerateRequest.model_validate({"prompt": "rain", **fields})
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("formats", [("wav", "flac", "ogg", "mp3"), ("wav", "mid", "stems")])
def test_only_formats_that_can_be_had_are_offered(make_client: MakeClient, formats: tuple[Format, ...]) -> None:
    client = make_client(FakeEngine(abilities=Abilities(formats=formats)))

    fields = client.get("/docs/openapi.json").get_json()["components"]["schemas"]["GenerateRequest"]["properties"]

    assert tuple(fields["format"]["anyOf"][0]["enum"]) == formats


def test_an_answer_says_what_can_be_asked_next(description: dict[str, Any]) -> None:
    operations = {each["operationId"]: each for path in description["paths"].values() for each in path.values()}
    for path, method, status in (("/studio-generate", "post", "202"), ("/api/jobs", "post", "202")):
        links = description["paths"][path][method]["responses"][status]["links"]

        assert set(links) == {"status", "events", "audio", "delete"}
        for link in links.values():
            assert link["parameters"] == {"id": "$response.body#/id"}
            assert {"id"} == {
                each["name"] for each in operations[link["operationId"]]["parameters"] if each["required"]
            }


def test_nothing_of_the_library_that_is_not_ours_is_described(description: dict[str, Any]) -> None:
    assert set(description["components"]["schemas"]) == {
        "Asked",
        "GenerateRequest",
        "AnalyzeRequest",
        "DiagnosisResponse",
        "JobDiagnosis",
        "SongBody",
        "SectionRequest",
        "RemakeBody",
        "AskedSong",
        "AskedSection",
        "SectionResponse",
        "TrainingLinks",
        "TrainingRequest",
        "TrainingResponse",
        "Engines",
        "EngineDescription",
        "InstrumentDescription",
        "Health",
        "JobLinks",
        "JobList",
        "JobResponse",
        "Readiness",
        "Problem",
        "FieldProblem",
    }


# ---------------------------------------------------------------------- the pages


class Links(HTMLParser):
    """Collects what a page loads and links to, and the anchors it has."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.anchors: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href") and value:
                self.addresses.append(value)
            elif name == "id" and value:
                self.anchors.append(value)


@pytest.mark.parametrize("path", ["/docs/", "/docs/errors"])
def test_all_that_a_page_loads_is_served_from_here(client: FlaskClient, path: str) -> None:
    addresses = [each for each in Links(client.get(path).text).addresses if not each.startswith("#")]

    assert addresses
    for address in addresses:
        assert not re.match(r"(\w+:)?//", address)
        assert client.get(urljoin(path, address), buffered=True).status_code == 200


def test_swagger_ui_loads_the_description_and_no_badge(client: FlaskClient) -> None:
    page = client.get("/docs/").text
    script = client.get("/docs/static/swagger-page.js", buffered=True)

    assert '<div id="swagger-ui">' in page
    assert "<script>" not in page
    assert script.mimetype == "text/javascript"
    assert 'url: "openapi.json"' in script.text
    assert "validatorUrl: null" in script.text


def test_the_files_of_swagger_ui_may_be_kept(client: FlaskClient) -> None:
    response = client.get("/docs/swagger/js/swagger-ui-bundle.js", buffered=True)

    assert "max-age=86400" in response.headers["Cache-Control"]
    again = client.get(
        "/docs/swagger/js/swagger-ui-bundle.js", headers={"If-None-Match": response.headers["ETag"]}, buffered=True
    )
    assert again.status_code == 304


def test_the_catalogue_has_an_anchor_for_every_code(client: FlaskClient) -> None:
    page = client.get("/docs/errors").text

    assert Links(page).anchors == [row.code() for row in catalogue()]
    assert "<code>Retry-After</code>" in page
