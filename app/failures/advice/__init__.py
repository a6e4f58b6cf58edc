"""From a kind of failure to advice for this case: with its own values, names, waits and sizes.

`facts` holds what a message may tell and the advice that follows from it, `waits` how long to wait, `settings` what the
configuration tells. Their advice comes first; then that which goes with the kind (`general`), as far as it fits and
says something else.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final

from app.failures.advice import amounts
from app.failures.advice.fact import from_message
from app.failures.advice.facts import FACTS
from app.failures.advice.general import from_kind
from app.failures.advice.hint import Hint
from app.failures.advice.settings import from_config
from app.failures.advice.waits import LIMITED, REPLACES, WAITS, from_headers
from app.failures.report import Line, Report
from app.failures.text import printable
from app.failures.types import FailureType

_MOST: Final = 6
_TOO_SLOW: Final = frozenset({"read_timeout", "gateway_timeout", "worker_timeout"})


def advise(kind: FailureType, report: Report, decisive: Line | None) -> tuple[str, ...]:
    """Return what helps, the likeliest first.

    Args:
        kind: What went wrong.
        report: All that is known.
        decisive: The line that decided on the kind, or None.
    """
    hints = [*_specific(kind, report, decisive), *map(Hint, from_kind(kind, report))]
    hints.sort(key=lambda hint: hint.late)
    told = (
        hint.text
        for hint in hints
        if not any(hint.text.startswith(other.replaces) for other in hints if other is not hint and other.replaces)
    )
    return tuple(islice(dict.fromkeys(map(printable, told)), _MOST))


def _specific(kind: FailureType, report: Report, decisive: Line | None) -> Iterator[Hint]:
    settings = from_config(kind.name, report)
    waits = list(islice(_waits(kind, report, decisive), 1))
    if not waits and kind.name == "model_loading":
        waits = [Hint("Wait until the model has loaded, then retry", REPLACES)]
    yield from (*waits, *settings) if kind.name in LIMITED else (*settings, *waits)
    yield from from_message(FACTS, kind, report, decisive)
    elapsed_s = report.evidence.elapsed_s or 0.0
    if kind.name in _TOO_SLOW and 1 <= elapsed_s <= amounts.MAX_WAIT_S:
        yield Hint(f"Allow for more time, or ask for less work per request: it failed after {amounts.spoken(round(elapsed_s))}", ("Ask for less work",))  # fmt: skip


def _waits(kind: FailureType, report: Report, decisive: Line | None) -> Iterator[Hint]:
    yield from from_headers(kind, report.evidence.headers or {})
    yield from from_message(WAITS, kind, report, decisive)
