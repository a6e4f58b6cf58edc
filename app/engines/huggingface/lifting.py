"""Large JSON answers without copies: the long text in one is not decoded but left where it lies.

Half a minute of stereo is seven megabytes of base64 in an object of a hundred bytes. A JSON decoder
looks at each of them, copies them into a text and has that looked at again. Here the text is found
by its quotes, as fast as memory can be read, and the decoder sees what is left without it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from app.engines.huggingface.transport import decode_json
from app.errors import UpstreamBadResponse

LONG_FROM_BYTES: Final = 16_384
"""Below that there is nothing to gain."""

BASE64_START: Final = re.compile(r"\s*(?:data:[\w/+.;=\-\s]{0,100},)?[A-Za-z0-9+/_-]{16}", re.IGNORECASE)
"""How text begins that may be base64, bare or in a data URL."""

_START_CHARS: Final = 200
_MOST_QUOTES: Final = 2_000
_MOST_VALUES: Final = 10_000
_GAP: Final = f"lifted {secrets.token_hex(16)}"
"""Stands in the long text's place. Nobody can know it: an answer could else have a gap already, and none where it
should be, because what was taken for a text is a name or a part of one."""


@dataclass(frozen=True, slots=True)
class LongText:
    """A text of a JSON answer that begins like base64.

    Attributes:
        encoded: Where it lies in the answer's bytes, without its quotes; were there escapes in it, they still are.
    """

    encoded: memoryview

    @property
    def start(self) -> str:
        """Its first 200 characters."""
        return bytes(self.encoded[:_START_CHARS]).decode("utf-8", "replace")

    def decoded(self) -> object:
        """Return it as JSON has it, a `str`.

        Raises:
            UpstreamBadResponse: there is something in it that JSON forbids.
        """
        return decode_json(b"".join((b'"', self.encoded, b'"')))


def decode_lifting(body: bytes) -> object:
    """Return the JSON value that `body` holds, in which at most one text is a `LongText`.

    What that text holds is not looked at: line breaks, say, which JSON forbids and base64 allows.

    Raises:
        UpstreamBadResponse: it is not JSON.
    """
    start, end = _long_text(body)
    if start == end:
        return decode_json(body)
    text = LongText(memoryview(body)[start:end])
    if not BASE64_START.match(text.start):
        return decode_json(body)
    # What was found is a text for certain when the rest is JSON with the gap as a value of its own. Between two quotes
    # that are not those of one text there would be a gap outside of any text, or one that is only a part of it.
    root: dict[object, object] = {}
    try:
        root["value"] = decode_json(b"".join((body[:start], _GAP.encode(), body[end:])))
    except UpstreamBadResponse:
        return decode_json(body)
    if not _fill_gap(root, text):
        return decode_json(body)
    return root["value"]


def _long_text(body: bytes) -> tuple[int, int]:
    """Return where the first long text seems to begin and end, or twice the same."""
    at = 0
    for _ in range(_MOST_QUOTES):
        start = body.find(b'"', at) + 1
        end = body.find(b'"', start) if start else -1
        if end < 0:
            break
        if end - start >= LONG_FROM_BYTES:
            # A quote behind a backslash may not be the last one.
            return (start, end) if body[end - 1] != ord("\\") else (0, 0)
        at = end + 1
    return 0, 0


def _fill_gap(root: dict[object, object], text: LongText) -> bool:
    """Put `text` into the gap somewhere in `root`, and return whether there is exactly one, near enough to be found."""
    waiting: list[dict[object, object] | list[object]] = [root]
    gaps: list[Callable[[], None]] = []
    seen = 0
    while waiting:
        holder = waiting.pop()
        seen += len(holder)
        if seen > _MOST_VALUES:
            return False
        for key, value in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
            if value == _GAP:
                gaps.append(partial(holder.__setitem__, key, text))
            elif isinstance(value, dict | list):
                waiting.append(value)
    if len(gaps) == 1:
        gaps[0]()
    return len(gaps) == 1
