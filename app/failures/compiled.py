"""Regular expressions that are compiled when they are first used.

Compiling all of them at once would make importing the service noticeably slower, and most reports need few.
"""

from __future__ import annotations

import re
from functools import cache


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """Return the pattern, compiled once."""
    return re.compile(pattern)
