"""What upstreams' statuses and sentences mean, and what of their words a caller gets to read."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from unit.engines.huggingface.hf_wire import structure

from app.engines.huggingface import upstream_errors
from app.engines.huggingface.transport import Answer
from app.engines.huggingface.upstream_errors import (
    MAX_QUOTE_CHARS,
    MEANINGS,
    Meaning,
    error_from_answer,
    error_from_text,
    error_in,
    quotable,
    sentence_in,
    wait_in_text_s,
)
from app.errors import (
    EngineError,
    PromptRefused,
    UpstreamBadResponse,
    UpstreamError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)


def answer(status: int, body: bytes | str = b"", **headers: str) -> Answer:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, names, body.encode() if isinstance(body, str) else body)


# ---------------------------------------------------------------------- sentences


@pytest.mark.parametrize("meaning", MEANINGS, ids=lambda meaning: meaning.name)
def test_each_rule_wins_on_its_own_example(meaning: Meaning) -> None:
    winner = next(each for each in MEANINGS if each.pattern.search(meaning.example))
    assert winner.name == meaning.name
    error = error_from_text(meaning.example)
    assert type(error) is meaning.row
    assert error.repeat is (meaning.row.repeatable if meaning.repeat is None else meaning.repeat)


def test_rules_have_names_of_their_own() -> None:
    assert len({meaning.name for meaning in MEANINGS}) == len(MEANINGS)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", meaning.name) for meaning in MEANINGS)


@pytest.mark.parametrize(
    ("said", "row"),
    [
        ("The prompt is not acceptable", PromptRefused),
        ("'The prompt is not acceptable'", PromptRefused),
        ("prompt too long", PromptRefused),
        ("Please enter a prompt", PromptRefused),
        ("Please provide a text description.", PromptRefused),
        ("Your prompt contains NSFW content", PromptRefused),
        ("The input text exceeds 512 characters", PromptRefused),
        ("Text can't be empty", PromptRefused),
        ("This request was flagged by our moderation system", PromptRefused),
        ("Lyrics cannot be blank", PromptRefused),
        ("Your description violates the content policy", PromptRefused),
        ("CUDA out of memory. Tried to allocate 2.00 GiB", UpstreamError),
        ("RuntimeError: CUDA error: device-side assert triggered", UpstreamError),
        ("No space left on device", UpstreamError),
        ("failed in the middle", UpstreamError),
        ("list index out of range", UpstreamError),
        ("unknown error", UpstreamError),
        ("", UpstreamError),
        ("You have exceeded your ZeroGPU runs limit. ", UpstreamUnavailable),
        ("You have exceeded your GPU quota (60s requested vs. 56s left).", UpstreamUnavailable),
        ("Space app has reached its GPU limit. Try again later", UpstreamUnavailable),
        ("You have depleted your monthly included credits for Inference Providers.", UpstreamUnavailable),
        ("Queue is stopped.", UpstreamUnavailable),
        ("Model facebook/musicgen-small is currently loading", UpstreamUnavailable),
        ("This Space is sleeping", UpstreamUnavailable),
        ("Too many requests", UpstreamUnavailable),
        ("Not authenticated", UpstreamRejected),
        ("Incorrect credentials: Invalid token", UpstreamRejected),
        ("Expired ZeroGPU proxy token", UpstreamRejected),
        ("Cannot access gated repo for url", UpstreamRejected),
        ("Model facebook/musicgen-nope does not exist", UpstreamRejected),
        ("Value 9999 is greater than maximum value 30.", UpstreamRejected),
        ("Value: 'x' (type: <class 'str'>) is not in the list of choices: ['a']", UpstreamRejected),
        ("An event handler (predict) didn't receive enough input values (needed: 2, got: 1)", UpstreamRejected),
        ("The following `model_kwargs` are not used by the model: ['duration']", UpstreamRejected),
    ],
)
def test_sentences_mean_what_a_person_would_take_them_for(said: str, row: type[EngineError]) -> None:
    error = error_from_text(said)
    assert type(error) is row, said


@pytest.mark.parametrize("title", ["", "Error", "error"])
def test_an_empty_heading_says_nothing(title: str) -> None:
    assert error_from_text("boom", title=title).log_text == "boom"


def test_zerogpus_heading_tells_what_its_sentence_does_not() -> None:
    error = error_from_text("No more for today. Try again in 0:10:00", title="ZeroGPU quota exceeded")
    assert isinstance(error, UpstreamUnavailable)
    assert (error.retry_after_s, error.repeat) == (600.0, False)
    assert error.log_text.startswith("ZeroGPU quota exceeded: ")
    assert "ZeroGPU quota" not in error.detail


def test_no_words_at_all_are_an_error_without_words() -> None:
    error = error_from_text(None)
    assert type(error) is UpstreamError
    assert (error.detail, error.log_text) == ("", "")


def test_words_that_are_not_for_people_go_to_the_log_alone() -> None:
    error = error_from_text("KeyError: 'x'", quote=False)
    assert (error.detail, error.log_text) == ("", "KeyError: 'x'")


# ---------------------------------------------------------------------- statuses


@pytest.mark.parametrize(
    ("status", "row", "repeat"),
    [
        (400, UpstreamError, False),
        (401, UpstreamRejected, False),
        (402, UpstreamUnavailable, False),
        (403, UpstreamRejected, False),
        (404, UpstreamRejected, False),
        (405, UpstreamRejected, False),
        (408, UpstreamTimeout, True),
        (410, UpstreamRejected, False),
        (413, UpstreamRejected, False),
        (415, UpstreamRejected, False),
        (422, UpstreamRejected, False),
        (429, UpstreamUnavailable, True),
        (500, UpstreamError, True),
        (502, UpstreamUnavailable, True),
        (503, UpstreamUnavailable, True),
        (504, UpstreamTimeout, True),
        (304, UpstreamError, False),
        (418, UpstreamError, False),
        (451, UpstreamError, False),
        (501, UpstreamError, False),
        (599, UpstreamError, False),
    ],
)
@pytest.mark.parametrize("body", [b"", b"<html><h1>Oops</h1></html>", b'{"error": null}', b"\xff\x00", b"[]"])
def test_a_status_alone_says_what_to_do(status: int, row: type[EngineError], repeat: bool, body: bytes) -> None:
    error = error_from_answer(answer(status, body))
    assert (type(error), error.repeat) == (row, repeat)
    assert error.detail.endswith((".", str(status)))
    assert f"HTTP {status}" in error.log_text


def test_words_overrule_only_the_statuses_that_mean_anything() -> None:
    refusal = '{"error": "The prompt is not acceptable"}'
    assert isinstance(error_from_answer(answer(500, refusal)), PromptRefused)
    assert isinstance(error_from_answer(answer(400, refusal)), PromptRefused)
    assert isinstance(error_from_answer(answer(401, refusal)), UpstreamRejected)
    assert isinstance(error_from_answer(answer(503, refusal)), UpstreamUnavailable)


def test_a_used_up_quota_is_not_asked_again_whatever_its_status() -> None:
    for status in (429, 500, 503):
        error = error_from_answer(answer(status, '{"error": "You have exceeded your GPU quota. Try again in 0:01:00"}'))
        assert (type(error), error.repeat, error.retry_after_s) == (UpstreamUnavailable, False, 60.0)


@pytest.mark.parametrize(
    ("headers", "body", "wait_s"),
    [
        ({"Retry_After": "12"}, "{}", 12.0),
        ({"Retry_After": "12"}, '{"estimated_time": 3}', 12.0),
        ({"RateLimit": '"api";r=0;t=55'}, "{}", 55.0),
        ({"RateLimit": '"api";r=3;t=55'}, "{}", None),
        ({}, '{"estimated_time": 3.5}', 3.5),
        ({}, '{"estimated_time": -1}', None),
        ({}, '{"estimated_time": "20"}', None),
        ({}, '{"error": "Try again in 45 seconds"}', 45.0),
        ({}, '{"estimated_time": 1e9}', 86_400.0),
        ({}, "{}", None),
    ],
)
def test_the_wait_is_taken_from_the_best_place_that_names_one(
    headers: dict[str, str], body: str, wait_s: float | None
) -> None:
    assert error_from_answer(answer(503, body, **headers)).retry_after_s == wait_s


def test_a_wait_is_told_only_where_waiting_helps() -> None:
    assert error_from_answer(answer(401, "{}", Retry_After="12")).retry_after_s is None


def test_html_is_known_by_its_type_or_its_first_character() -> None:
    page = "<html><script>var a = 'secret'</script><h1>Sleeping</h1>\n</html>"
    for each in (answer(503, page), answer(503, page, Content_Type="text/html; charset=utf-8")):
        assert error_from_answer(each).log_text == "HTTP 503: Sleeping"


def test_a_500_with_a_text_for_people_is_quoted_and_a_traceback_is_not() -> None:
    assert (
        error_from_answer(answer(500, '{"error": "Please turn it off and on"}')).detail == "Please turn it off and on"
    )
    trace = "Traceback (most recent call last):\n  File x\nValueError: secret"
    assert "secret" not in error_from_answer(answer(500, trace)).detail


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": "a"}, "a"),
        ({"error": ["a", "b"]}, "a b"),
        ({"error": {"message": "a", "type": "b"}}, "a"),
        ({"detail": "a"}, "a"),
        ({"detail": {"error": "a", "auth_message": None}}, "a"),
        ({"detail": [{"loc": ["body"], "msg": "a"}, {"msg": "b"}]}, "a b"),
        ({"error": "a", "warnings": ["b", "a"]}, "a b"),
        ({"message": "a"}, "a"),
        ("a", "a"),
        (["a"], "a"),
        ({"error": {"error": {"error": {"error": {"error": "too deep"}}}}}, ""),
        ({"title": "a"}, ""),
        ({"error": None}, ""),
        ({"error": 7}, ""),
        (None, ""),
        ({"error": "x" * 5_000}, "x" * 2_000),
    ],
)
def test_the_sentence_is_found_wherever_it_stands(body: object, said: str) -> None:
    assert sentence_in(body) == said


@pytest.mark.parametrize("value", [None, [], "error", {}, {"error": None}, {"error": ""}, {"audio": "x"}])
def test_no_error_is_announced_in(value: object) -> None:
    assert error_in(value) is None


def test_an_estimated_time_means_that_the_model_is_loading() -> None:
    error = error_in({"error": "Please hold", "estimated_time": 20})
    assert isinstance(error, UpstreamUnavailable)
    assert error.retry_after_s == 20.0
    assert isinstance(error_in({"error": "The prompt is not acceptable", "estimated_time": 20}), PromptRefused)


# ---------------------------------------------------------------------- waits in sentences


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [
        ("Try again in 1:23:45.", 5_025.0),
        ("Try again in 1:23:45. Subscribe to PRO in 2:00:00", 5_025.0),
        ("Try again in 0:05:00.5", 300.0),
        ("Try again in 05:30", 330.0),
        ("Try again in 1 day, 2:03:04", 93_784.0),
        ("Try again in 2 days, 0:00:01", 172_801.0),
        ("Try again in -1 day, 23:59:59", 0.0),
        ("please try again in 45 seconds", 45.0),
        ("Please wait for 5 minutes", 300.0),
        ("retry after 1 h 30 min", 5_400.0),
        ("Retry in 20s", 20.0),
        ("available in 1.5 hours", 5_400.0),
        ("quota resets in 2 days", 172_800.0),
        ("We are back in 10 mins", 600.0),
        ("TRY AGAIN IN 3 MIN", 180.0),
        ("wait a little and come back in 1:00", 60.0),
        ("Try again in a moment", None),
        ("Try again later", None),
        ("60s requested vs. 0s left", None),
        ("It took 1:23:45", None),
        ("No GPU was available after 60s", None),
        ("Try again in 1:2:3:4:5", None),
        ("", None),
    ],
)
def test_a_wait_is_read_as_people_and_python_write_it(text: str, wait_s: float | None) -> None:
    assert wait_in_text_s(text) == wait_s


@given(st.text(max_size=80).map(lambda rest: "try again in " + rest))
@example("try again in 999999 days 999999 days")
@settings(deadline=None, max_examples=80)
def test_any_sentence_gives_a_wait_or_none(text: str) -> None:
    wait_s = wait_in_text_s(text)
    assert wait_s is None or wait_s >= 0


# ---------------------------------------------------------------------- words for the caller


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("'The prompt is not acceptable'", "The prompt is not acceptable"),
        ('"quoted"', "quoted"),
        ("it's fine", "it's fine"),
        ("line one\n  line two\ttab", "line one line two tab"),
        ("bell\x07 and bidi \u202e override", "bell and bidi override"),
        ("<b>bold</b> text", "bold text"),
        ('Subscribe <a href="https://example.com/?x=1">here</a>', "Subscribe here"),
        ("<script>alert(1)</script>done", "done"),
        ("a<!-- hidden -->b", "a b"),
        ("&lt;script&gt;alert(1)&lt;/script&gt; tail", "tail"),
        ("<script", "script"),
        ("Tom &amp; Jerry", "Tom & Jerry"),
        ("a < b and c > d", "a < b and c > d"),
        ("token hf_abcdefGHIJ123 leaked", "token … leaked"),
        ("key sk-abcdef123456 leaked", "key … leaked"),
        ("Authorization: Bearer abc.def.ghi", "Authorization: …"),
        ("at https://user:secret@host/x now", "at … now"),
        ("see https://example.com/help", "see https://example.com/help"),
        ("File /home/user/app/main.py failed", "File … failed"),
        ("in C:\\Users\\me\\app.py here", "in … here"),
        ("either/or", "either/or"),
        ("Oops Traceback (most recent call last):\n File x\nKeyError", "Oops …"),
        ("", ""),
    ],
)
def test_a_quotation_leaves_out_what_is_not_for_callers(text: str, quoted: str) -> None:
    assert quotable(text) == quoted


def test_a_long_sentence_ends_in_an_ellipsis() -> None:
    assert quotable("x" * 300) == "x" * 300
    assert quotable("x" * 301) == "x" * 299 + "…"


TOKEN = "hf_PlantedSecret0123456789"
PLANTED = st.sampled_from(
    [
        TOKEN,
        f"Bearer {TOKEN}",
        f"https://me:{TOKEN}@host.example/",
        "<script",
        "<SCRIPT>x</SCRIPT>",
        "&lt;script&gt;",
        "<scr<script>ipt>",
        "<script <script",
        "/srv/secret-place/of/ours.py",
    ]
)


@given(st.lists(st.one_of(st.text(max_size=30), PLANTED), max_size=30), st.sampled_from([" ", "\n", ": ", ", "]))
@settings(deadline=None, max_examples=120)
def test_no_quotation_is_long_or_holds_what_was_planted(parts: list[str], separator: str) -> None:
    quoted = quotable(separator.join(parts))
    assert len(quoted) <= MAX_QUOTE_CHARS
    assert quoted.isprintable()
    assert "PlantedSecret" not in quoted
    assert "<script" not in quoted.lower()
    assert "secret-place" not in quoted


# ---------------------------------------------------------------------- time

SENTENCES = [
    "a",
    "\n",
    "prompt ",
    "text is ",
    "model ",
    "access ",
    "exceeded your ",
    "requested GPU duration ",
    "enter a ",
]
MARKS = [
    *("a", "<", "<script ", "<!--", "</script", "a.", "a:", "x://", "/a", "-/", "1:", "1 ", "1 day ", "12:34:"),
    *("again in ", "wait ", "Bearer ", "hf_", "\n", "C:\\", "traceback "),
]
PATTERNS = [
    *((name, value) for name, value in vars(upstream_errors).items() if isinstance(value, re.Pattern)),
    *((f"_PRIVATE[{index}]", value) for index, value in enumerate(upstream_errors._PRIVATE)),
]


@pytest.mark.parametrize("meaning", MEANINGS, ids=lambda meaning: meaning.name)
def test_no_rule_is_slow_on_texts_made_to_be(meaning: Meaning) -> None:
    for unit in SENTENCES:
        text = (unit * 100_000)[:100_000]
        started_s = time.thread_time()
        meaning.pattern.search(text)
        assert time.thread_time() - started_s < 0.5, unit


@pytest.mark.parametrize(("name", "pattern"), PATTERNS, ids=[name for name, _ in PATTERNS])
def test_no_pattern_is_slow_on_texts_made_to_be(name: str, pattern: re.Pattern[str]) -> None:
    # Markup is only ever looked for in the part of a text that is read.
    size = upstream_errors._MAX_READ_CHARS if name == "_MARKUP" else 100_000
    for unit in MARKS:
        text = (unit * size)[:size]
        started_s = time.thread_time()
        pattern.sub("", text)
        assert time.thread_time() - started_s < 0.5, unit


@pytest.mark.parametrize("read", [quotable, error_from_text, wait_in_text_s], ids=lambda read: read.__name__)
def test_megabytes_of_words_are_read_in_a_moment(read: Callable[[str], object]) -> None:
    """A Space may send 64 MB as its error's text."""
    for unit in ("prompt ", "<script", "a.", "again in 1 "):
        text = unit * (2_000_000 // len(unit))
        started_s = time.thread_time()
        read(text)
        assert time.thread_time() - started_s < 1.5, unit


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["error", "detail", "message", "msg", "warnings", "estimated_time", "__type__", "is_valid"]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


@given(status=st.integers(200, 599), body=st.one_of(st.binary(max_size=60), JSON), page=st.booleans())
@example(503, {"estimated_time": 10**400}, False)
@settings(deadline=None, max_examples=80)
def test_any_answer_means_some_error(status: int, body: object, page: bool) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    error = error_from_answer(answer(status, content, **({"Content_Type": "text/html"} if page else {})))
    assert isinstance(error, EngineError)
    assert len(error.detail) <= MAX_QUOTE_CHARS


@given(JSON.filter(lambda value: not isinstance(value, int) or abs(value) < 2**63))
@settings(deadline=None, max_examples=60)
def test_any_value_announces_an_error_or_none(value: object) -> None:
    try:
        decoded = structure(value)
    except (OverflowError, ValueError):
        return
    error = error_in(decoded)
    assert error is None or isinstance(error, EngineError)
    assert not isinstance(error, UpstreamBadResponse)
