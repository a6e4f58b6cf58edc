"""Audio: the answers that carry a piece, whole or in part."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from flask import Response

from app.engines.engine import Format
from app.errors import RangeNotSatisfiable
from app.jobs.job import Job, Result
from app.studio import Piece
from app.web.headers import content_disposition, display_strings, file_name

_ENDINGS: Final[Mapping[Format, str]] = {"stems": "zip"}
"""The endings of files that are not called like their format."""

_RANGE: Final = re.compile(r"bytes= *(\d{0,18})-(\d{0,18}) *", re.ASCII | re.IGNORECASE)
"""One range. Several at once, and anything else, may be answered with the whole (RFC 9110 §14.2)."""

_HEADERS: Final = {
    "Content-Disposition": "A name for the file, made from `username` and `prompt`.",
    "Studio-Engine": "The engine that made the piece.",
    "Studio-Seed": "Send it as `seed` to ask for the same piece again.",
    "Studio-Attempts": "How many attempts it took.",
    "Studio-Duration": "Seconds delivered; an engine may give less or more than was asked for.",
    "Repr-Digest": "SHA-256 of the file (RFC 9530).",
    "Server-Timing": "Milliseconds spent waiting for the engine, and proving and transcoding its audio; for a piece "
    "that was made by a job, both together as `job`.",
    "X-Request-ID": "The id of this request in the log: yours, if you sent a usable one.",
}
_REMARKS: Final = (
    "What the engine could not do as asked, when there is any such thing: sentences for people, as a list of display "
    "strings (RFC 9651), in which a `%` and two hexadecimal digits stand for a byte of UTF-8. "
    '`%"Nobody here plays %22kazoo%22."`'
)
_FALLBACK_REASON: Final = (
    "Why `Studio-Engine` is not the engine that this service is configured for, when it is not: the code of that "
    "engine's error, such as `upstream-timeout`."
)
HEADERS: Final = {
    name: {"description": text, "required": True, "schema": {"type": "string"}} for name, text in _HEADERS.items()
} | {
    "Studio-Remarks": {"description": _REMARKS, "schema": {"type": "string"}},
    "Studio-Fallback-Reason": {"description": _FALLBACK_REASON, "schema": {"type": "string"}},
}
"""What stands above each piece, for the OpenAPI description."""


def of_piece(piece: Piece, *, username: str | None, prompt: str) -> Response:
    """Return the piece that was made while its caller waited."""
    file = piece.file
    response = Response(file.content, mimetype=file.media_type)
    response.call_on_close(piece.let_go)
    response.headers.update(
        _headers(
            name=_name(username, prompt, file.format),
            engine=piece.engine,
            seed=piece.seed,
            attempts=piece.attempts,
            duration_s=file.duration_s,
            sha256=hashlib.sha256(file.content).digest(),
            remarks=piece.remarks,
            fallback_reason=piece.fallback_reason,
        )
    )
    response.headers["Server-Timing"] = (
        f"upstream;dur={piece.upstream_s * 1000:.1f}, decode;dur={piece.decode_s * 1000:.1f}"
    )
    return response


def of_job(job: Job, result: Result, content: Iterable[bytes]) -> Response:
    """Return the result of a job, or as much of it as `content` is; the length is to be set by the caller."""
    response = Response(content, mimetype=result.media_type)
    response.headers.update(
        _headers(
            name=_name(job.request.username, job.request.name, job.request.format),
            engine=result.engine or job.engine,
            seed=result.seed,
            attempts=job.attempt,
            duration_s=result.duration_s,
            sha256=bytes.fromhex(result.sha256),
            remarks=result.remarks,
            fallback_reason=result.fallback_reason,
        )
    )
    if job.started_at_s is not None and job.finished_at_s is not None:
        response.headers["Server-Timing"] = f"job;dur={(job.finished_at_s - job.started_at_s) * 1000:.1f}"
    return response


def asked_range(header: str, *, if_range: str | None, etag: str, size_bytes: int) -> tuple[int, int] | None:
    """Return which bytes of the file are asked for, from and up to, or None for all of them.

    Args:
        header: `Range`.
        if_range: `If-Range`, which makes the part depend on what the caller has of the file already.
        etag: Of the file, with its quotes.
        size_bytes: Length of the file.
    Raises:
        RangeNotSatisfiable: none of the bytes exist.
    """
    asked = _RANGE.fullmatch(header)
    if not asked or not any(asked.groups()):
        return None
    if if_range not in (None, etag):  # a date, a weak tag, another file
        return None
    first, last = (int(digits) if digits else None for digits in asked.groups())
    if first is None:
        start, end = max(size_bytes - (last or 0), 0), size_bytes
    else:
        start, end = first, size_bytes if last is None else min(last + 1, size_bytes)
        if last is not None and last < first:
            return None
    if start >= size_bytes:
        raise RangeNotSatisfiable(f"The file has {size_bytes} bytes.")
    return start, end


def _name(username: str | None, prompt: str, format: Format) -> str:
    return f"{file_name(username or '', prompt)}.{_ENDINGS.get(format, format)}"


def _headers(
    *,
    name: str,
    engine: str,
    seed: int,
    attempts: int,
    duration_s: float,
    sha256: bytes,
    remarks: Sequence[str],
    fallback_reason: str | None,
) -> dict[str, str]:
    headers = {
        "Content-Disposition": content_disposition(name),
        "Studio-Engine": engine,
        "Studio-Seed": str(seed),
        "Studio-Attempts": str(attempts),
        "Studio-Duration": f"{duration_s:.2f}",
        "Repr-Digest": f"sha-256=:{base64.b64encode(sha256).decode()}:",
    }
    if told := display_strings(remarks):
        headers["Studio-Remarks"] = told
    if fallback_reason:
        headers["Studio-Fallback-Reason"] = fallback_reason
    return headers
