"""Who is asked, and by which way: the header `Host`, what proxies write, and the query of the address."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fakes import FakeEngine, MakeClient
from flask import request
from pydantic import ValidationError
from werkzeug.test import TestResponse

from app.settings import Settings
from app.web.callers import address
from app.web.edge import MAX_PARAMETERS, MAX_QUERY_BYTES


def problem_of(response: TestResponse) -> dict[str, Any]:
    assert response.content_type == "application/problem+json"
    problem: dict[str, Any] = json.loads(response.data)
    return problem


# ---------------------------------------------------------------------- Host

HOSTS = {"STUDIO_ALLOWED_HOSTS": "studio.example.com, *.example.org,127.0.0.1, [::1]"}


@pytest.mark.parametrize(
    "host",
    [
        "studio.example.com",
        "Studio.Example.COM",
        "studio.example.com:8443",
        "a.example.org",
        "a.b.example.org:80",
        "127.0.0.1",
        "127.0.0.1:8000",
        "[::1]",
        "[::1]:8000",
    ],
)
def test_a_listed_name_is_answered_to(make_client: MakeClient, host: str) -> None:
    response = make_client(FakeEngine(), **HOSTS).get("/api/engines", headers={"Host": host})

    assert response.status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "evil.studio.example.com",
        "studio.example.com.evil.com",
        "studio.example.comevil.com",
        "example.org",
        "evilexample.org",
        ".example.org.evil.com",
        "studio.example.com@evil.com",
        "studio.example.com, evil.com",
        "evil.com:studio.example.com",
        "10.0.0.1",
        "[::2]",
        "*.example.org.",
        "",
        "a b",
        "é",
    ],
)
@pytest.mark.parametrize("path", ["/api/engines", "/docs/", "/nowhere", "/docs/openapi.json"])
def test_any_other_name_is_refused(make_client: MakeClient, host: str, path: str) -> None:
    response = make_client(FakeEngine(), **HOSTS).get(path, headers={"Host": host})

    problem = problem_of(response)
    assert (response.status_code, problem["code"]) == (400, "invalid-request")
    assert problem["errors"] == [{"field": "Host", "message": "is none of this service"}]
    assert "evil" not in response.text


@pytest.mark.parametrize("path", ["/health", "/ready"])
@pytest.mark.parametrize("host", ["10.214.3.7:10000", "studio-music-api", "", "é"])
def test_health_checks_are_let_through_with_any_name(make_client: MakeClient, path: str, host: str) -> None:
    assert make_client(FakeEngine(), **HOSTS).get(path, headers={"Host": host}).status_code == 200


def test_another_host_is_refused_before_anything_is_done_for_it(make_client: MakeClient) -> None:
    engine = FakeEngine()

    response = make_client(engine, **HOSTS).post(
        "/studio-generate", json={"prompt": "rain"}, headers={"Host": "evil.com"}
    )

    assert response.status_code == 400
    assert engine.briefs == []


def test_without_a_list_any_name_will_do(make_client: MakeClient) -> None:
    assert make_client(FakeEngine()).get("/api/engines", headers={"Host": "whatever"}).status_code == 200


@pytest.mark.parametrize(
    "value",
    [
        "*",
        "*.",
        "Example.com",
        "example.com:80",
        "https://example.com",
        "a b",
        "a,,b",
        "a,",
        "*.*.com",
        "-a",
        "x" * 300,
        ",".join(f"h{n}.com" for n in range(51)),
    ],
)
def test_hosts_that_cannot_be_used_are_refused(value: str) -> None:
    with pytest.raises(ValidationError, match="must be"):
        Settings.model_validate({"STUDIO_ALLOWED_HOSTS": value})


# ---------------------------------------------------------------------- proxies

SEEN = "10.21.157.68"
CLIENT = "198.51.100.7"
EDGE = "203.0.113.40"


@pytest.mark.parametrize(
    ("proxies", "forwarded_for", "seen"),
    [
        (0, None, SEEN),
        (0, CLIENT, SEEN),
        (0, f"{CLIENT}, {EDGE}", SEEN),
        (1, CLIENT, CLIENT),
        (1, f"1.2.3.4, {CLIENT}", CLIENT),
        (2, f"{CLIENT}, {EDGE}", CLIENT),
        (2, f"1.2.3.4, {CLIENT}, {EDGE}", CLIENT),
        (2, f"::1, 127.0.0.1, {CLIENT}, {EDGE}", CLIENT),
        (2, CLIENT, SEEN),
        (2, None, SEEN),
        (2, "", SEEN),
        (2, f"<script>, {EDGE}", "unknown"),
    ],
)
def test_an_address_is_what_the_trusted_proxies_say_and_nobody_else(
    make_client: MakeClient, proxies: int, forwarded_for: str | None, seen: str
) -> None:
    client = make_client(FakeEngine(), STUDIO_TRUSTED_PROXIES=proxies)
    found = []
    client.application.before_request(lambda: found.append(address()))

    client.get(
        "/health",
        headers={"X-Forwarded-For": forwarded_for} if forwarded_for is not None else {},
        environ_overrides={"REMOTE_ADDR": SEEN},
    )

    assert found == [seen]


def test_a_made_up_address_does_not_escape_a_limit(make_client: MakeClient) -> None:
    for proxies, suffix in ((0, ""), (1, f", {CLIENT}"), (2, f", {CLIENT}, {EDGE}")):
        client = make_client(FakeEngine(), STUDIO_TRUSTED_PROXIES=proxies, STUDIO_READ_LIMIT="2/day")

        statuses = [
            client.get("/api/engines", headers={"X-Forwarded-For": f"192.0.2.{each}{suffix}"}).status_code
            for each in range(3)
        ]

        assert statuses == [200, 200, 429]


def test_callers_behind_a_trusted_proxy_are_told_apart(make_client: MakeClient) -> None:
    client = make_client(FakeEngine(), STUDIO_TRUSTED_PROXIES=1, STUDIO_READ_LIMIT="1/day")

    statuses = [
        client.get("/api/engines", headers={"X-Forwarded-For": f"192.0.2.{each}"}).status_code for each in range(3)
    ]

    assert statuses == [200, 200, 200]


@pytest.mark.parametrize("proxies", [0, 1, 2])
def test_the_host_is_never_what_a_forwarded_header_says(make_client: MakeClient, proxies: int) -> None:
    client = make_client(FakeEngine(), STUDIO_TRUSTED_PROXIES=proxies, **HOSTS)
    found = []
    client.application.before_request(lambda: found.append((request.host, request.script_root)))
    forwarded = {
        "X-Forwarded-Host": "studio.example.com",
        "X-Forwarded-Server": "studio.example.com",
        "X-Forwarded-Port": "1",
        "X-Forwarded-Prefix": "/evil",
        "Forwarded": "for=192.0.2.1;host=studio.example.com;proto=https",
        "X-Original-URL": "/evil",
        "X-Real-IP": "192.0.2.1",
    }

    refused = client.get("/api/engines", headers={"Host": "evil.com", **forwarded})
    answered = client.get("/health", headers={"Host": "studio.example.com:8443", **forwarded})

    assert refused.status_code == 400
    assert answered.status_code == 200
    assert found == [("studio.example.com:8443", "")]


@pytest.mark.parametrize(
    ("proxies", "proto", "is_told"),
    [
        (0, "https", False),
        (1, "https", True),
        (2, "https", True),
        (1, "http", False),
        (1, "http, https", True),
        (1, "https, http", False),
        (1, None, False),
        (1, "javascript", False),
    ],
)
def test_https_is_what_the_nearest_trusted_proxy_says(
    make_client: MakeClient, proxies: int, proto: str | None, is_told: bool
) -> None:
    client = make_client(FakeEngine(), STUDIO_TRUSTED_PROXIES=proxies)

    response = client.get("/health", headers={"X-Forwarded-Proto": proto} if proto else {})

    assert ("Strict-Transport-Security" in response.headers) is is_told


def test_nobody_without_a_proxy_in_front_pays_for_one(make_client: MakeClient) -> None:
    client = make_client(FakeEngine())
    found = []
    client.application.before_request(lambda: found.append("werkzeug.proxy_fix.orig" in request.environ))

    client.get("/health")

    assert found == [False]


@pytest.mark.parametrize("value", ["-1", "11", "two", "1.5"])
def test_a_number_of_proxies_that_cannot_be_used_is_refused(value: str) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"STUDIO_TRUSTED_PROXIES": value})


# ---------------------------------------------------------------------- the query


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("a=" + "x" * MAX_QUERY_BYTES, f"must be at most {MAX_QUERY_BYTES} characters"),
        ("&" * MAX_QUERY_BYTES * 2, f"must be at most {MAX_QUERY_BYTES} characters"),
        ("&".join(f"p{n}=1" for n in range(MAX_PARAMETERS + 1)), f"must have at most {MAX_PARAMETERS} parameters"),
        ("&" * 100, f"must have at most {MAX_PARAMETERS} parameters"),
        ("limit=1&limit=2", "must give each parameter only once"),
        ("limit=1&username=a&%6cimit=2", "must give each parameter only once"),
    ],
)
@pytest.mark.parametrize("path", ["/api/jobs", "/api/engines", "/health", "/docs/", "/nowhere"])
def test_a_query_beyond_all_need_is_refused(make_client: MakeClient, path: str, query: str, message: str) -> None:
    response = make_client(FakeEngine()).get(f"{path}?{query}")

    problem = problem_of(response)
    assert problem["code"] == "invalid-request"
    assert problem["errors"] == [{"field": "query", "message": message}]
    assert len(response.data) < 1_000


def test_an_accept_header_beyond_all_need_is_refused(make_client: MakeClient) -> None:
    """Eight kilobytes of it took 50 ms to understand."""
    client = make_client(FakeEngine())

    refused = client.post("/studio-generate", json={"prompt": "rain"}, headers={"Accept": "a/b;q=0.1," * 700})
    accepted = client.post("/studio-generate", json={"prompt": "rain"}, headers={"Accept": "audio/flac," * 90})

    assert problem_of(refused)["errors"] == [{"field": "Accept", "message": "must be at most 1000 characters"}]
    assert accepted.content_type == "audio/flac"


@pytest.mark.parametrize("query", ["", "a", "a=%ff%00", "&".join(f"p{n}=1" for n in range(MAX_PARAMETERS)), "utm=x"])
def test_other_queries_are_left_to_the_routes(make_client: MakeClient, query: str) -> None:
    assert make_client(FakeEngine()).get(f"/health?{query}").status_code == 200
