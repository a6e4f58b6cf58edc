"""Readers: one small function per shape in which upstreams send audio.

Nobody agrees on how to put audio into an answer, and the URL does not tell which way it
will be. So an answer is read by its shape: the readers are tried from the top until one finds
something. An answer may hold several things that look like audio (MusicGen's Space sends a
video beside it), so all of them are yielded, best first, and the first that plays counts.

To add a shape: a `read_<shape>` function here, one line in `READERS`, and an example in
`tests/fixtures/hf/`. A reader yields nothing for "not mine", and raises only
`UpstreamBadResponse`, for "mine, but damaged". It must be fast and safe on any input.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from app.audio import MAX_CHANNELS, Audio, decode_base64, encode_samples, sniff
from app.engines.huggingface.lifting import BASE64_START, LongText, decode_lifting
from app.engines.huggingface.transport import Answer, decode_json
from app.engines.huggingface.upstream_errors import error_in
from app.errors import UpstreamBadResponse

MAX_DEPTH: Final = 8
"""How deep audio may be wrapped; real answers need five."""

MAX_ITEMS: Final = 100
"""How many items of a list are looked at."""

MAX_VALUES: Final = 5_000
"""How many things an answer may hold in the places that are looked at; real answers hold hundreds at most."""

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

Reader = Callable[[object, int, int], Iterator[Found]]
"""`(value, limit_bytes, depth)`, yielding what it finds, best first; see the module's docstring."""


def find_in_answer(answer: Answer, *, limit_bytes: int) -> Iterator[Found]:
    """Yield the audio in a successful answer, or where it is, best first.

    Args:
        answer: What the upstream sent with a 2xx status.
        limit_bytes: Largest decoded audio.
    Raises:
        EngineError: there is no audio in it; if it announces an error, that error.
    """
    body = answer.body
    start = body[:200].lstrip()[:1]
    if not start:
        raise UpstreamBadResponse("The answer is empty.")
    if sniff(body):
        yield body
        return
    if start == b"<":
        excerpt = body[:500].decode("utf-8", "replace")
        raise UpstreamBadResponse("The answer is a web page, not audio.", log_text=excerpt)
    yield from find_audio(_value_of(body), limit_bytes=limit_bytes)


def _value_of(body: bytes) -> object:
    """Return the JSON value, or the text where it is not JSON: bare base64 may begin like a number does."""
    try:
        return decode_lifting(body)
    except UpstreamBadResponse:
        return body.decode("utf-8", "replace").strip()


def find_audio(value: object, *, limit_bytes: int) -> Iterator[Found]:
    """Yield the audio in a decoded answer, or where it is, best first; raise when there is none."""
    _check_size(value)
    found_any = False
    for found in _find(value, limit_bytes, 0):
        found_any = True
        yield found
    if found_any:
        return
    raise error_in(value) or UpstreamBadResponse("There is no audio in the answer.", log_text=_outline(value))


def _check_size(value: object) -> None:
    """Raise when there is so much to look through that it would keep a core busy for a minute."""
    waiting, seen = [value], 0
    while waiting:
        each = waiting.pop()
        seen += 1
        if seen > MAX_VALUES:
            raise UpstreamBadResponse("The answer holds too many things to look for audio in.")
        if isinstance(each, Mapping):
            waiting += [each[key] for key in _WRAPPING_KEYS if key in each]
        elif isinstance(each, list):
            waiting += each[:MAX_ITEMS]


def _find(value: object, limit_bytes: int, depth: int) -> Iterator[Found]:
    """Yield what the first reader that finds anything in `value` finds."""
    if depth > MAX_DEPTH or value is None:
        return
    for reader in READERS:
        found_any = False
        for found in reader(value, limit_bytes, depth):
            found_any = True
            yield found
        if found_any:
            return


# ---------------------------------------------------------------------- objects


def read_update(value: object, limit_bytes: int, depth: int) -> Iterator[Found]:
    """Read Gradio's `gr.update(value=…)`: `{"__type__": "update", "value": …}`."""
    if not isinstance(value, Mapping) or value.get("__type__") != "update":
        return
    yield from _find(value.get("value"), limit_bytes, depth + 1)


