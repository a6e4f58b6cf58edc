"""POST /studio-generate: one clip, for a caller who waits for it."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Collection, Mapping
from typing import Final

from flask import Response, g, request
from flask_openapi3 import APIBlueprint, Tag

from app.audio import MEDIA_TYPES
from app.engines.engine import DOCUMENT_MEDIA_TYPES, Brief, Format
from app.errors import EngineError, InvalidRequest, Overloaded, PayloadTooLarge, UnsupportedMediaType, catalogue
from app.studio import Piece, Studio
from app.web import problems
from app.web.body import with_json_body
from app.web.headers import content_disposition, display_strings, file_name
from app.web.schemas import GenerateRequest

_ACCEPTED: Final[Mapping[str, Format]] = {
    **{media_type: name for name, media_type in MEDIA_TYPES.items()},
    **{media_type: name for name, media_type in DOCUMENT_MEDIA_TYPES.items()},
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/vnd.wave": "wav",
    "audio/x-flac": "flac",
    "application/ogg": "ogg",
    "audio/vorbis": "ogg",
    "audio/mp3": "mp3",
    "audio/x-mp3": "mp3",
    "audio/mid": "mid",
    "audio/x-midi": "mid",
}
"""The formats by what an `Accept` header may call them; the first one wins a tie."""

_ENDINGS: Final[Mapping[Format, str]] = {"stems": "zip"}
"""The endings of files that are not called like their format."""

_HEADERS: Final = {
    "Content-Disposition": "A name for the file, made from `username` and `prompt`.",
    "Studio-Engine": "The engine that made the piece.",
    "Studio-Seed": "Send it as `seed` to ask for the same piece again.",
    "Studio-Attempts": "How many attempts it took.",
    "Studio-Duration": "Seconds delivered; an engine may give less or more than was asked for.",
    "Repr-Digest": "SHA-256 of the file (RFC 9530).",
    "Server-Timing": "Milliseconds spent waiting for the engine, and proving and transcoding its audio.",
    "X-Request-ID": "The id of this request in the log: yours, if you sent a usable one.",
}
_REMARKS: Final = (
    "What the engine could not do as asked, when there is any such thing: sentences for people, as a list of display "
    "strings (RFC 9651), in which a `%` and two hexadecimal digits stand for a byte of UTF-8. "
    '`%"Nobody here plays %22kazoo%22."`'
)
_RESPONSES: Final[problems.Responses] = {
    "200": {
        "description": "The audio itself, proven to play. On an engine that knows the notes of its pieces also a MIDI "
        "file of them, or a ZIP of WAVs, one for each player.",
        "content": {
            each: {"schema": {"type": "string", "format": "binary"}}
            for each in (*MEDIA_TYPES.values(), *DOCUMENT_MEDIA_TYPES.values())
        },
        "headers": {
            name: {"description": text, "required": True, "schema": {"type": "string"}}
            for name, text in _HEADERS.items()
        }
        | {"Studio-Remarks": {"description": _REMARKS, "schema": {"type": "string"}}},
    },
    **problems.responses(
        InvalidRequest,
        PayloadTooLarge,
        UnsupportedMediaType,
        Overloaded,
        *(row for row in catalogue() if issubclass(row, EngineError)),
    ),
}


def blueprint(studio: Studio) -> APIBlueprint:
    """Return the route."""
    api = APIBlueprint("generate", __name__, abp_tags=[Tag(name="Music", description="Text in, music out.")])

    @api.post("/studio-generate", summary="Generate one clip", responses=_RESPONSES)
    @with_json_body
    def generate(body: GenerateRequest) -> Response:
        """Waits for the piece and answers with the audio itself, or with the document that `format` names.

        It takes as long as the engine takes, all attempts included, up to the deadline of the service.
        """
        brief = Brief(
            prompt=body.prompt,
            duration_s=body.duration,
            seed=secrets.randbelow(2**32) if body.seed is None else body.seed,
            mood=body.mood or None,
            tempo_bpm=body.tempo,
            instruments=body.instruments,
            format=body.format or _accepted_format(studio.formats),
        )
        piece = studio.generate(brief, deadline=g.deadline)
        return _answer(piece, name=file_name(body.username or "", body.prompt))

    return api


def _accepted_format(formats: Collection[Format]) -> Format:
    best = request.accept_mimetypes.best_match([name for name, each in _ACCEPTED.items() if each in formats])
    return _ACCEPTED[best] if best else "wav"


def _answer(piece: Piece, *, name: str) -> Response:
    file = piece.file
    digest = base64.b64encode(hashlib.sha256(file.content).digest()).decode()
    response = Response(file.content, mimetype=file.media_type)
    response.headers.update(
        {
            "Content-Disposition": content_disposition(f"{name}.{_ENDINGS.get(file.format, file.format)}"),
            "Studio-Engine": piece.engine,
            "Studio-Seed": str(piece.seed),
            "Studio-Attempts": str(piece.attempts),
            "Studio-Duration": f"{file.duration_s:.2f}",
            "Repr-Digest": f"sha-256=:{digest}:",
            "Server-Timing": f"upstream;dur={piece.upstream_s * 1000:.1f}, decode;dur={piece.decode_s * 1000:.1f}",
        }
    )
    if remarks := display_strings(piece.remarks):
        response.headers["Studio-Remarks"] = remarks
    return response
