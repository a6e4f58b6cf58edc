"""Cross-origin sharing: pages of listed origins may call and read, all others may not, and cookies play no part."""

from __future__ import annotations

import pytest
from api_keys import BOB, KEYS, NINA
from fakes import FakeEngine, MakeClient
from flask.testing import FlaskClient
from job_service import JobService, MakeService
from pydantic import ValidationError

from app.errors import UpstreamUnavailable
from app.settings import Settings
from app.web.edge import EXPOSED_HEADERS, SENT_HEADERS

SHOP = "https://shop.example"
LOCAL = "http://localhost:3000"
ORIGINS = {"STUDIO_CORS_ORIGINS": f"{SHOP}, {LOCAL}"}
ALLOWED = "Access-Control-Allow-Origin"
ALWAYS_READABLE = {"cache-control", "content-language", "content-length", "content-type", "expires", "last-modified"}
"""What any page may read (https://fetch.spec.whatwg.org/#cors-safelisted-response-header-name, read 2026-11)."""

FOR_BROWSERS = {
    *("content-security-policy", "cross-origin-opener-policy", "cross-origin-resource-policy", "permissions-policy"),
    *("referrer-policy", "vary", "x-accel-buffering", "x-content-type-options"),
}
"""What is meant for browsers and proxies, and for no page."""

FREE_METHODS = {"GET", "HEAD", "POST"}
FREE_HEADERS = {"accept", "accept-language", "content-language"}
"""What a page may send without being asked, as far as it is about the values sent here: JSON is no free `Content-Type`
(https://fetch.spec.whatwg.org/#cors-safelisted-request-header, read 2026-11)."""


@pytest.fixture
def shared(make_client: MakeClient) -> FlaskClient:
    """A client of a service that pages of two origins may call, with a key."""
    return make_client(FakeEngine(), **ORIGINS, **KEYS)


@pytest.mark.parametrize("origin", [SHOP, LOCAL])
def test_a_page_of_a_listed_origin_may_call_and_read(shared: FlaskClient, origin: str) -> None:
    response = shared.post("/studio-generate", json={"prompt": "rain"}, headers={"Origin": origin, **NINA})

    assert response.status_code == 200
    assert response.headers[ALLOWED] == origin
    assert set(response.headers["Access-Control-Expose-Headers"].split(", ")) == set(EXPOSED_HEADERS)
    assert "Origin" in response.headers["Vary"]


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://shop.example",
        "https://shop.example:8443",
        "https://sub.shop.example",
        "https://shop.example.evil.com",
        "https://evilshop.example",
        "https://shop.example/",
        "https://shopxexample",
        "http://localhost:30000",
        "http://localhost",
        "null",
        "*",
        "",
        ".*",
        f"{SHOP}, {LOCAL}",
    ],
)
@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
def test_a_page_of_another_origin_may_not(shared: FlaskClient, origin: str, method: str) -> None:
    response = shared.open(
        "/studio-generate",
        method=method,
        headers={"Origin": origin, "Access-Control-Request-Method": "POST", **NINA},
        json={"prompt": "rain"} if method == "POST" else None,
    )

    assert not [name for name in response.headers.keys() if name.startswith("Access-Control-")]  # noqa: SIM118
    assert "Origin" in response.headers["Vary"], "or a cache would give this answer to a page that may read it"


@pytest.mark.parametrize("path", ["/studio-generate", "/api/jobs"])
def test_a_browser_that_asks_beforehand_needs_no_key(shared: FlaskClient, path: str) -> None:
    response = shared.options(
        path,
        headers={
            "Origin": SHOP,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization, content-type, idempotency-key, prefer, x-evil",
        },
    )

    assert response.status_code == 200
    assert response.headers[ALLOWED] == SHOP
    assert "POST" in response.headers["Access-Control-Allow-Methods"].split(", ")
    assert set(response.headers["Access-Control-Allow-Headers"].lower().split(", ")) == {
        "authorization",
        "content-type",
        "idempotency-key",
        "prefer",
    }
    assert response.headers["Access-Control-Max-Age"] == "7200"


def test_every_method_of_the_api_may_be_used(shared: FlaskClient) -> None:
    paths = shared.get("/docs/openapi.json").get_json()["paths"]
    for path, operations in paths.items():
        for method in operations:
            asked = {"Origin": SHOP, "Access-Control-Request-Method": method.upper()}
            response = shared.options(path.replace("{id}", "x"), headers=asked)

            assert method.upper() in response.headers["Access-Control-Allow-Methods"].split(", "), path


