"""What an upstream's status codes and sentences mean.

Two questions, two tables: `MEANINGS` reads sentences (a Gradio app answers a refused
prompt, a used-up quota and a crash all with status 200 or 500, so only the words differ),
`_STATUSES` reads status codes. Rules are read from the top, narrow before broad; each
carries an example, which a test proves to be caught by that very rule.

Sources: ZeroGPU's sentences from the `spaces` package 0.51 (`zero/client.py`); Inference
Providers' and Endpoints' from huggingface_hub, api-inference-community 0.0.37 and
huggingface-inference-toolkit 0.5.6; Gradio's from 3.50, 4.44, 5.50 and 6.31; read 2026-08.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from app.engines.huggingface.lifting import LongText
from app.engines.huggingface.transport import Answer, decode_json
from app.errors import (
    MAX_RETRY_AFTER_S,
    EngineError,
    PromptRefused,
    UpstreamBadResponse,
    UpstreamError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from app.retry import retry_after_s

MAX_QUOTE_CHARS: Final = 300
_MAX_READ_CHARS: Final = 20_000
_MAX_LOG_CHARS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Meaning:
    """A kind of sentence that upstreams say.

    Attributes:
        name: For the log and the tests.
        pattern: Searched in the sentence, any case.
        row: The error it becomes.
        example: A sentence as some upstream words it.
        repeat: Whether a second attempt within the same request may help; None: as the row says.
    """

    name: str
    pattern: re.Pattern[str]
    row: type[EngineError]
    example: str
    repeat: bool | None = None


def _meaning(name: str, pattern: str, row: type[EngineError], example: str, *, repeat: bool | None = None) -> Meaning:
    return Meaning(name, re.compile(pattern, re.IGNORECASE), row, example, repeat)


MEANINGS: Final = (
    _meaning(
        "gpu-duration-too-long",
        r"illegal duration|requested GPU duration .{0,40}(larger|longer|greater)",
        UpstreamRejected,
        "The requested GPU duration (300s) is larger than the maximum allowed",
    ),
    _meaning(
        "quota-used-up",
        r"exceeded your .{0,60}(quota|limit|credits)|(depleted|used up) your .{0,40}credits|reached its GPU limit"
        r"|pending credits|quota exceeded",
        UpstreamUnavailable,
        "You have exceeded your free ZeroGPU quota (60s requested vs. 0s left). Try again in 1:23:45.",
        repeat=False,
    ),
    _meaning(
        "no-gpu-free",
        r"No GPU (was|is) (currently )?available|GPU queue timeout",
        UpstreamUnavailable,
        "No GPU was available after 60s",
    ),
    _meaning(
        "queue-full", r"queue is (full|stopped)", UpstreamUnavailable, "Queue is full. Max size is 1 and size is 1."
    ),
    _meaning(
        "loading",
        r"(currently|still) (loading|starting|booting)|is (loading|starting up|warming up|building|sleeping)",
        UpstreamUnavailable,
        "Model facebook/musicgen-small is currently loading",
    ),
    _meaning(
        "space-down",
        r"space is (in error|paused|stopped|asleep)|check its status on (hf\.co|huggingface)",
        UpstreamUnavailable,
        "Your space is in error, check its status on hf.co",
    ),
    _meaning(
        "busy",
        r"too many requests|rate limit|overloaded|is (too |very |currently )?busy|at capacity",
        UpstreamUnavailable,
        "The server is busy, please try again later",
    ),
    _meaning(
        "session-lost",
        r"session not found|^404: not found",
        UpstreamUnavailable,
        "404: Session not found.",
    ),
    _meaning(
        "memory-or-crash",
        r"out of memory|CUDA|cuDNN|CUBLAS|Traceback|Segmentation fault|No space left|GPU task aborted",
        UpstreamError,
        "CUDA out of memory. Tried to allocate 2.00 GiB",
    ),
    _meaning(
        "credentials",
        r"not authenticated|unauthori[sz]ed|invalid (user ?name|token|credentials|api key)|authentication method"
        r"|sufficient permissions|(expired|invalid) .{0,20}token|gated repo|access .{0,20}(denied|restricted)",
        UpstreamRejected,
        "Invalid credentials in Authorization header",
    ),
    _meaning(
        "no-such-model",
        r"not supported by provider|no longer supported|model .{0,120}(does not exist|not found|not supported)"
        r"|(no such|unknown) (model|function|endpoint)|invalid api.name",
        UpstreamRejected,
        "Model not supported by provider hf-inference",
    ),
    _meaning(
        "wrong-inputs",
        r"unexpected keyword argument|model_kwargs|didn't receive enough input|needs to provide a inputs key"
        r"|accept type .{0,60}not supported|serialization not implemented|is not JSON serializable"
        r"|field required|is not in the list of choices|is (greater|less) than (the )?(maximum|minimum)",
        UpstreamRejected,
        "TextToAudioPipeline._sanitize_parameters() got an unexpected keyword argument 'duration'",
    ),
    _meaning(
        "input-refused",
        r"\b(prompts?|inputs?|text|descriptions?|captions?|lyrics|content|request)\b.{0,80}"
        r"\b(not (be )?(acceptable|accepted|allowed|permitted|supported|valid|appropriate|used|empty)"
        r"|can(no|')t be (used|empty|blank)|is (empty|required|blank)|refused|rejected|blocked|flagged|inappropriate"
        r"|unsafe|invalid|forbidden|too (long|short)|violat\w+|nsfw|moderat\w+|exceeds?)\b"
        r"|\b(enter|provide|type|write) (a|an|some|your|another) .{0,30}\b(prompt|text|description|lyrics)\b"
        r"|\b(nsfw|moderation|content policy|copyright(ed)?)\b",
        PromptRefused,
        "The prompt is not acceptable",
    ),
)


def _meaning_of(said: str) -> Meaning | None:
    return next((each for each in MEANINGS if each.pattern.search(said)), None)


def error_from_text(text: str | None, *, title: str = "", quote: bool = True) -> EngineError:
    """Return the error that an upstream's sentence means.

    Args:
        text: The upstream's own words, or None where it gave none.
        title: The heading Gradio sent with them (ZeroGPU puts its reason there).
        quote: The words are meant for people and may be shown to the caller; otherwise
            they go to the log alone.
    """
    said = f"{title}: {text}" if title and title.lower() not in ("", "error") else text or ""
    said = said[:_MAX_READ_CHARS]
    meaning = _meaning_of(said)
    row = meaning.row if meaning else UpstreamError
    return row(
        quotable(text or "") if quote else "",
        retry_after_s=wait_in_text_s(said) if row is UpstreamUnavailable else None,
        log_text=said[:_MAX_LOG_CHARS],
        repeat=meaning.repeat if meaning else None,
    )


# What a status means when the body does not say more. Codes whose meaning the sentence may
# change (a 500 or 400 can be a refused prompt or a used-up quota) are in _WORDS_DECIDE.
_STATUSES: Final[Mapping[int, tuple[type[EngineError], str]]] = {
    400: (UpstreamError, "The engine could not do this."),
    401: (UpstreamRejected, "The engine wants credentials, or does not accept ours."),
    402: (UpstreamUnavailable, "The credits for the engine are used up."),
    403: (UpstreamRejected, "Our credentials are not sufficient for the engine."),
    404: (UpstreamRejected, "The engine knows no such address; a private Space looks the same without a valid token."),
    405: (UpstreamRejected, "The engine's address does not take requests."),
    408: (UpstreamTimeout, "The engine gave up waiting."),
    410: (UpstreamRejected, "The engine's address is no longer in use."),
    413: (UpstreamRejected, "The engine finds the request too large."),
    415: (UpstreamRejected, "The engine does not take JSON."),
    422: (UpstreamRejected, "The engine does not accept the form of our request."),
    429: (UpstreamUnavailable, "The engine allows no more requests for now."),
    500: (UpstreamError, "The engine failed."),
    502: (UpstreamUnavailable, "The engine is not running."),
    503: (UpstreamUnavailable, "The engine is asleep, starting, paused or full."),
    504: (UpstreamTimeout, "The engine's gateway gave up waiting."),
}
_WORDS_DECIDE: Final = (200, 400, 422, 500)
_REPEATED_STATUSES: Final = (408, 429, 500, 502, 503, 504)


def error_from_answer(answer: Answer) -> EngineError:
    """Return the error that a failed answer means; its body may be JSON, HTML or anything."""
    body = None if _is_html(answer) else _json_or_none(answer)
    said = sentence_in(body) if body is not None else _plain_text(answer)
    row, detail = _STATUSES.get(answer.status, (UpstreamError, f"The engine answered with status {answer.status}."))
    meaning = _meaning_of(said)
    if meaning and answer.status in _WORDS_DECIDE:
        row, detail = meaning.row, ""
    if isinstance(body, dict) and _has_validator_refusal(body):
        row = PromptRefused
    if row is PromptRefused or (answer.status == 500 and said and isinstance(body, dict)):
        detail = quotable(said) or detail
    wait_s = None
    if row is UpstreamUnavailable:
        wait_s = _first_known(retry_after_s(answer.headers), _estimated_time_s(body), wait_in_text_s(said))
    repeat = answer.status in _REPEATED_STATUSES and not (meaning and meaning.repeat is False)
    return row(
        detail,
        retry_after_s=wait_s,
        log_text=f"HTTP {answer.status}: {said or answer.body[:500].decode('utf-8', 'replace')}"[:_MAX_LOG_CHARS],
        repeat=repeat and row.repeatable,
    )


def error_in(value: object) -> EngineError | None:
    """Return the error that a JSON object announces under a good status, if it does.

    Source: the serverless API answered "currently loading" with 200 on some paths.
    """
    if not isinstance(value, dict) or not value.get("error"):
        return None
    error = error_from_text(sentence_in(value), quote=False)
    wait_s = _estimated_time_s(value)
    if wait_s is not None and not isinstance(error, PromptRefused | UpstreamRejected):
        return UpstreamUnavailable("The model is loading.", retry_after_s=wait_s, log_text=error.log_text)
    return error


def sentence_in(body: object) -> str:
    """Return what a JSON error body says, in whichever of the known places it stands.

    Known are `error` and `detail` as a string, a list or an object with `message`, `error` or
    `msg`, `message` alone, and `warnings` after `error`.
    """
    return " ".join(dict.fromkeys(part for part in _sentences(body, depth=0) if part.strip()))[:_MAX_LOG_CHARS]


def _sentences(body: object, *, depth: int) -> Iterator[str]:
    if isinstance(body, str):
        yield body
    elif isinstance(body, LongText):
        yield bytes(body.encoded[:_MAX_LOG_CHARS]).decode("utf-8", "replace")
    elif depth < 4 and isinstance(body, list):
        for item in body[:5]:
            yield from _sentences(item, depth=depth + 1)
    elif depth < 4 and isinstance(body, dict):
        for key in ("error", "detail", "message", "msg", "warnings"):
            yield from _sentences(body.get(key), depth=depth + 1)


def _has_validator_refusal(body: Mapping[str, object]) -> bool:
    """Gradio 6's `validator=` says with 422 what it does not like about an input."""
    detail = body.get("detail")
    return isinstance(detail, list) and any(
        isinstance(item, dict) and item.get("__type__") == "validate" and item.get("is_valid") is False
        for item in detail
    )