def read_file_data(value: object, limit_bytes: int, depth: int) -> Iterator[Found]:
    """Read Gradio's file objects: `{"path": …}` of 4 and later, `{"name": …}` of 3.

    The path counts, never `url`: the server builds that from headers of the request, and
    several versions get it wrong. A 3.x object may hold the file itself in `data`.
    """
    if not isinstance(value, Mapping):
        return
    if isinstance(value.get("data"), str | LongText) and value["data"]:
        yield from read_text(value["data"], limit_bytes, depth + 1)
        return
    path = value.get("path")
    is_stream = value.get("is_stream") is True
    if path is None and (value.get("is_file") is True or is_stream):
        path = value.get("name")
    if isinstance(path, str) and path:
        yield RemoteFile(path, is_stream=is_stream)


_SAMPLE_KEYS: Final = ("audio", "generated_audio", "samples", "array", "waveform", "data")
_RATE_KEYS: Final = ("sampling_rate", "sample_rate", "samplerate", "rate", "sr")


def read_samples(value: object, _limit_bytes: int, _depth: int) -> Iterator[Found]:
    """Read raw samples: `{"audio": [[[…]]], "sampling_rate": 32000}`, as Endpoints send them.

    The nesting is batch × channel × sample, channel × sample or just samples; the first of
    a batch is taken. Two long columns (sample × channel) are turned.
    """
    if not isinstance(value, Mapping):
        return
    for key in _SAMPLE_KEYS:
        samples = value.get(key)
        if isinstance(samples, list) and (channels := _channels_of(samples)) is not None:
            rate = next((value[name] for name in _RATE_KEYS if name in value), DEFAULT_RATE_HZ)
            if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < 1e6:
                raise UpstreamBadResponse("The answer's sampling rate is not a number.")
            yield encode_samples(channels, rate_hz=int(rate))
            return


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


def _rows_or_columns(table: Sequence[object]) -> Sequence[Sequence[float | None]] | None:
    rows = [row for row in table if isinstance(row, list)]
    if len(rows) != len(table):
        if any(isinstance(row, Mapping) for row in table):
            return None  # a list of results again, of which the first is a list
        raise UpstreamBadResponse("The channels in the answer are not all lists.")
    if len(rows) > MAX_CHANNELS and all(len(row) == len(rows[0]) <= MAX_CHANNELS for row in rows):
        rows = [list(column) for column in zip(*rows, strict=True)]
    return _checked(rows)


def _checked(channels: Sequence[Sequence[object]]) -> Sequence[Sequence[float | None]] | None:
    """Return the channels, or None for lists of results, such as Gradio's `data`, that begin and end with null."""
    if all(sample is None for channel in channels for sample in channel):
        return None
    for channel in channels:
        if not all(_is_number_or_null(sample) for sample in channel):
            if any(isinstance(sample, Mapping | list) for sample in channel):
                return None
            raise UpstreamBadResponse("The samples in the answer are not all numbers.")
    return channels  # type: ignore[return-value] # just checked


def _is_number_or_null(value: object) -> bool:
    return value is None or type(value) is float or type(value) is int


_WRAPPING_KEYS: Final = (
    "audio", "generated_audio", "audio_file", "audio_base64", "audio_data", "audios", "wav", "b64", "base64", "blob",
    "bytes", "content", "file", "files", "data", "output", "outputs", "result", "results", "response", "value", "video",
    "url", "audio_url", "message", "body",
)  # fmt: skip


def read_wrapped(value: object, limit_bytes: int, depth: int) -> Iterator[Found]:
    """Read an object that holds the audio under one of the names people give it."""
    # `read_update` has looked into updates; doing so twice at every level would double the work with each.
    if isinstance(value, Mapping) and value.get("__type__") != "update":
        for key in _WRAPPING_KEYS:
            yield from _find(value.get(key), limit_bytes, depth + 1)


# ---------------------------------------------------------------------- lists


def read_rate_and_samples(value: object, limit_bytes: int, depth: int) -> Iterator[Found]:
    """Read `[32000, [0.1, …]]`, the pair that `gr.Audio` functions work with."""
    if isinstance(value, list) and len(value) == 2 and type(value[0]) is int and isinstance(value[1], list):
        yield from read_samples({"audio": value[1], "sampling_rate": value[0]}, limit_bytes, depth)