def test_every_header_that_the_api_reads_may_be_sent(shared: FlaskClient) -> None:
    """Those of the description, the two that carry a key, and what a browser cannot send without asking."""
    paths = shared.get("/docs/openapi.json").get_json()["paths"]
    read = {
        parameter["name"].lower()
        for path in paths.values()
        for operation in path.values()
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "header"
    }

    assert read | {"authorization", "x-api-key", "content-type"} <= {name.lower() for name in SENT_HEADERS}


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [("/api/engines", {}, 401), ("/api/jobs/x", NINA, 405), ("/nowhere", {}, 404), ("/docs/?a=1&a=2", {}, 400)],
)
def test_an_error_can_be_read_too(shared: FlaskClient, path: str, headers: dict[str, str], status: int) -> None:
    response = shared.get(path, headers={"Origin": SHOP, **headers})

    assert response.status_code == status
    assert response.headers[ALLOWED] == SHOP


def test_an_unforeseen_error_can_be_read_too(make_client: MakeClient) -> None:
    client = make_client(FakeEngine(RuntimeError()), **ORIGINS)

    response = client.post("/studio-generate", json={"prompt": "rain"}, headers={"Origin": SHOP})

    assert response.status_code == 500
    assert response.headers.getlist(ALLOWED) == [SHOP]


def test_answers_without_an_origin_vary_as_well(shared: FlaskClient) -> None:
    response = shared.get("/api/engines", headers=NINA)

    assert "Origin" in response.headers["Vary"]
    assert ALLOWED not in response.headers


def test_all_origins_may_be_let_in(make_client: MakeClient) -> None:
    client = make_client(FakeEngine(), STUDIO_CORS_ORIGINS="*")

    for headers in ({}, {"Origin": "https://anybody.example"}, {"Origin": "null"}):
        response = client.get("/api/engines", headers=headers)

        assert response.headers[ALLOWED] == "*"
        assert "Vary" not in response.headers


def test_cookies_play_no_part(make_client: MakeClient) -> None:
    for origins in ("*", SHOP):
        response = make_client(FakeEngine(), STUDIO_CORS_ORIGINS=origins).get("/api/engines", headers={"Origin": SHOP})

        assert "Access-Control-Allow-Credentials" not in response.headers
        assert "Set-Cookie" not in response.headers


def test_out_of_the_box_no_other_origin_may_call(make_client: MakeClient) -> None:
    client = make_client(FakeEngine())

    for method in ("GET", "OPTIONS"):
        response = client.open("/api/engines", method=method, headers={"Origin": SHOP})

        assert not [name for name in response.headers.keys() if name.startswith("Access-Control-")]  # noqa: SIM118


def test_every_header_of_ours_can_be_read(make_service: MakeService, make_client: MakeClient) -> None:
    service = make_service(STUDIO_RATE_LIMIT="9/minute", STUDIO_READ_LIMIT="9/minute", **ORIGINS, **KEYS)
    job = service.client.post("/api/jobs", json={"prompt": "rain"}, headers=NINA)
    paths = service.client.get("/docs/openapi.json").get_json()["paths"]
    sent = {
        name.lower()
        for response in (
            job,
            service.client.get("/api/jobs?limit=1", headers=NINA),
            service.client.post("/studio-generate", json={"prompt": "rain"}, headers=NINA),
            service.client.get("/api/engines"),
            make_client(FakeEngine(UpstreamUnavailable(retry_after_s=5))).post(
                "/studio-generate", json={"prompt": "x"}
            ),
        )
        for name in response.headers.keys()  # noqa: SIM118
    }
    described = {
        name.lower()
        for path in paths.values()
        for operation in path.values()
        for response in operation["responses"].values()
        for name in response.get("headers", {})
    }
    readable = ALWAYS_READABLE | {name.lower() for name in EXPOSED_HEADERS}

    assert (sent | described) - readable - FOR_BROWSERS == set()


# ---------------------------------------------------------------------- as a page in a browser sees it


class Page:
    """A page of another origin: its browser asks beforehand where it must, and shows it what it may see.

    Attributes:
        told: Names of all headers that answers had, whether the page saw them or not.
    """

    def __init__(self, client: FlaskClient) -> None:
        self.told: set[str] = set()
        self._client = client

    def fetch(
        self, method: str, path: str, headers: dict[str, str], *, json: object = None
    ) -> tuple[int, dict[str, str]]:
        """Return the status, and the headers that the page can read, in small letters.

        Raises:
            AssertionError: the browser would not let it.
        """
        names = {name.lower() for name in headers} | ({"content-type"} if json is not None else set())
        asked = sorted(names - FREE_HEADERS)
        if asked or method not in FREE_METHODS:
            self._ask(method, path, asked)
        response = self._client.open(path, method=method, json=json, headers={"Origin": SHOP, **headers})
        response.close()
        assert response.headers.getlist(ALLOWED) == [SHOP]
        told = {name.lower(): value for name, value in response.headers}
        self.told |= set(told)
        readable = ALWAYS_READABLE | set(told["access-control-expose-headers"].lower().replace(" ", "").split(","))
        return response.status_code, {name: value for name, value in told.items() if name in readable}

    def _ask(self, method: str, path: str, asked: list[str]) -> None:
        headers = {"Origin": SHOP, "Access-Control-Request-Method": method, "Accept": "*/*"}
        if asked:  # without blanks, and never with a key
            headers["Access-Control-Request-Headers"] = ",".join(asked)
        answer = self._client.options(path, headers=headers)
        assert 200 <= answer.status_code < 300
        assert answer.headers.getlist(ALLOWED) == [SHOP]
        assert method in FREE_METHODS | set(answer.headers["Access-Control-Allow-Methods"].split(", "))
        assert set(asked) <= set(answer.headers.get("Access-Control-Allow-Headers", "").lower().split(", "))


