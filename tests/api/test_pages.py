"""The pages and their files, as a browser asks for them."""

from __future__ import annotations

import re

import pytest
from fakes import FakeEngine, MakeClient
from flask.testing import FlaskClient

from app.web.pages import FOLDER

MAX_PAGE_BYTES = 150_000
MIN_CONTRAST = 3.0
FILES = [path.name for path in FOLDER.iterdir()]
PAGES = ["/", "/creator"]
ADDRESSES = [*PAGES, *(f"/assets/{name}" for name in FILES if not name.endswith(".html"))]


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_page_and_its_files_are_served_and_asked_for_again_each_time(client: FlaskClient, address: str) -> None:
    response = client.get(address)

    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    again = client.get(address, headers={"If-None-Match": response.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert client.get(address, headers={"If-None-Match": '"older"'}).data == response.data


@pytest.mark.parametrize("address", ADDRESSES)
def test_head_tells_the_same_without_the_file(client: FlaskClient, address: str) -> None:
    whole, head = client.get(address), client.head(address)

    assert head.data == b""
    assert head.content_length == len(whole.data)
    assert head.headers["ETag"] == whole.headers["ETag"]


@pytest.mark.parametrize("address", PAGES)
def test_a_page_allows_nothing_but_its_own_files(client: FlaskClient, address: str) -> None:
    response = client.get(address)

    assert response.mimetype == "text/html"
    policy = response.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    for rule in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"):
        assert rule in policy


def test_nothing_of_another_origin_is_named() -> None:
    for path in FOLDER.iterdir():
        found = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in found, path.name
        assert "https://" not in found, path.name


@pytest.mark.parametrize(
    ("name", "media_type"),
    [("studio.js", "text/javascript"), ("studio.css", "text/css"), ("icon.svg", "image/svg+xml")],
)
def test_files_have_their_type(client: FlaskClient, name: str, media_type: str) -> None:
    assert client.get(f"/assets/{name}").mimetype == media_type


@pytest.mark.parametrize("address", PAGES)
def test_a_page_needs_no_key(make_client: MakeClient, address: str) -> None:
    client = make_client(FakeEngine(), STUDIO_API_KEYS=f"nina:{'0' * 64}")

    assert client.get(address).status_code == 200
    assert client.get("/api/engines").status_code == 401


def test_pages_are_no_part_of_the_description(client: FlaskClient) -> None:
    described = client.get("/docs/openapi.json").get_json()

    assert not [path for path in described["paths"] if path in PAGES or path.startswith("/assets")]


@pytest.mark.parametrize("lamp", [0, 1], ids=["light", "dark"])
def test_what_is_played_is_told_from_the_rest_and_that_from_its_ground(lamp: int) -> None:
    style = (FOLDER / "studio.css").read_text(encoding="utf-8")
    found = dict(re.findall(r"--(well|wave|played): light-dark\(([^)]+)\)", style))
    well, wave, played = (_luminance(found[name].split(", ")[lamp]) for name in ("well", "wave", "played"))

    assert _contrast(well, wave) >= MIN_CONTRAST
    assert _contrast(wave, played) >= MIN_CONTRAST


def _luminance(colour: str) -> float:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return sum(
        share * (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4)
        for share, each in ((0.2126, red), (0.7152, green), (0.0722, blue))
    )


def _contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def test_all_files_together_are_light() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < MAX_PAGE_BYTES
