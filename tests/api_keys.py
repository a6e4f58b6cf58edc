"""Two callers, their keys, and the setting that makes them known; shared by the tests of the API."""

from __future__ import annotations

import hashlib

NINA = {"Authorization": "Bearer nina's key"}
BOB = {"X-API-Key": "bob's key"}


def keys(**by_name: str) -> dict[str, str]:
    """Return the setting that knows these keys, by the name of their callers."""
    entries = (f"{name}:{hashlib.sha256(key.encode()).hexdigest()}" for name, key in by_name.items())
    return {"STUDIO_API_KEYS": ", ".join(entries)}


KEYS = keys(nina="nina's key", bob="bob's key")
