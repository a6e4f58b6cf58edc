"""Files: how many a process may have open; each connection is one, to callers and to upstreams."""

from __future__ import annotations

import resource
from contextlib import suppress


def allow_open_files(wanted: int) -> int:
    """Have this process and its children open so many files, as far as the system lets it, and return how many.

    Shells and service managers usually allow 1,024, and let a program raise that by itself.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        with suppress(OSError, ValueError):  # macOS has a lower limit than the one it tells
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    now, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if now == resource.RLIM_INFINITY else now
