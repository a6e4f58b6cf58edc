"""How long to wait: an answer says it in a header, in its body, or in a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Final

from app.failures.advice import amounts
from app.failures.advice.amounts import DURATION
from app.failures.advice.fact import Fact
from app.failures.advice.hint import Hint
from app.failures.types import FailureType

LIMITED: Final = ("rate_limited", "gpu_quota_exceeded", "queue_full", "model_loading")
"""Kinds that time alone mends, so that waiting is the best advice."""

_NUMBER: Final = r"(?P<seconds>\d{1,9}(?:\.\d{1,20})?)"
_END: Final = r"(?![\w.:]?\d)"
REPLACES: Final = (
    "Honour Retry-After",
    "Wait until the time",
    "Wait estimated_time",
    "Retry later with backoff",
    "Retry with backoff",
    "Retry after a short wait",
)
"""Beginnings of the advice to wait that does not say how long."""


def _wait(groups: Mapping[str, str]) -> str | None:
    if "seconds" in groups:
        wait_s = float(groups["seconds"]) / (1_000 if groups.get("ms") else 1)
    else:
        wait_s = amounts.seconds(groups["wait"])
    said = amounts.wait(wait_s)
    return said and f"Wait {said}, then retry"


WAITS: Final = (
    Fact(
        LIMITED,
        (
            r"(?i:\b(?<!will )(?:try(?:ing)? again|retry(?: again)?|resets?|please wait|wait|back|ready|available(?= in)) (?:in |after |for |at least |another |about ){0,3}[~≈]?(?P<wait>" + DURATION + "))",
            r"(?i:\bretry[_-]?(?:after|delay)(?:_seconds|_secs|_s|-seconds)?[\"']?[:=\s]{1,3}[\"']?(?P<wait>" + DURATION + "))",
            r"(?i:\bretry[_-]?after(?:(?P<ms>_ms|-ms|Ms)|_seconds|_secs|_s)?[\"']?[:=\s]{1,3}[\"']?" + _NUMBER + ")" + _END,
            r"(?i:\bratelimit-reset(?:-\w{1,12})?[\"']?[:=\s]{1,3}[\"']?(?P<wait>" + DURATION + "))",
            r"(?P<wait>(?i:" + DURATION + r"))(?:钟)?(?:之后|后|以后|内)?(?:再|重)试",
        ),
        _wait,
        REPLACES,
    ),
    Fact(
        ("model_loading",),
        (r"(?i:estimated_time)[\"']?[:=\s]{1,3}" + _NUMBER + _END,),
        lambda groups: (said := amounts.wait(float(groups["seconds"]))) and f"Wait {said} (the estimate of the upstream), then retry",
        REPLACES,
    ),
)  # fmt: skip


def from_headers(kind: FailureType, headers: Mapping[str, str]) -> Iterator[Hint]:
    """Yield the wait that the answer's `Retry-After` asks for, where waiting is sensible."""
    small = {name.lower(): value.strip() for name, value in headers.items()}
    asked = small.get("retry-after", "")
    if not asked or not (kind.retryable or kind.name in LIMITED):
        return
    seconds = amounts.positive(asked)
    if seconds is not None:
        until = amounts.wait(seconds)
    elif (then := _date(asked)) is None:
        return
    elif (now := _date(small.get("date", ""))) is not None:
        until = amounts.wait((then - now).total_seconds())
    else:
        until = f"until {then:%Y-%m-%d %H:%M:%S} UTC"
    if until:
        yield Hint(f"Wait {until} (Retry-After), then retry", (*REPLACES, "Wait "))


def _date(text: str) -> datetime | None:
    # Imported here: with it come sockets and calendars, half of what importing the analyser takes.
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(text[:40])
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
