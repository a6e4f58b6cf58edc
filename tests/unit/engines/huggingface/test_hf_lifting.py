"""Long texts of JSON answers stay where they lie, and the value is the one that JSON says."""

from __future__ import annotations

import json
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.engines.huggingface import lifting
from app.engines.huggingface.lifting import LONG_FROM_BYTES, LongText, decode_lifting
from app.engines.huggingface.transport import decode_json
from app.errors import UpstreamBadResponse

LONG: Final = "UklGRq" + "A" * LONG_FROM_BYTES


def as_json_says(value: object) -> object:
    """Return the value with its long text, if it has one, as plain text."""
    if isinstance(value, LongText):
        return value.decoded()
    if isinstance(value, dict):
        return {key: as_json_says(each) for key, each in value.items()}
    if isinstance(value, list):
        return [as_json_says(each) for each in value]
    return value


def long_texts(value: object) -> int:
    """Return how many texts of the value were left where they lie."""
    if isinstance(value, dict | list):
        return sum(map(long_texts, value.values() if isinstance(value, dict) else value))
    return isinstance(value, LongText)


@pytest.mark.parametrize(
    "value",
    [
        LONG,
        {"audio": LONG},
        [[{"generated_audio": LONG, "sampling_rate": 32_000}]],
        {"error": None, "data": ["a", 1, {"b": [LONG, None]}, "c"]},
        {"audio": "data:audio/wav;base64," + LONG},
        {"first": LONG, "second": LONG},
        {"audio": LONG + "\n" + LONG},
        {"audio": LONG + "é"},
    ],
)
def test_a_long_text_stays_where_it_lies(value: object) -> None:
    body = json.dumps(value, indent=1).encode()

    decoded = decode_lifting(body)

    assert as_json_says(decoded) == value
    assert long_texts(decoded) == 1


def test_the_text_is_not_copied() -> None:
    body = json.dumps({"audio": LONG}).encode()

    decoded = decode_lifting(body)

    assert isinstance(decoded, dict)
    text = decoded["audio"]
    assert isinstance(text, LongText)
    assert text.encoded.obj is body
    assert text.start == LONG[:200]


@pytest.mark.parametrize(
    "value",
    [
        {"audio": LONG[:-10]},
        {LONG: "a name is not a value"},
        {"text": "<html>" + LONG},
        {"a": 'with "quotes" in it', "b": LONG + '"'},
        {"numbers": [0.5] * 20_000, "audio": LONG},
    ],
    ids=["short", "name", "a page", "quotes", "too much beside it"],
)
def test_what_is_in_doubt_is_decoded_as_ever(value: object) -> None:
    decoded = decode_lifting(json.dumps(value).encode())

    assert decoded == value


@pytest.mark.parametrize(
    "body",
    [
        b'{"a\\"b": [' + b"1," * LONG_FROM_BYTES + b'1], "c": "d"}',
        b'{"audio": "UklGRq' + b"A" * LONG_FROM_BYTES,
        b'{"audio": "' + LONG.encode() + b'" "b": 1}',
        b'"' + LONG.encode() + b'""',
        b"\xff" + json.dumps(LONG).encode(),
        b'["' + LONG.encode() + b'"' + b"]" * 10_000,
        b"[" * 10_000 + json.dumps(LONG).encode() + b"]" * 10_000,
    ],
)
def test_what_json_refuses_is_refused(body: bytes) -> None:
    try:
        expected = decode_json(body)
    except UpstreamBadResponse:
        with pytest.raises(UpstreamBadResponse):
            decode_lifting(body)
    else:
        assert as_json_says(decode_lifting(body)) == expected


LONG_TEXTS: Final = st.builds(
    lambda start, filling, end: start + filling * (LONG_FROM_BYTES // len(filling) + 1) + end,
    st.sampled_from(["", "UklGR", "data:audio/wav;base64,", '"', "\\", "\\\\", "é", "\0"]),
    st.sampled_from(["A", "AAAA", '","', "\\", ": [1, 2], ", "\n", "B/+"]),
    st.sampled_from(["", "=", '"', "\\", "\\\\", '\\"', "é"]),
)
VALUES: Final = st.recursive(
    st.none() | st.integers(-9, 9) | st.text(max_size=8) | st.sampled_from(['"', "\\"]) | LONG_TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | LONG_TEXTS, inner, max_size=3),
    max_leaves=6,
)


@given(value=VALUES, is_ascii=st.booleans(), indent=st.sampled_from([None, 1]))
@example(value={'"': LONG}, is_ascii=True, indent=None)
@example(value={"a": "\\", "b": LONG}, is_ascii=True, indent=None)
@example(value={LONG: 1, "x": LONG}, is_ascii=True, indent=None)
def test_the_value_is_the_one_that_json_says(value: object, is_ascii: bool, indent: int | None) -> None:
    body = json.dumps(value, ensure_ascii=is_ascii, indent=indent).encode()

    assert as_json_says(decode_lifting(body)) == value


@given(
    pieces=st.lists(
        st.sampled_from([b'"', b"\\", b"{", b"}", b"[", b"]", b":", b",", b"1", b" ", b"\xc3", LONG.encode()]),
        max_size=12,
    )
)
def test_of_any_bytes_it_says_what_json_says(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    try:
        expected = decode_json(body)
    except UpstreamBadResponse:
        with pytest.raises(UpstreamBadResponse):
            decode_lifting(body)
    else:
        assert as_json_says(decode_lifting(body)) == expected


def test_nobody_can_prepare_a_gap() -> None:
    """A name in place of a text, and a gap already there, would together look like one gap."""
    gap = lifting._GAP

    assert len(gap) > 32
    assert decode_lifting(json.dumps({LONG: 1, "x": "\0lifted"}).encode()) == {LONG: 1, "x": "\0lifted"}
