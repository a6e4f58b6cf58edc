"""Arrival: the bytes of one request as they come, and whether it could be answered without waiting for more of them.

This only counts. What the bytes mean is for gunicorn's parser to say, which reads them afterwards: should the two
disagree, the parser finds less than it wants and the connection ends, but no body is ever taken for a request.

Source: RFC 9112 §2 to §7 (framing) and RFC 9110 §10.1.1 (`Expect`).
"""

from __future__ import annotations

import re
from typing import Final

MAX_HEAD_BYTES: Final = 32 * 1024
"""Request line and header lines together."""

READ_AHEAD_BYTES: Final = 4 * 1024
"""Bytes of a too large body in chunks that are collected beyond the limit: gunicorn decodes 1 KiB at a time, and
whoever reads the body must come across its excess before its end. What surrounds the chunks may be so much larger than
what is in them: each chunk costs the parser the same, and nobody sends thousands of one byte."""

_LINE_END: Final = b"\r\n"
_HEAD_END: Final = b"\r\n\r\n"
_BARE_LINE_FEED: Final = re.compile(rb"(?<!\r)\n")
_FRAMING: Final = re.compile(rb"\r\n(content-length|transfer-encoding|expect):([^\r\n]*)", re.IGNORECASE)
_LENGTH: Final = re.compile(rb"\d{1,15}")
_CHUNK_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,15}")

_LONGEST_CHUNK_LINE: Final = 256
"""Bytes of the line above a chunk; nobody uses the extensions that could make it longer."""


class Arrival:
    """One request on its way in.

    Attributes:
        content: All bytes so far, those of following requests included.
        is_ready: Whether a thread can answer it now, be it to refuse it.
        is_whole: Whether it ends within `content`. What is ready and not whole is refused: too large, or malformed.
        is_oversized: Whether its head is larger than any may be; then it is not ready.
        awaits_continue: Whether the sender holds the body back until told to go on.
    """

    def __init__(self, *, max_body_bytes: int, larger: tuple[tuple[bytes, int], ...] = ()) -> None:
        """
        Args:
            max_body_bytes: Largest body that is collected.
            larger: Beginnings of request lines, and the limit that holds for those in its place.
        """
        self.content = bytearray()
        self.is_ready = False
        self.is_whole = False
        self.is_oversized = False
        self._usual_body_bytes = self._max_body_bytes = max_body_bytes
        self._larger = larger
        self._expects_continue = False
        self._body_at: int | None = None
        self._length: int | None = None
        self._at = 0
        self._chunk_left = 0
        self._decoded_bytes = 0

    @property
    def has_body(self) -> bool:
        """Whether there is more to read of it than its head, or that cannot be known."""
        return self._length != 0

    @property
    def is_large(self) -> bool:
        """Whether more of it has come than most requests may have."""
        return len(self.content) > MAX_HEAD_BYTES + self._usual_body_bytes + READ_AHEAD_BYTES

    @property
    def awaits_continue(self) -> bool:
        return self._expects_continue and not self.is_ready and len(self.content) == self._body_at

    @property
    def has_request_line(self) -> bool:
        """Whether somebody has asked for something, however incompletely."""
        return _LINE_END in self.content.lstrip(_LINE_END)

    def feed(self, data: bytes) -> None:
        """Take the next bytes from the wire; only while it is neither ready nor oversized."""
        # The last three bytes may be the beginning of what ends the head.
        searched = max(len(self.content) - len(_HEAD_END) + 1, 0)
        self.content += data
        if self._body_at is None:
            self._find_body(searched)
        if self._body_at is not None and not self.is_ready:
            if self._length is None:
                self._pass_chunks()
            elif len(self.content) >= self._body_at + self._length:
                self._be_whole()

    def _be_whole(self) -> None:
        self.is_ready = self.is_whole = True

    def _find_body(self, searched: int) -> None:
        end = self.content.find(_HEAD_END, searched)
        if end >= 0:
            self._at = self._body_at = end + len(_HEAD_END)
            self._read_framing(bytes(self.content[: end + len(_LINE_END)]))
        elif _BARE_LINE_FEED.search(self.content, searched):
            self.is_ready = True  # such a head never ends, and the parser refuses it
        elif len(self.content) > MAX_HEAD_BYTES:
            self.is_oversized = True

    def _read_framing(self, head: bytes) -> None:
        for start, limit_bytes in self._larger:
            if head.lstrip(_LINE_END).startswith(start):
                self._max_body_bytes = limit_bytes
        lines: dict[bytes, list[bytes]] = {}
        for name, value in _FRAMING.findall(head):
            lines.setdefault(name.lower(), []).append(value.strip(b" \t").lower())
        lengths, codings = lines.get(b"content-length", []), lines.get(b"transfer-encoding", [])
        self._expects_continue = lines.get(b"expect") == [b"100-continue"] and b" HTTP/1.1\r\n" in head
        if lengths and not codings and len(lengths) == 1 and _LENGTH.fullmatch(lengths[0]):
            self._length = int(lengths[0])
            self.is_ready = self._length > self._max_body_bytes
        elif codings or lengths:
            self.is_ready = codings != [b"chunked"] or bool(lengths)
        else:
            self._length = 0

    def _pass_chunks(self) -> None:
        """Walk over the chunks that are there, and stop at the last one or where something is missing."""
        while not self.is_ready:
            data_bytes = min(self._chunk_left, len(self.content) - self._at)
            self._at += data_bytes
            self._chunk_left -= data_bytes
            self._decoded_bytes += data_bytes
            overhead_bytes = self._at - (self._body_at or 0) - self._decoded_bytes
            most_bytes = min(self._max_body_bytes, self._decoded_bytes) + READ_AHEAD_BYTES
            if self._decoded_bytes > self._max_body_bytes + READ_AHEAD_BYTES or overhead_bytes > most_bytes:
                self.is_ready = True  # too large
            elif self._chunk_left or not self._pass_chunk_line():
                return

    def _pass_chunk_line(self) -> bool:
        """Go on to the data of the next chunk, and tell whether its line was there."""
        start = self._at + (len(_LINE_END) if self._decoded_bytes else 0)  # a line end closes each chunk's data
        end = self.content.find(_LINE_END, start)
        if end < 0:
            self.is_ready = len(self.content) - start > _LONGEST_CHUNK_LINE
            return False
        size = self.content[start:end].partition(b";")[0].rstrip(b" \t")
        if not _CHUNK_SIZE.fullmatch(size):
            self.is_ready = True  # the parser refuses it
        elif int(size, 16) > 0:
            self._at, self._chunk_left = end + len(_LINE_END), int(size, 16)
            return True
        elif self.content.find(_HEAD_END, end) >= 0:  # the empty line, behind trailers if there are any
            self._be_whole()
        else:
            self.is_ready = len(self.content) - end > MAX_HEAD_BYTES
        return False
