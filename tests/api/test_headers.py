"""Headers: what a caller sends cannot break them, and every answer has its own."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from fakes import FakeEngine, MakeClient
from flask.testing import FlaskClient
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app import create_app
from app.errors import PromptRefused, UpstreamRejected, UpstreamTimeout
from app.settings import Settings
from app.web.headers import content_disposition, display_strings, file_name

PATHS = [
    "/health",
    "/ready",
    "/metrics",
    "/nowhere",
    "/studio-generate",
    "/api/engines",
    "/api/jobs",
    "/api/status/x",
    "/api/jobs/x",
    "/api/jobs/x/audio",
    "/api/jobs/x/events",
    "/docs",
    "/docs/",
    "/docs/errors",
    "/docs/openapi.json",
    "/docs/swagger/js/swagger-ui-bundle.js",
    "/docs/static/errors.css",
]


# ---------------------------------------------------------------------- Content-Disposition


@pytest.mark.parametrize(
    ("username", "prompt", "ascii_name", "name"),
    [
        ("", "rain", "studio-rain.wav", "studio-rain.wav"),
        ("Nina", "Lo-fi Rain", "studio-nina-lo-fi-rain.wav", "studio-nina-lo-fi-rain.wav"),
        ("", "…", "studio.wav", "studio.wav"),
        ("Jürgen", "été", "studio-jurgen-ete.wav", "studio-j%C3%BCrgen-%C3%A9t%C3%A9.wav"),
        ("", "雨", "studio.wav", "studio-%E9%9B%A8.wav"),
        ("", "雨 rain", "studio-rain.wav", "studio-%E9%9B%A8-rain.wav"),
        ("", '"; evil="', "studio-evil.wav", "studio-evil.wav"),
        ("", "../../etc/passwd", "studio-etc-passwd.wav", "studio-etc-passwd.wav"),
        ("", "w" * 80, "studio.wav", "studio.wav"),
    ],
)
def test_the_file_is_named_after_user_and_prompt(
    client: FlaskClient, username: str, prompt: str, ascii_name: str, name: str
) -> None:
    response = client.post("/studio-generate", json={"prompt": prompt, "username": username})

    assert response.headers["Content-Disposition"] == f"inline; filename=\"{ascii_name}\"; filename*=UTF-8''{name}"


@settings(deadline=None, max_examples=500)
@given(username=st.text(), prompt=st.text())
@example(username="\u0130", prompt="ß ﬁ ½ \u1100\u1161")
@example(username="\u3002\uff0e.\uff0f", prompt="\u2024\u2025\u2044")
def test_nothing_a_caller_writes_can_break_the_header(username: str, prompt: str) -> None:
    header = content_disposition(f"{file_name(username, prompt)}.wav")

    match = re.fullmatch(
        r"inline; filename=\"(studio(?:-[A-Za-z0-9]+)*\.wav)\"; filename\*=UTF-8''(studio[A-Za-z0-9_.~%-]*\.wav)",
        header,
    )
    assert match, header
    name = unquote(match[2], errors="strict")
    assert len(name.encode()) <= 255
    assert len(match[1]) <= 255
    assert re.fullmatch(r"studio(-\w+)*\.wav", name)


# ---------------------------------------------------------------------- remarks


@settings(deadline=None)
@given(texts=st.lists(st.text(max_size=60), max_size=5))
@example(texts=['"', "%", "\r\nSet-Cookie: a=b", "\x00\x7f", "\N{MUSICAL SYMBOL G CLEF}", ", "])
def test_any_remarks_make_a_list_of_display_strings(texts: list[str]) -> None:
    header = display_strings(texts)

    item = r'%"(?:[ !#$&-~]|%[0-9a-f]{2})*"'
    assert re.fullmatch(f"({item}(, {item})*)?", header)
    assert [unquote(each[2:-1], errors="strict") for each in re.findall(item, header)] == texts


def test_more_remarks_than_a_header_can_hold_are_cut_between_two() -> None:
    header = display_strings(["ü" * 500] * 10)

    assert header.count('%"') == 1
    assert len(header) <= 4_000


@pytest.fixture(scope="module")
def service() -> FlaskClient:
    """Return a client that lives through all examples of a test."""
    return create_app(Settings(), engine=FakeEngine()).test_client()


@settings(deadline=None, max_examples=200)
@given(username=st.text(max_size=64), prompt=st.text(min_size=1, max_size=100))
def test_whatever_is_accepted_can_be_sent(service: FlaskClient, username: str, prompt: str) -> None:
    response = service.post("/studio-generate", json={"prompt": prompt, "username": username})

    assert response.status_code in (200, 400)
    if response.status_code == 200:
        response.headers["Content-Disposition"].encode("ascii")


# ---------------------------------------------------------------------- X-Request-ID


@pytest.mark.parametrize("request_id", ["a", "A-1_b.C", "x" * 128])
def test_a_usable_request_id_is_kept(client: FlaskClient, request_id: str) -> None:
    response = client.get("/health", headers={"X-Request-ID": request_id})

    assert response.headers["X-Request-ID"] == request_id


@pytest.mark.parametrize(
    "request_id", [None, "", " ", "x" * 129, "a b", "a/b", "<script>", 'a"b', "é", "a,b", "a\tb", "a:b", "{}"]
)
def test_any_other_request_id_is_replaced(client: FlaskClient, request_id: str | None) -> None:
    headers = {} if request_id is None else {"X-Request-ID": request_id}

    response = client.get("/nowhere", headers=headers)

    assert re.fullmatch("[0-9a-f]{32}", response.headers["X-Request-ID"])
    assert response.get_json(force=True)["request_id"] == response.headers["X-Request-ID"]


def test_each_request_gets_an_id_of_its_own(client: FlaskClient) -> None:
    ids = {client.get("/health").headers["X-Request-ID"] for _ in range(5)}

    assert len(ids) == 5


# ---------------------------------------------------------------------- every answer


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
@pytest.mark.parametrize("path", PATHS)
def test_every_answer_is_protected(client: FlaskClient, method: str, path: str) -> None:
    headers = client.open(path, method=method, buffered=True).headers

    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["X-Request-ID"]
    assert headers["Cache-Control"]
    policy = headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "script-src 'unsafe-inline'" not in policy
    assert "http" not in policy
    if headers.get("Content-Type", "").startswith("text/html"):
        assert "default-src 'none'" in policy
        assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert "microphone=()" in headers["Permissions-Policy"]


@pytest.mark.parametrize(
    ("error", "status"),
    [(RuntimeError(), 500), (UpstreamTimeout(), 504), (PromptRefused(), 400), (UpstreamRejected(), 502)],
    ids=lambda value: type(value).__name__,
)
def test_so_is_every_error(make_client: MakeClient, error: Exception, status: int) -> None:
    response = make_client(FakeEngine(error)).post("/studio-generate", json={"prompt": "rain"})

    assert response.status_code == status
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Content-Security-Policy"] == "frame-ancestors 'none'"


def test_nothing_tells_which_software_answers(client: FlaskClient) -> None:
    for path in PATHS:
        headers = client.get(path, buffered=True).headers

        assert not {"Server", "X-Powered-By", "Via"} & set(headers.keys())


def test_only_over_https_is_https_asked_for(client: FlaskClient) -> None:
    over_http = client.get("/health")
    over_https = client.get("/nowhere", base_url="https://studio.example")

    assert "Strict-Transport-Security" not in over_http.headers
    assert over_https.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_only_swagger_ui_may_style_inline(client: FlaskClient) -> None:
    policies = {path: client.get(path, buffered=True).headers.get("Content-Security-Policy", "") for path in PATHS}

    assert [path for path, policy in policies.items() if "unsafe-inline" in policy] == ["/docs/"]


def test_a_sound_file_may_be_shown_by_itself(client: FlaskClient) -> None:
    """A browser that opens the file puts it into a page with a player, and applies the file's policy to that."""
    response = client.post("/studio-generate", json={"prompt": "rain"})

    assert response.headers["Content-Security-Policy"] == "frame-ancestors 'none'"


@pytest.mark.parametrize("origins", ["*", "https://shop.example"])
def test_a_player_on_a_page_that_may_call_may_load_the_file(make_client: MakeClient, origins: str) -> None:
    """`<audio src>` is no request that cross-origin sharing is about; the header has no way to name an origin."""
    response = make_client(FakeEngine(), STUDIO_CORS_ORIGINS=origins).post("/studio-generate", json={"prompt": "rain"})

    assert response.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
