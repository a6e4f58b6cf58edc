"""Headers that carry a caller's words: whatever those are, the header stays whole and plain ASCII."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

_LONGEST_NAME: Final = 60
"""Characters of a file's name, without its ending; file systems stop at 255 bytes, and one character may take four."""

_LONGEST_LIST: Final = 4_000
"""Characters of a list's header; proxies stop at 4 to 8 KiB for all headers together."""

_WORD: Final = re.compile(r"[^\W_]+")


def file_name(*texts: str) -> str:
    """Return a name without an ending: `studio`, then the words of the texts as far as they fit."""
    name = "studio"
    for word in _WORD.findall(unicodedata.normalize("NFC", " ".join(texts)).lower()):
        if len(name) + 1 + len(word) > _LONGEST_NAME:
            break
        name += f"-{word}"
    return name


def content_disposition(name: str) -> str:
    """Return the header for a name of letters, digits, hyphens and a dot, in ASCII and as it is (RFC 6266)."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    ascii_name = re.sub(r"[^A-Za-z0-9.]+", "-", ascii_name).replace("-.", ".")
    return f"inline; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(name, safe='')}"


def display_strings(texts: Iterable[str]) -> str:
    """Return a header's list of texts for people, as far as they fit: `%"Caf%c3%a9", %"Bar"`.

    Source: RFC 9651 §3.1 (lists) and §3.3.8 (display strings).
    """
    value = ""
    for text in texts:
        item = "".join(map(_display_octet, text.encode("utf-8", "replace")))
        longer = f'{value}, %"{item}"' if value else f'%"{item}"'
        if len(longer) > _LONGEST_LIST:
            break
        value = longer
    return value


def _display_octet(octet: int) -> str:
    is_plain = 0x20 <= octet <= 0x7E and octet not in b'%"'
    return chr(octet) if is_plain else f"%{octet:02x}"
