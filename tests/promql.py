"""Which metrics and labels a PromQL expression names. It knows as much of the language as our documents use."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

TARGET_LABELS = frozenset({"instance", "job"})
"""What Prometheus adds to every series."""

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
_SPAN = re.compile(r"\[[^\]]*\]")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)")
_KEYWORDS = frozenset({"and", "or", "unless", "offset", "bool", "group_left", "group_right"})
_SELECTOR = re.compile(r"(?<![\w$.])([a-zA-Z_:][\w:]*)\s*(?:\{([^}]*)\})?(?!\s*\(|[\w:])")
_MATCHER = re.compile(r"([a-zA-Z_]\w*)\s*(?:=~|!~|!=|=)")
_AGGREGATION = re.compile(r"\b(?:sum|min|max|avg|count)\s+by\s*\(([^)]*)\)\s*\(")


@dataclass(frozen=True, slots=True)
class Named:
    """A metric, and what is asked of it.

    Attributes:
        metric: Name of the series, with its suffix.
        labels: Names of the labels that it is selected or grouped by.
    """

    metric: str
    labels: frozenset[str]


def named(expression: str) -> list[Named]:
    """Return the metrics of the expression, in order."""
    bare = _SPAN.sub("", _TEXT.sub('""', expression))
    found = [Named(metric, labels) for metric, labels in _selected(bare)]
    for start, groups in _aggregations(bare):
        inside = {metric for metric, _ in _selected(_argument(bare, start))}
        found += [Named(metric, groups) for metric in sorted(inside)]
    return found


def _selected(bare: str) -> Iterator[tuple[str, frozenset[str]]]:
    for found in _SELECTOR.finditer(_GROUPING.sub("", bare)):
        if found[1] not in _KEYWORDS and not re.fullmatch(r"\d.*|[smhdwy]|Inf|NaN", found[1]):
            yield found[1], frozenset(_MATCHER.findall(found[2] or ""))


def _aggregations(bare: str) -> Iterator[tuple[int, frozenset[str]]]:
    for found in _AGGREGATION.finditer(bare):
        yield found.end(), frozenset(each.strip() for each in found[1].split(",") if each.strip())


def _argument(bare: str, start: int) -> str:
    """Return what stands between the parenthesis that ends before `start` and the one that closes it."""
    depth = 1
    for at in range(start, len(bare)):
        depth += {"(": 1, ")": -1}.get(bare[at], 0)
        if depth == 0:
            return bare[start:at]
    raise ValueError(f"a parenthesis is not closed: {bare}")


def mistakes(expression: str, known: Mapping[str, frozenset[str]]) -> list[str]:
    """Return what the expression names that does not exist.

    Args:
        expression: PromQL.
        known: The labels of each metric, by the name of its series.
    """
    found = named(expression)
    if not found:
        return [f"names no metric: {expression}"]
    return [
        f"{each.metric} does not exist" if each.metric not in known else f"{each.metric} has no label {label}"
        for each in found
        for label in sorted(each.labels - TARGET_LABELS - known.get(each.metric, frozenset())) or [""]
        if each.metric not in known or label
    ]
