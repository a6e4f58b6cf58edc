"""Limits: how often a caller may ask, told in each answer and refused with `rate-limited` beyond.

`Tally` counts, in windows of fixed length that begin with a caller's first request. What it counts with is neither
imported nor asked where no limit is set.

Source of the headers: https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-ratelimit-headers-06,
read 2026-11; later drafts fold them into one field that few clients read yet.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from flask import Response, current_app, g, request
from flask_openapi3 import OpenAPI

from app.errors import RateLimited
from app.web import problems
from app.web.callers import NOBODY, address, is_api, needs_key, who

if TYPE_CHECKING:
    from app.web.tally import Limits, Standing, Tally

MAX_COUNTERS: Final = 10_000
"""Counters in this process, beyond which addresses share some: calls from everywhere must not fill the memory."""

SHARED_COUNTERS: Final = 1_024
"""How many they share then."""

_CHARGE: Final = "studio-charge"

_COUNTED_HEADERS: Final[dict[str, dict[str, Any]]] = {
    name: {"description": text, "schema": {"type": "integer", "minimum": 0}}
    for name, text in {
        "RateLimit-Limit": "Requests that a caller may make in a window; those that are answered again with what an "
        "`Idempotency-Key` already brought count too, and each section of a song counts as one.",
        "RateLimit-Remaining": "How many of them are left.",
        "RateLimit-Reset": "Seconds until the window ends, and all of them are there again.",
    }.items()
}
_REFUSED_HEADERS: Final[dict[str, dict[str, Any]]] = {
    "Retry-After": {
        "description": "Seconds until asking again is sensible.",
        "schema": {"type": "integer", "minimum": 1},
    }
}


def protect(
    app: OpenAPI, *, work: str | None, read: str | None, redis_url: str | None, max_counters: int = MAX_COUNTERS
) -> None:
    """Count the requests of each caller of the API, and refuse those that are too many.

    A caller is the name of an API key, else an address. Questions for a route's methods are not counted, nor is
    anything outside of the API: `/health` and `/ready` always answer.

    Args:
        work: How often a caller may start work (`POST`), e.g. `30/minute`; None is as often as it likes.
        read: The same for all other requests.
        redis_url: Where all processes count together; this process counts alone without it, or while it is away.
        max_counters: Of callers, in this process; beyond them addresses share some.
    """
    if not (work or read):
        return
    from app.web.tally import Tally, parsed

    tally = Tally(redis_url)
    work_limits, read_limits = parsed(work), parsed(read)

    def asker() -> str:
        if g.caller == NOBODY and tally.holds(max_counters):
            return f"some {zlib.crc32(address().encode()) % SHARED_COUNTERS}"
        return who()

    app.extensions[_CHARGE] = partial(_count_more, tally, work_limits, asker)

    @app.before_request
    def count() -> None:
        g.standing = None
        scope, limits = ("work", work_limits) if request.method == "POST" else ("read", read_limits)
        if limits and is_api(request.path) and request.method != "OPTIONS":
            g.standing = standing = tally.count(limits, asker=asker(), scope=scope)
            if standing.is_exceeded:
                detail = f"{standing.limit} requests in {standing.window_s} s are allowed, and those are used up."
                raise RateLimited(detail, retry_after_s=standing.reset_s)

    @app.after_request
    def tell(response: Response) -> Response:
        standing: Standing | None = g.get("standing")
        if standing:
            response.headers["RateLimit-Limit"] = str(standing.limit)
            response.headers["RateLimit-Remaining"] = str(standing.remaining)
            response.headers["RateLimit-Reset"] = str(standing.reset_s)
        return response


def _count_more(tally: Tally, limits: Limits, asker: Callable[[], str], amount: int) -> None:
    # One by one: a window that is used up must not keep the longer ones from seeing it.
    found = [tally.count([each], asker=asker(), scope="work", amount=amount) for each in limits]
    g.standing = min(found, key=lambda each: each.remaining, default=None)


def charge(pieces: int) -> None:
    """Count the pieces that this request has had made beyond the first one, as if each had been asked for alone.

    It is not refused for them: else nobody could ask for a song of more sections than a window allows. The requests
    after it are, until the window ends.
    """
    count = current_app.extensions.get(_CHARGE)
    if count and pieces > 1:
        count(pieces - 1)


def describe(app: OpenAPI, *, work: str | None, read: str | None, with_keys: bool) -> None:
    """Add to the description of the API what limits make of its answers; all routes must be there by now.

    Args:
        work: As for `protect`.
        read: The same.
        with_keys: Whether there are API keys, and too many wrong ones are refused too.
    """
    if not (work or read or with_keys):
        return
    for path, methods in app.api_doc["paths"].items():
        for method, operation in methods.items():
            is_counted = is_api(path) and bool(work if method == "post" else read)
            if is_counted or (with_keys and needs_key(path)):
                status = str(RateLimited.status)
                operation["responses"][status] = problems.responses(RateLimited)[status]
                operation["responses"][status]["headers"] = _REFUSED_HEADERS
            if is_counted:
                for response in operation["responses"].values():
                    response["headers"] = (response.get("headers") or {}) | _COUNTED_HEADERS