def read_list(value: object, limit_bytes: int, depth: int) -> Iterator[Found]:
    """Read the items of a list that hold audio; a damaged one does not hide those after it."""
    if not isinstance(value, list):
        return
    damaged: UpstreamBadResponse | None = None
    for item in value[:MAX_ITEMS]:
        try:
            yield from _find(item, limit_bytes, depth + 1)
        except UpstreamBadResponse as error:
            damaged = damaged or error
    if damaged:
        raise damaged


# ---------------------------------------------------------------------- text

_AUDIO_STARTS: Final = ("UklGR", "ZkxhQ", "T2dnUw", "SUQz")
"""How RIFF, fLaC, OggS and ID3 begin in base64."""


def read_text(value: object, limit_bytes: int, depth: int) -> Iterator[Found]:
    """Read base64, bare or as a data URL."""
    if not isinstance(value, str | LongText):
        return
    encoded, start = (value.encoded, value.start) if isinstance(value, LongText) else (value, value)
    if not BASE64_START.match(start):
        return
    means_audio = start[:11].lower() == "data:audio/" or start.lstrip().startswith(_AUDIO_STARTS)
    try:
        content = decode_base64(encoded, limit_bytes=limit_bytes)
    except UpstreamBadResponse:
        if isinstance(value, LongText):  # it may have escapes, or be for one of the readers below
            yield from _find(value.decoded(), limit_bytes, depth + 1)
        elif means_audio or len(encoded) > limit_bytes:
            raise
        return
    if means_audio or sniff(content):
        yield content


_DATA_URL_ATTRIBUTE: Final = re.compile(r"""src\s*=\s*["']?(data:audio/[^"'\s>]+)""", re.IGNORECASE)


def read_html(value: object, limit_bytes: int, depth: int) -> Iterator[Found]:
    """Read `<audio src="data:audio/wav;base64,…">`, as `gr.HTML` functions send it."""
    if isinstance(value, str) and "<" in value[:2_000] and (source := _DATA_URL_ATTRIBUTE.search(value)):
        yield from read_text(source[1], limit_bytes, depth)


def read_url(value: object, _limit_bytes: int, _depth: int) -> Iterator[Found]:
    """Read a URL; whether it may be fetched is for the engine to decide."""
    if isinstance(value, str) and re.match(r"https?://[^\s<>\"]{1,2000}$", value, re.IGNORECASE):
        yield RemoteFile(value)


def read_python_text(value: object, limit_bytes: int, depth: int) -> Iterator[Found]:
    """Read the text `root={'name': …}`.

    Gradio 5.50 sends a JSON component's value from its synchronous route as Python's `repr`.
    It is rewritten as JSON: `ast.literal_eval` takes ten seconds for half a minute of samples.
    """
    if not isinstance(value, str) or not value.startswith("root=") or value.count("'") > MAX_VALUES:
        return
    try:
        decoded = decode_json(_PYTHON_TOKEN.sub(_json_token, value.removeprefix("root=")))
    except UpstreamBadResponse:
        return
    _check_size(decoded)
    yield from _find(decoded, limit_bytes, depth + 1)


# A text that is never closed reaches to the end: giving it up would search it again from each of its quotes.
_PYTHON_TOKEN: Final = re.compile(
    r"""'([^'\\]*(?:\\.?[^'\\]*)*)(?:'|\Z)|"[^"\\]*(?:\\.?[^"\\]*)*(?:"|\Z)|\b(None|True|False|nan|inf)\b""", re.DOTALL
)
_JSON_WORDS: Final = {"None": "null", "True": "true", "False": "false", "nan": "null", "inf": "null"}


def _json_token(token: re.Match[str]) -> str:
    text, word = token.groups()
    if text is not None:
        return '"' + text.replace("\\'", "'").replace('"', '\\"') + '"'
    return _JSON_WORDS[word] if word else token[0]


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


def _outline(value: object) -> str:
    """Return the shape of a value for the log: names and types, but no long texts."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{str(key)[:40]}: {_kind(item)}" for key, item in list(value.items())[:20]) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_kind(item) for item in value[:20]) + "]"
    return f"{_kind(value)} {str(value)[:120]}"


def _kind(value: object) -> str:
    return f"{type(value).__name__}({len(value)})" if isinstance(value, str | list | Mapping) else type(value).__name__