def _json_or_none(answer: Answer) -> object:
    try:
        return decode_json(answer.body)
    except UpstreamBadResponse:
        return None


def _is_html(answer: Answer) -> bool:
    return answer.media_type == "text/html" or answer.body[:200].lstrip()[:1] == b"<"


def _plain_text(answer: Answer) -> str:
    """Return what a body that is not JSON says, without markup and without a traceback's lines."""
    text = answer.body[:_MAX_READ_CHARS].decode("utf-8", "replace")
    return _without_markup(text).strip()[:_MAX_LOG_CHARS]


def _estimated_time_s(body: object) -> float | None:
    value = body.get("estimated_time") if isinstance(body, dict) else None
    if not isinstance(value, int | float) or value < 0:
        return None
    return float(min(value, MAX_RETRY_AFTER_S))  # an integer of JSON may be too large for a float


def _first_known(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


# ---------------------------------------------------------------------- waits in sentences

_CLOCK: Final = re.compile(r"(?:(-?\d{1,4}) days?,? )?(?<![\d:])(\d{1,3}):(\d\d)(?::(\d\d))?(?:\.\d+)?(?![\d:])")
_AMOUNT: Final = re.compile(
    r"(\d{1,6}(?:\.\d+)?) ?(s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)\b", re.IGNORECASE
)
_AGAIN: Final = re.compile(
    r"\b(?:(?:again|retry|wait|reset\w*|back)\b.{0,20}?\b(?:in|for|after)|available\b.{0,20}?\bin)\b", re.IGNORECASE
)
_UNIT_S: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def wait_in_text_s(text: str) -> float | None:
    """Return how many seconds a sentence asks to wait, or None.

    Understood after words such as "try again in": `1:23:45`, `0:05:00.5`, `1 day, 2:03:04`
    (Python's timedelta, which ZeroGPU prints), `5 minutes`, `1 h 30 min`. A wait that is
    negative, as timedelta prints an instant that has passed, is 0.
    """
    found = _AGAIN.search(text)
    if not found:
        return None
    rest = text[found.end() : found.end() + 60]
    if clock := _CLOCK.search(rest):
        days, first, second, third = clock.groups()
        hours_minutes_s = int(first) * 3600 + int(second) * 60 if third else int(first) * 60
        seconds_s = int(third) if third else int(second)
        return max(int(days or 0) * 86_400.0 + hours_minutes_s + seconds_s, 0.0)
    amounts = _AMOUNT.findall(rest)
    return sum(float(number) * _UNIT_S[unit[0].lower()] for number, unit in amounts) if amounts else None


# ---------------------------------------------------------------------- words for the caller

_MARKUP: Final = re.compile(
    r"<(script|style)\b.{0,5000}?</\1\s*>|<!--.{0,2000}?-->|<[a-z/!?][^<>]{0,500}>", re.IGNORECASE | re.DOTALL
)
_TAG_START: Final = re.compile(r"<(?=[a-z/!?])", re.IGNORECASE)
_PRIVATE: Final = (
    re.compile(r"Traceback \(most recent call last\).*", re.DOTALL),
    re.compile(r"\b(hf|sk|gho|ghp|glpat|api)_[A-Za-z0-9_-]{6,}|\bsk-[A-Za-z0-9_-]{6,}"),
    re.compile(r"\bBearer\s+\S+", re.IGNORECASE),
    re.compile(r"\b[a-z][a-z0-9+.-]{0,30}://[^\s/@]*@\S*", re.IGNORECASE),
    re.compile(r"(?<![\w:/])(?:~|\.{0,2})/(?:[\w.@+-]+/)+[\w.@+-]*|\b[A-Za-z]:\\\S+"),
)


def quotable(text: str) -> str:
    """Return the part of an upstream's words that may be shown to a caller.

    Markup, tokens, URLs with credentials, file paths and tracebacks are taken out; what is
    left is one line of at most 300 characters, possibly empty.
    """
    words = _without_markup(text[:_MAX_READ_CHARS])
    for private in _PRIVATE:
        words = private.sub("…", words)
    words = " ".join("".join(char if char.isprintable() else " " for char in words).split())
    words = words.strip("'\" ") if words[:1] in ("'", '"') and words[-1:] == words[:1] else words
    return words if len(words) <= MAX_QUOTE_CHARS else words[: MAX_QUOTE_CHARS - 1] + "…"


def _without_markup(text: str) -> str:
    if "<" not in text and "&" not in text:
        return text
    # Once more after the entities: `&lt;script&gt;` is markup by then. What is left of a tag that never ends, too.
    words = _MARKUP.sub(" ", html.unescape(_MARKUP.sub(" ", text)))
    return _TAG_START.sub(" ", words)