@pytest.fixture
def jobs(make_service: MakeService) -> JobService:
    return make_service(STUDIO_RATE_LIMIT="99/minute", STUDIO_READ_LIMIT="99/minute", **ORIGINS, **KEYS)


@pytest.fixture
def page(jobs: JobService) -> Page:
    return Page(jobs.client)


def test_a_page_can_wait_for_a_clip_and_read_all_about_it(page: Page) -> None:
    trace = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": "shop=1", "X-Request-ID": "page-1"}
    status, clip = page.fetch(
        "POST", "/studio-generate", {**NINA, **trace, "Accept": "audio/*"}, json={"prompt": "rain"}
    )

    assert (status, clip["x-request-id"]) == (200, "page-1")
    assert {"studio-engine", "studio-seed", "studio-attempts", "studio-duration", "repr-digest"} <= set(clip)
    assert {"content-disposition", "content-length", "server-timing"} <= set(clip)
    assert {"ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"} <= set(clip)


def test_a_page_can_follow_a_job_to_its_end(page: Page, jobs: JobService) -> None:
    body = {"prompt": "rain"}
    asked = {**BOB, "Idempotency-Key": "k", "Prefer": "respond-async"}
    status, first = page.fetch("POST", "/studio-generate", asked, json=body)
    _, again = page.fetch("POST", "/studio-generate", asked, json=body)
    _, listed = page.fetch("GET", "/api/jobs?limit=1", BOB)
    page.fetch("POST", "/api/jobs", BOB, json=body)
    _, more = page.fetch("GET", "/api/jobs?limit=1", BOB)
    job_id = first["location"].rpartition("/")[2]
    audio = f"/api/jobs/{job_id}/audio"
    waiting, (unfinished, _) = page.fetch("GET", first["location"], BOB)[1], page.fetch("GET", audio, BOB)
    jobs.run(job_id)
    events, _ = page.fetch("GET", f"/api/jobs/{job_id}/events", {**BOB, "Last-Event-ID": "1"})
    _, whole = page.fetch("HEAD", audio, BOB)
    part, bounds = page.fetch("GET", audio, {**BOB, "Range": "bytes=5-9", "If-Range": whole["etag"]})
    same, _ = page.fetch("GET", audio, {**BOB, "If-None-Match": whole["etag"]})
    beyond, size = page.fetch("GET", audio, {**BOB, "Range": "bytes=999999999-"})
    deleted, _ = page.fetch("DELETE", f"/api/jobs/{job_id}", BOB)
    gone, _ = page.fetch("GET", audio, BOB)
    wrong, allowed = page.fetch("POST", audio, BOB, json={})

    assert status == 202
    assert {"preference-applied", "retry-after"} <= set(first)
    assert again["idempotent-replayed"] == "true"
    assert ("link" in listed, "link" in more) == (False, True)
    assert "retry-after" in waiting
    assert (unfinished, events, part, same, beyond, deleted, gone, wrong) == (409, 200, 206, 304, 416, 204, 410, 405)
    assert bounds["content-range"].startswith("bytes 5-9/")
    assert size["content-range"].startswith("bytes */")
    assert {"etag", "accept-ranges"} <= set(whole)
    assert "GET" in allowed["allow"]
    shared = ALWAYS_READABLE | {name.lower() for name in EXPOSED_HEADERS}
    sharing = {name for name in page.told if name.startswith("access-control-")}
    assert page.told - shared - sharing - FOR_BROWSERS == set()


def test_a_page_learns_what_it_did_wrong(page: Page) -> None:
    status, answer = page.fetch("POST", "/api/jobs", {"X-API-Key": "wrong"}, json={"prompt": "rain"})

    assert (status, answer["www-authenticate"]) == (401, "Bearer")
    assert {"ratelimit-remaining", "x-request-id"} <= set(answer)


@pytest.mark.parametrize(
    "value",
    [
        "shop.example",
        "https://shop.example/",
        "https://shop.example/path",
        "https://Shop.example",
        "https://*.shop.example",
        "*, https://shop.example",
        "null",
        "https://shop.example,",
        "ftp://shop.example",
        "https://user@shop.example",
        "https://a b",
    ],
)
def test_origins_that_cannot_be_used_are_refused(value: str) -> None:
    with pytest.raises(ValidationError, match="must be"):
        Settings.model_validate({"STUDIO_CORS_ORIGINS": value})
