"""What `responses` finds in an answer, and that nothing an upstream sends can do harm there."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fakes import tone
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from unit.engines.huggingface.hf_wire import FIXTURES, LIMIT_BYTES, expectations, names, recorded

from app.audio import Audio, prove
from app.engines.huggingface import responses
from app.engines.huggingface.responses import (
    MAX_DEPTH,
    MAX_ITEMS,
    READERS,
    Found,
    Reader,
    RemoteFile,
    find_audio,
    find_in_answer,
    read_python_text,
)
from app.engines.huggingface.transport import Answer
from app.engines.huggingface.upstream_errors import error_from_answer
from app.errors import EngineError, UpstreamBadResponse, UpstreamError, UpstreamUnavailable

WAV = tone(0.6, rate_hz=4_000).content
WAV_BASE64 = base64.b64encode(WAV).decode()
FILE = {"path": "/files/a.wav", "meta": {"_type": "gradio.FileData"}}


def found_in(value: object, *, limit_bytes: int = LIMIT_BYTES) -> list[Found]:
    return list(find_audio(value, limit_bytes=limit_bytes))


# ---------------------------------------------------------------------- large answers

LARGE_WAV = tone(5.0).content
LARGE_BASE64 = base64.b64encode(LARGE_WAV).decode()


@pytest.mark.parametrize(
    "text",
    [
        LARGE_BASE64,
        "data:audio/wav;base64," + LARGE_BASE64,
        "\n".join(LARGE_BASE64[at : at + 76] for at in range(0, len(LARGE_BASE64), 76)),
        f"Generated_audio_file <audio src='data:audio/wav;base64,{LARGE_BASE64}'>",
    ],
    ids=["plain", "data URL", "with line breaks", "a page that begins like base64"],
)
@pytest.mark.parametrize("wrapped", [str, lambda text: {"data": [text, 7]}], ids=["alone", "wrapped"])
def test_the_audio_in_a_long_text_is_found(text: str, wrapped: Callable[[str], object]) -> None:
    body = json.dumps(wrapped(text)).encode()

    assert list(find_in_answer(Answer(200, {}, body), limit_bytes=LIMIT_BYTES)) == [LARGE_WAV]


def test_a_long_text_that_only_seems_to_be_audio_is_refused() -> None:
    body = json.dumps({"audio": LARGE_BASE64[:-2] + "!!"}).encode()

    with pytest.raises(UpstreamBadResponse, match="not valid base64"):
        list(find_in_answer(Answer(200, {}, body), limit_bytes=LIMIT_BYTES))


# ---------------------------------------------------------------------- the folder


def test_every_file_of_the_folder_has_its_expectation_and_its_origin() -> None:
    readme = (FIXTURES / "README.md").read_text("utf-8")
    assert set(names("", but=False)) == set(expectations())
    assert set(re.findall(r"^\| `([^`]+)` \|", readme, re.MULTILINE)) == set(expectations())


@pytest.mark.parametrize("name", names(".sse", but=True))
def test_a_recorded_body_becomes_what_its_expectation_says(name: str) -> None:
    expected, answer = expectations()[name], recorded(name)
    try:
        if not answer.ok:
            raise error_from_answer(answer)
        found = list(find_in_answer(answer, limit_bytes=LIMIT_BYTES))
    except EngineError as error:
        assert_is_error(error, expected)
    else:
        assert_is_found(found, expected)


def assert_is_error(error: EngineError, expected: dict[str, Any]) -> None:
    assert type(error).__name__ == expected.get("raises"), error.log_text
    assert error.retry_after_s == expected["retry_after_s"]
    assert error.repeat is expected["repeat"]
    assert error.detail == expected.get("detail", error.detail)


def assert_is_found(found: list[Found], expected: dict[str, Any]) -> None:
    assert len(found) == len(expected.get("finds", ())), found
    for each, wanted in zip(found, expected["finds"], strict=True):
        if isinstance(each, RemoteFile):
            assert {"path": each.path, "is_stream": each.is_stream} == wanted
        elif isinstance(each, Audio):
            assert wanted == {
                "duration_s": pytest.approx(each.duration_s),
                "channels": each.channels,
                "rate_hz": each.rate_hz,
            }
        else:
            audio = prove(each)
            assert wanted == {"plays": audio.format, "duration_s": pytest.approx(audio.duration_s, abs=0.06)}


# ---------------------------------------------------------------------- shapes no software is known for


@pytest.mark.parametrize(
    "value",
    [
        {"output": {"result": {"audio_base64": WAV_BASE64}}},
        {"status": "ok", "body": f"  data:audio/x-wav;base64,{WAV_BASE64}  "},
        {"wav": WAV_BASE64.replace("+", "-").replace("/", "_").rstrip("=")},
        {"audio": "\n".join(re.findall(".{1,76}", WAV_BASE64))},
        [["a caption", None, {"seed": 3}, WAV_BASE64]],
    ],
    ids=["nested", "data URL with spaces", "URL-safe without padding", "broken lines", "after other results"],
)
def test_audio_is_found_wherever_and_however_it_is_written(value: object) -> None:
    (content,) = found_in(value)
    assert content == WAV


def test_the_best_comes_first_and_the_rest_after_it() -> None:
    other = {**FILE, "path": "/files/b.wav"}
    assert found_in([FILE, None, other]) == [RemoteFile("/files/a.wav"), RemoteFile("/files/b.wav")]


def test_a_later_item_is_not_read_before_somebody_asks_for_it() -> None:
    """A damaged second candidate must not spoil a good first one."""
    candidates = find_audio([FILE, "data:audio/wav;base64,UklGRgAAAAAAAAAAAAAAAA*"], limit_bytes=LIMIT_BYTES)
    assert next(candidates) == RemoteFile("/files/a.wav")
    with pytest.raises(UpstreamBadResponse):
        next(candidates)


@pytest.mark.parametrize(
    "value",
    [
        {"is_file": False, "name": "/a.wav", "data": None},
        {"path": ""},
        {"path": 7},
        {"__type__": "update", "audio": WAV_BASE64},
        {"audio": [], "sampling_rate": 8_000},
        {"audio": [[], []], "sampling_rate": 8_000},
        {"audio": [[[[[0.1, 0.2]]]]], "sampling_rate": 8_000},
        {"audio": [[{"a": 1}], [2]]},
        {"audio": [[0.1, {"a": 1}, 0.2]]},
        {"audio": ["a", "b"]},
        [8_000, "text"],
        [8_000, [{"a": 1}]],
        "short",
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUg==",
        "this is a sentence, and not base64 at all",
        base64.b64encode(b"just some bytes that are no audio").decode(),
        "<p>nothing to hear</p>",
        "ftp://example.invalid/a.wav",
        "abcdefghijklmnopqrstuvwxyz, and then a sentence",
        "root=",
        "root={'a': (1, 2)}",
        "root={'a': None}",
        17,
        True,
        None,
        {},
        [],
    ],
)
def test_there_is_no_audio_in(value: object) -> None:
    with pytest.raises(UpstreamBadResponse, match="no audio"):
        found_in(value)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ({"audio": [0.1, "x", 0.2]}, "not all numbers"),
        ({"audio": [[0.1, 0.2], [0.1, True, 0.2]]}, "not all numbers"),
        ({"audio": [[0.1, 0.2], "x"]}, "not all lists"),
        ({"audio": [[0.1, 0.2]], "sampling_rate": True}, "rate is not a number"),
        ({"audio": [[0.1, 0.2]], "sampling_rate": 0}, "rate is not a number"),
        ({"audio": [[0.1, 0.2]], "rate": 1e9}, "rate is not a number"),
        ({"audio": [[0.1, 0.2]], "sr": 8_000}, "0.00 s long"),
        ("data:audio/wav,RIFFAAAAAAAAAAAAAAAAAAAA", "not base64"),
        ("data:audio/wav;base64,UklGRAAAAAAAAAAAAAAA*", "not valid base64"),
        ("UklGR" + "é" * 30, None),
    ],
)
def test_damage_is_told_from_absence(value: object, complaint: str | None) -> None:
    with pytest.raises(UpstreamBadResponse, match=complaint):
        found_in(value)


def test_text_larger_than_the_limit_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(UpstreamBadResponse, match="larger than 1000 bytes"):
        found_in("A" * 2_000, limit_bytes=1_000)


def test_a_list_of_results_that_begins_like_samples_is_none() -> None:
    assert found_in({"data": [[1, 2], FILE]}) == [RemoteFile("/files/a.wav")]


def test_an_error_beside_no_audio_is_the_error() -> None:
    with pytest.raises(UpstreamUnavailable):
        found_in({"error": "Model x is currently loading"})
    with pytest.raises(UpstreamError) as failure:
        found_in({"error": "a sentence for nobody"})
    assert failure.value.detail == "", "what a plain server says under 200 is not known to be meant for people"


def test_an_error_beside_audio_does_not_hide_it() -> None:
    assert found_in({"error": "a warning", "audio": FILE}) == [RemoteFile("/files/a.wav")]


def test_two_long_columns_are_turned_and_a_few_long_rows_are_not() -> None:
    (columns,) = found_in({"audio": [[0.1, -0.1]] * 4_000, "sampling_rate": 8_000})
    (rows,) = found_in({"audio": [[0.1] * 4_000] * 2, "sampling_rate": 8_000})
    for audio in (columns, rows):
        assert isinstance(audio, Audio)
        assert (audio.channels, audio.duration_s) == (2, 0.5)


def test_the_log_gets_the_shape_of_an_answer_and_not_its_contents() -> None:
    value = {"caption": "x" * 500, "items": [1, 2, 3], "nested": {"a": 1}, "number": 3}
    with pytest.raises(UpstreamBadResponse) as failure:
        found_in(value)
    assert failure.value.log_text == "{caption: str(500), items: list(3), nested: dict(1), number: int}"
    with pytest.raises(UpstreamBadResponse) as failure:
        found_in(["y" * 500, 2])
    assert failure.value.log_text == "[str(500), int]"


# ---------------------------------------------------------------------- Python's repr


@pytest.mark.parametrize(
    "literal",
    [
        {"caption": "it's", "file": FILE},
        {"caption": 'say "hi"', "file": FILE},
        {"caption": "both ' and \"", "file": FILE},
        {"caption": "two\nlines\tand a \\", "file": FILE},
        {"caption": "None and True", "flag": True, "none": None, "nan": float("nan"), "file": FILE},
    ],
)
def test_python_text_is_read_as_python_wrote_it(literal: object) -> None:
    assert list(read_python_text(f"root={literal!r}", LIMIT_BYTES, 0)) == [RemoteFile("/files/a.wav")]


@given(st.text(max_size=60))
@settings(deadline=None, max_examples=60)
def test_python_text_is_read_or_left_alone_whatever_stands_beside_the_audio(caption: str) -> None:
    assert list(read_python_text(f"root={ {'c': caption, 'file': FILE}!r}", LIMIT_BYTES, 0)) in (
        [RemoteFile("/files/a.wav")],
        [],  # escapes that JSON does not know, such as \x00
    )


def test_thousands_of_samples_in_python_text_are_read_in_a_moment() -> None:
    """`ast.literal_eval`, the obvious reader, takes seconds for this and holds the interpreter lock for all of them."""
    text = "root=" + repr({"audio": [[0.1, -0.2, 0.3] * 50_000], "sampling_rate": 32_000})
    started_s = time.thread_time()
    (audio,) = read_python_text(text, LIMIT_BYTES, 0)
    assert time.thread_time() - started_s < 1.5
    assert isinstance(audio, Audio)


# ---------------------------------------------------------------------- safe on anything

KNOWN_KEYS = sorted(
    {*responses._WRAPPING_KEYS, *responses._SAMPLE_KEYS, *responses._RATE_KEYS}
    | {"__type__", "path", "name", "is_file", "is_stream", "error", "estimated_time", "detail"}
)
TEXTS = st.one_of(
    st.sampled_from(["update", "root=[", "root={'audio': [1]}", "<audio src=data:audio/wav;base64,UklGRg>", "UklGR"]),
    st.sampled_from([WAV_BASE64, f"data:audio/wav;base64,{WAV_BASE64}", "http://h/a.wav", "/files/a.wav", ""]),
    st.text(max_size=40),
    st.from_regex(r"\A(data:[a-z/]{0,9};base64,)?[A-Za-z0-9+/_=-]{0,60}\Z"),
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
    st.lists(st.one_of(st.none(), st.integers(-9, 9), st.floats(-1, 1)), max_size=6),
)
JSON_VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(KNOWN_KEYS), st.text(max_size=5)), inner, max_size=4),
    ),
    max_leaves=20,
)


def drain(found: Iterator[Found]) -> None:
    """Take everything; only errors of the catalogue may come instead."""
    try:
        for each in found:
            assert isinstance(each, bytes | Audio | RemoteFile)
    except EngineError:
        pass


@given(JSON_VALUES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example({"data": [[None], [FILE]]})
def test_any_json_gives_audio_or_an_error_of_the_catalogue(value: object) -> None:
    drain(find_audio(value, limit_bytes=10_000))


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
@given(value=JSON_VALUES, depth=st.integers(0, MAX_DEPTH))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_json_is_safe_for_each_reader(reader: Reader, value: object, depth: int) -> None:
    drain(reader(value, 10_000, depth))


@given(st.one_of(st.binary(max_size=300), st.text(max_size=100).map(str.encode), JSON_VALUES.map(json.dumps)))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@example(b"RIFF\x00\x00\x00\x00WAVE")
@example(b" " * 300)
@example(b"[" * 100_000)
@example(b'{"data":' * 5_000)
@example(b"9" * 10_000)
@example(b"\xff\xfe\xfd")
def test_any_body_gives_audio_or_an_error_of_the_catalogue(body: bytes | str) -> None:
    body = body.encode() if isinstance(body, str) else body
    drain(find_in_answer(Answer(200, {}, body), limit_bytes=10_000))


def nested(value: object, levels: int, wrap: Any) -> object:
    for _ in range(levels):
        value = wrap(value)
    return value


def wide(levels: int) -> object:
    """Return a tree that is larger than all that is ever looked at: every list longer than MAX_ITEMS."""
    leaf: object = {"text": "x"}
    for _ in range(levels):
        leaf = [leaf] * (MAX_ITEMS + 5)
    return leaf


@pytest.mark.parametrize(
    "value",
    [
        nested("A" * 4_000_000, 8, lambda inner: {"__type__": "update", "value": inner}),
        nested("A" * 4_000_000, 8, lambda inner: {"data": [inner]}),
        nested([None], 50, lambda inner: [inner]),
        wide(1),
        wide(4),
        {"audio": [{"audio": "x"}] * 100_000},
        dict.fromkeys(KNOWN_KEYS, "A" * 40_000),
        "<" + "src=" * 500_000,
        "<" + "src" + " " * 1_000_000,
        " " * 2_000_000,
        "data:" + "a" * 2_000_000,
        "http://" + "a" * 2_000_000,
        "root=" + "'" * 1_000_000,
        "root=" + "'\\" * 500_000,
        "root=" + "[" * 500_000,
        "root=" + "-" * 500_000,
        "root=[" + "0," * 500_000 + "0]",
    ],
    ids=lambda value: f"{type(value).__name__}",
)
def test_no_value_keeps_the_readers_busy(value: object) -> None:
    """Measured before: eight updates inside each other, 26 s; 1 MB of Python's zeros, 5 s."""
    started_s = time.thread_time()
    drain(find_audio(value, limit_bytes=32 * 2**20))
    assert time.thread_time() - started_s < 1.0


def test_what_lies_too_deep_or_too_far_is_not_looked_at() -> None:
    with pytest.raises(UpstreamBadResponse):
        found_in(nested(FILE, MAX_DEPTH + 1, lambda inner: [inner]))
    with pytest.raises(UpstreamBadResponse):
        found_in([None] * MAX_ITEMS + [FILE])
    assert found_in(nested(FILE, MAX_DEPTH, lambda inner: [inner])) == [RemoteFile("/files/a.wav")]
