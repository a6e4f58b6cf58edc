"""Readers: one small function per shape in which upstreams send audio.

Nobody agrees on how to put audio into an answer, and the URL does not tell which way it
will be. So an answer is read by its shape: `read_answer` tries the readers of whole
bodies, `read_value` those of JSON values, from the top, until one finds something.

To add a shape: a `read_<shape>` function here, one line in `READERS`, and an example in
`tests/fixtures/hf/`. A reader returns None for "not mine", and raises only
`UpstreamBadResponse`, for "mine, but damaged". It must be fast and safe on any input.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.audio import MAX_CHANNELS, Audio, decode_base64, encode_samples, sniff
from app.engines.huggingface.transport import Answer, decode_json
from app.engines.huggingface.upstream_errors import error_in
from app.errors import UpstreamBadResponse

MAX_DEPTH: Final = 8
"""How deep audio may be wrapped; real answers need five."""

DEFAULT_RATE_HZ: Final = 32_000
"""MusicGen's rate, assumed for sample arrays that come without one.

Source: the handler of huggingface.co/blog/run-musicgen-as-an-api sends none, read 2026-08.
"""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """Audio that lies at the upstream and must be fetched.

    Attributes:
        path: The server's path of it, or a full URL.
        is_stream: It is served under `/stream/` and not under `/file=` (Gradio).
    """

    path: str
    is_stream: bool = False


Found = bytes | Audio | RemoteFile
"""An encoded file, samples already made into audio, or where the file is to be had."""

Reader = Callable[[object, int, int], Found | None]
"""`(value, limit_bytes, depth)`; see the module's docstring."""


def read_answer(answer: Answer, *, limit_bytes: int) -> Found:
    """Return the audio in a successful answer, or where it is.

    Args:
        answer: What the upstream sent with a 2xx status.
        limit_bytes: Largest decoded audio.
    Raises:
        EngineError: there is no audio in it; if it announces an error, that error.
    """
    body = answer.body
    if not body.strip():
        raise UpstreamBadResponse("The answer is empty.")
    if sniff(body):
        return body
    if body.lstrip()[:1] == b"<":
        raise UpstreamBadResponse(
            "The answer is a web page, not audio.", log_text=body[:500].decode("utf-8", "replace")
        )
    if body.lstrip()[:1] in b'{["ntf0123456789-':
        try:
            value = decode_json(body)
        except UpstreamBadResponse:
            value = _text_of(body)  # bare base64 may begin like a JSON value does
    else:
        value = _text_of(body)
    return read_result(value, limit_bytes=limit_bytes)


def read_result(value: object, *, limit_bytes: int) -> Found:
    """Return the audio in a decoded answer, or where it is; raise when there is none."""
    found = read_value(value, limit_bytes)
    if found is not None:
        return found
    if error := error_in(value):
        raise error
    raise UpstreamBadResponse("There is no audio in the answer.", log_text=_outline(value))


def read_value(value: object, limit_bytes: int, depth: int = 0) -> Found | None:
    """Return the audio in a JSON value, or where it is, or None."""
    if depth > MAX_DEPTH or value is None:
        return None
    for reader in READERS:
        found = reader(value, limit_bytes, depth)
        if found is not None:
            return found
    return None


# ---------------------------------------------------------------------- objects


def read_update(value: object, limit_bytes: int, depth: int) -> Found | None:
    """Read Gradio's `gr.update(value=…)`: `{"__type__": "update", "value": …}`."""
    if not isinstance(value, Mapping) or value.get("__type__") != "update":
        return None
    return read_value(value.get("value"), limit_bytes, depth + 1)


def read_file_data(value: object, limit_bytes: int, depth: int) -> Found | None:
    """Read Gradio's file objects: `{"path": …}` of 4 and later, `{"name": …}` of 3.

    The path counts, never `url`: the server builds that from headers of the request, and
    several versions get it wrong. A 3.x object may hold the file itself in `data`.
    """
    if not isinstance(value, Mapping):
        return None
    if isinstance(value.get("data"), str) and value["data"]:
        return read_text(value["data"], limit_bytes, depth + 1)
    path = value.get("path")
    if path is None and value.get("is_file") is True:
        path = value.get("name")
    if path is None and value.get("is_stream") is True:
        path = value.get("name")
    if not isinstance(path, str) or not path:
        return None
    return RemoteFile(path, is_stream=value.get("is_stream") is True)


_SAMPLE_KEYS: Final = ("audio", "generated_audio", "samples", "array", "waveform", "data")
_RATE_KEYS: Final = ("sampling_rate", "sample_rate", "samplerate", "rate", "sr")


def read_samples(value: object, _limit_bytes: int, _depth: int) -> Found | None:
    """Read raw samples: `{"audio": [[[…]]], "sampling_rate": 32000}`, as Endpoints send them.

    The nesting is batch × channel × sample, channel × sample or just samples; the first of
    a batch is taken. Two long columns (sample × channel) are turned.
    """
    if not isinstance(value, Mapping):
        return None
    for key in _SAMPLE_KEYS:
        samples = value.get(key)
        if isinstance(samples, list) and (channels := _channels_of(samples)) is not None:
            rate = next((value[name] for name in _RATE_KEYS if name in value), DEFAULT_RATE_HZ)
            if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < 1e6:
                raise UpstreamBadResponse("The answer's sampling rate is not a number.")
            return encode_samples(channels, rate_hz=int(rate))
    return None


def _channels_of(samples: Sequence[object]) -> Sequence[Sequence[float | None]] | None:
    """Return one sequence per channel, or None when these are not samples."""
    nested = samples
    for _ in range(3):
        if not nested or not all(_is_number_or_null(each) for each in (nested[0], nested[-1])):
            if not nested or not isinstance(nested[0], list):
                return None
            first = nested[0]
            if first and _is_number_or_null(first[0]) and _is_number_or_null(first[-1]):
                return _rows_or_columns(nested)
            nested = first
        else:
            return _checked([nested])
    return None


