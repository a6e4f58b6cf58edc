"""POST /studio-generate: one clip, for a caller who waits for it."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import unicodedata
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from flask import Response, g, request
from flask_openapi3 import APIBlueprint, Tag

from app.audio import MEDIA_TYPES, Format
from app.engines.engine import Brief
from app.errors import EngineError, InvalidRequest, Overloaded, PayloadTooLarge, UnsupportedMediaType, catalogue
from app.studio import Piece, Studio
from app.web import problems
from app.web.body import with_json_body
from app.web.schemas import GenerateRequest

_ACCEPTED: Final[Mapping[str, Format]] = {
    **{media_type: name for name, media_type in MEDIA_TYPES.items()},
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/vnd.wave": "wav",
    "audio/x-flac": "flac",
    "application/ogg": "ogg",
    "audio/vorbis": "ogg",
    "audio/mp3": "mp3",
    "audio/x-mp3": "mp3",
}
"""The formats by what an `Accept` header may call them; the first one wins a tie."""

_HEADERS: Final = {
    "Content-Disposition": "A name for the file, made from `username` and `prompt`.",
    "Studio-Engine": "The engine that made the piece.",
    "Studio-Seed": "Send it as `seed` to ask for the same piece again.",
    "Studio-Attempts": "How many attempts it took.",
    "Studio-Duration": "Seconds delivered; an engine may give less or more than was asked for.",
    "Repr-Digest": "SHA-256 of the audio (RFC 9530).",
    "Server-Timing": "Milliseconds spent waiting for the engine, and proving and transcoding its audio.",
    "X-Request-ID": "The id of this request in the log: yours, if you sent a usable one.",
}
_RESPONSES: Final[problems.Responses] = {
    "200": {
        "description": "The audio itself, proven to play.",
        "content": {each: {"schema": {"type": "string", "format": "binary"}} for each in MEDIA_TYPES.values()},
        "headers": {
            name: {"description": text, "required": True, "schema": {"type": "string"}}
            for name, text in _HEADERS.items()
        },
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
        """Waits for the piece and answers with the audio itself.

        It takes as long as the engine takes, all attempts included, up to the deadline of the service.
        """
        brief = Brief(
            prompt=body.prompt,
            duration_s=body.duration,
            seed=secrets.randbelow(2**32) if body.seed is None else body.seed,
            mood=body.mood or None,
            tempo_bpm=body.tempo,
            instruments=body.instruments,
        )
        piece = studio.generate(brief, format=body.format or _accepted_format(), deadline=g.deadline)
        return _answer(piece, name=file_name(body.username or "", body.prompt))

    return api


def _accepted_format() -> Format:
    best = request.accept_mimetypes.best_match(_ACCEPTED)
    return _ACCEPTED[best] if best else "wav"


def _answer(piece: Piece, *, name: str) -> Response:
    audio = piece.audio
    digest = base64.b64encode(hashlib.sha256(audio.content).digest()).decode()
    response = Response(audio.content, mimetype=audio.media_type)
    response.headers.update(
        {
            "Content-Disposition": content_disposition(f"{name}.{audio.format}"),
            "Studio-Engine": piece.engine,
            "Studio-Seed": str(piece.seed),
            "Studio-Attempts": str(piece.attempts),
            "Studio-Duration": f"{audio.duration_s:.2f}",
            "Repr-Digest": f"sha-256=:{digest}:",
            "Server-Timing": f"upstream;dur={piece.upstream_s * 1000:.1f}, decode;dur={piece.decode_s * 1000:.1f}",
        }
    )
    return response


# ---------------------------------------------------------------------- the file's name

_LONGEST_NAME: Final = 60
"""Characters of a file's name, without its ending; file systems stop at 255 bytes, and one character may take four."""

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
