"""Pages: what a person sees at `/` and `/creator`, and the files they are made of under `/assets/`.

They use the API as any other program would and are no part of its description. All files together are small, so
that they are kept in memory: what is not among them cannot be asked for, whatever a path looks like.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from flask import Blueprint, Response, request

from app.errors import NotFound

FOLDER: Final = Path(__file__).parent / "page"

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the pages may load and do. Audio that needs an API key is fetched with it, and played as a `blob:`."""

_MEDIA_TYPES: Final[Mapping[str, str]] = {
    ".css": "text/css",
    ".html": "text/html",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_PAGES: Final[Mapping[str, str]] = {"/": "index.html", "/creator": "creator.html"}


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    media_type: str
    etag: str


def blueprint() -> Blueprint:
    """Return the pages and their files, as they are now."""
    files = {path.name: _read(path) for path in FOLDER.iterdir() if path.suffix in _MEDIA_TYPES}
    pages = Blueprint("page", __name__)

    for path, name in _PAGES.items():
        # Else Werkzeug redirects who asks for no path at all, to an address that a proxy's callers may not know.
        pages.add_url_rule(path, Path(name).stem, _page_view(files.pop(name)), strict_slashes=False)

    @pages.get("/assets/<name>")
    def asset(name: str) -> Response:
        if name not in files:
            raise NotFound
        return _answer(files[name])

    return pages


def _page_view(file: _File) -> Callable[[], Response]:
    def page() -> Response:
        response = _answer(file)
        response.headers["Content-Security-Policy"] = POLICY
        return response

    return page


def _read(path: Path) -> _File:
    content = path.read_bytes()
    return _File(content, _MEDIA_TYPES[path.suffix], hashlib.sha256(content).hexdigest()[:32])


def _answer(file: _File) -> Response:
    response = Response(file.content, mimetype=file.media_type)
    # To be asked for each time, which costs a 304: files of two releases would not fit together.
    response.cache_control.no_cache = True
    response.set_etag(file.etag)
    response.make_conditional(request)
    return response