def _rows_or_columns(table: Sequence[object]) -> Sequence[Sequence[float | None]]:
    rows = [row for row in table if isinstance(row, list)]
    if len(rows) == len(table) > MAX_CHANNELS and all(len(row) == len(rows[0]) <= MAX_CHANNELS for row in rows):
        rows = [list(column) for column in zip(*rows, strict=True)]
    if len(rows) != len(table):
        raise UpstreamBadResponse("The channels in the answer are not all lists.")
    return _checked(rows)


def _checked(channels: Sequence[Sequence[object]]) -> Sequence[Sequence[float | None]]:
    for channel in channels:
        if not all(_is_number_or_null(sample) for sample in channel):
            raise UpstreamBadResponse("The samples in the answer are not all numbers.")
    return channels  # type: ignore[return-value] # just checked


def _is_number_or_null(value: object) -> bool:
    return value is None or type(value) is float or type(value) is int


_WRAPPING_KEYS: Final = (
    "audio", "generated_audio", "audio_file", "audio_base64", "audio_data", "audios", "wav", "b64", "base64", "blob",
    "bytes", "content", "file", "files", "data", "output", "outputs", "result", "results", "response", "value", "video",
    "url", "audio_url", "message", "body",
)  # fmt: skip


def read_wrapped(value: object, limit_bytes: int, depth: int) -> Found | None:
    """Read an object that holds the audio under one of the names people give it."""
    if not isinstance(value, Mapping):
        return None
    for key in _WRAPPING_KEYS:
        if key in value and (found := read_value(value[key], limit_bytes, depth + 1)) is not None:
            return found
    return None


# ---------------------------------------------------------------------- lists


def read_rate_and_samples(value: object, _limit_bytes: int, _depth: int) -> Found | None:
    """Read `[32000, [0.1, …]]`, the pair that `gr.Audio` functions work with."""
    if not isinstance(value, list) or len(value) != 2 or type(value[0]) is not int or not isinstance(value[1], list):
        return None
    return read_samples({"audio": value[1], "sampling_rate": value[0]}, _limit_bytes, _depth)


def read_list(value: object, limit_bytes: int, depth: int) -> Found | None:
    """Read the first item of a list that holds audio."""
    if not isinstance(value, list):
        return None
    for item in value[:100]:
        if (found := read_value(item, limit_bytes, depth + 1)) is not None:
            return found
    return None


# ---------------------------------------------------------------------- text

_BASE64_START: Final = re.compile(r"\s*(?:data:[\w/+.;=\-\s]{0,100},)?[A-Za-z0-9+/_-]{16}", re.IGNORECASE)
_AUDIO_STARTS: Final = ("UklGR", "ZkxhQ", "T2dnUw", "SUQz")
"""How RIFF, fLaC, OggS and ID3 begin in base64."""


def read_text(value: object, limit_bytes: int, _depth: int) -> Found | None:
    """Read base64, bare or as a data URL."""
    if not isinstance(value, str) or not _BASE64_START.match(value):
        return None
    means_audio = value[:11].lower() == "data:audio/" or value.lstrip().startswith(_AUDIO_STARTS)
    try:
        content = decode_base64(value, limit_bytes=limit_bytes)
    except UpstreamBadResponse:
        if means_audio or len(value) > limit_bytes:
            raise
        return None
    return content if means_audio or sniff(content) else None


_DATA_URL_ATTRIBUTE: Final = re.compile(r"""src\s*=\s*["']?(data:audio/[^"'\s>]+)""", re.IGNORECASE)


def read_html(value: object, limit_bytes: int, depth: int) -> Found | None:
    """Read `<audio src="data:audio/wav;base64,…">`, as `gr.HTML` functions send it."""
    if not isinstance(value, str) or "<" not in value[:2_000]:
        return None
    source = _DATA_URL_ATTRIBUTE.search(value)
    return read_text(source[1], limit_bytes, depth) if source else None


def read_url(value: object, _limit_bytes: int, _depth: int) -> Found | None:
    """Read a URL; whether it may be fetched is for the engine to decide."""
    if not isinstance(value, str) or not re.match(r"https?://[^\s<>\"]{1,2000}$", value, re.IGNORECASE):
        return None
    return RemoteFile(value)


def read_python_text(value: object, limit_bytes: int, depth: int) -> Found | None:
    """Read the text `root={'name': …}`.

    Gradio 5.50 sends a JSON component's value from its synchronous route as Python's `repr`.
    """
    if not isinstance(value, str) or not value.startswith("root=") or len(value) > 2 * limit_bytes:
        return None
    try:
        literal = ast.literal_eval(value.removeprefix("root="))
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        return None
    return read_value(literal, limit_bytes, depth + 1)


READERS: Final[tuple[Reader, ...]] = (
    read_update,
    read_file_data,
    read_samples,
    read_wrapped,
    read_rate_and_samples,
    read_list,
    read_text,
    read_html,
    read_url,
    read_python_text,
)


def _text_of(body: bytes) -> str:
    return body.decode("utf-8", "replace").strip()


def _outline(value: object) -> str:
    """Return the shape of a value for the log: names and types, but no long texts."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{str(key)[:40]}: {_kind(item)}" for key, item in list(value.items())[:20]) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_kind(item) for item in value[:20]) + "]"
    return f"{_kind(value)} {str(value)[:120]}"


def _kind(value: object) -> str:
    return f"{type(value).__name__}({len(value)})" if isinstance(value, str | list | Mapping) else type(value).__name__
