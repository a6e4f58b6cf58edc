"""Callers: who calls, told apart by API keys. Where no keys are configured everybody may call, and has no name.

What a caller submitted belongs to the caller's name: jobs, idempotency keys and lists of one
are invisible to the others.

A request is first identified, then counted (`limits`), then admitted: so a wrong key is counted
before its sender learns that it is wrong.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import math
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import structlog
from flask import g, request
from flask_openapi3 import OpenAPI

from app.errors import RateLimited, Unauthorized
from app.retry import Clock

_log = structlog.get_logger(__name__)

NOBODY: Final = ""
"""The name of every caller where no keys are configured."""

_UNKNOWN_ADDRESS: Final = "unknown"
_WITH_PORT: Final = re.compile(r"\[(?P<v6>[^\]]*)\](:\d+)?|(?P<v4>[\d.]+):\d+", re.ASCII)

_SCHEMES: Final[Mapping[str, dict[str, Any]]] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


class Guesses:
    """Wrong API keys, counted by address: who sends too many of them is told to wait, and fills no more of the log.

    A right key is never among them, whatever else comes from its address: that may be the one of a proxy which
    everybody comes through, and then a single client with an old key would shut all others out. Nothing is lost by
    it: who could be held off here could also use more addresses, and a key that cannot be guessed is the defence.

    Kept in this process alone, and bounded.
    """

    def __init__(
        self, *, limit: int = 30, window_s: float = 60.0, max_addresses: int = 10_000, clock: Clock = time.monotonic
    ) -> None:
        """
        Args:
            limit: Wrong keys from one address that are called wrong.
            window_s: Seconds in which that many may come, from the first one on.
            max_addresses: Addresses that are remembered; beyond them the one that began first is forgotten.
            clock: Monotonic time in seconds.
        """
        self._limit = limit
        self._window_s = window_s
        self._max_addresses = max_addresses
        self._clock = clock
        self._lock = threading.Lock()
        self._made: OrderedDict[str, tuple[int, float]] = OrderedDict()
        """How many by address, and until when they count."""

    def refuse(self, address: str) -> Unauthorized | RateLimited:
        """Count one more from there, and return what to answer."""
        with self._lock:
            now_s = self._clock()
            count, until_s = self._made.get(address, (0, 0.0))
            if until_s <= now_s:
                self._made.pop(address, None)
                count, until_s = 0, now_s + self._window_s
            count += 1
            self._made[address] = count, until_s
            if len(self._made) > self._max_addresses:
                self._made.popitem(last=False)
        if count > self._limit:
            detail = "The API key is not known, and neither were many others from your address."
            return RateLimited(detail, retry_after_s=until_s - now_s)
        # The last one that is told says for how long there may be more.
        log = _log.bind(untold_s=math.ceil(until_s - now_s)) if count == self._limit else _log
        log.warning("wrong API key", address=address, count=count)
        return Unauthorized("The API key is not known.")


def identify(
    app: OpenAPI, digests: Sequence[tuple[str, str]], *, is_exposed: bool, guesses: Guesses | None = None
) -> None:
    """Find out for each request who calls, and note the caller's name as `g.caller`; `admit` acts upon it.

    Args:
        digests: The name of each key's caller and the key's SHA-256, in hexadecimal; none lets everybody in. While
            a key is replaced by another one, both belong to the same name.
        is_exposed: Whether others than this machine can reach the service, where it should not be open by mistake.
        guesses: Counts wrong keys.
    """
    guesses = guesses or Guesses()
    if digests:
        app.security_schemes = {**_SCHEMES}
        app.openapi_extensions["security"] = [{name: []} for name in _SCHEMES]
    elif is_exposed:
        _log.warning("everybody may call", hint="Set STUDIO_API_KEYS; `studio keys new NAME` makes a key.")

    @app.before_request
    def recognise() -> None:
        g.caller, g.refusal = NOBODY, None
        if not digests or not needs_key(request.path) or request.method == "OPTIONS":
            # A browser asks for the methods of a route before it is allowed to send a key.
            return
        key = _key()
        if name := _name_of(key, digests):
            g.caller = name
            structlog.contextvars.bind_contextvars(caller=name)
        else:
            g.refusal = guesses.refuse(address()) if key else Unauthorized()


def admit(app: OpenAPI) -> None:
    """Refuse whom `identify` has not recognised. Free for everyone are the documentation and health checks."""

    @app.before_request
    def enter() -> None:
        if g.refusal:
            raise g.refusal


def is_api(path: str) -> bool:
    """Tell whether the path is one of the API: that is what keys and limits are about."""
    return path == "/studio-generate" or path.startswith("/api/")


def needs_key(path: str) -> bool:
    """Tell whether the path is for known callers alone, where keys are configured."""
    return is_api(path) or path == "/metrics"


def who() -> str:
    """Return what tells the request's caller from others: the name of the key, else the address as it counts."""
    return f"key {g.caller}" if g.caller != NOBODY else f"address {address()}"


def address() -> str:
    """Return what the request's address counts as: IPv4 as it is, IPv6 by its first 64 bits.

    A subscriber has at least 2⁶⁴ addresses of IPv6, and could use another one for each request.
    """
    sent = request.remote_addr or ""
    if match := _WITH_PORT.fullmatch(sent):  # some proxies write the port too
        sent = match["v6"] or match["v4"] or ""
    try:
        found = ipaddress.ip_address(sent)
    except ValueError:
        return _UNKNOWN_ADDRESS
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return f"{ipaddress.IPv6Address(int(found) >> 64 << 64)}/64"


def _key() -> str:
    # Not `request.authorization`, which takes a token with an inner "=" for parameters.
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return request.headers.get("X-API-Key", "")


def _name_of(key: str, digests: Sequence[tuple[str, str]]) -> str | None:
    digest = hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()
    # All of them are compared, whichever fits: how long it takes tells nothing about the keys.
    names = [name for name, each in digests if hmac.compare_digest(each, digest)]
    return names[0] if names else None
