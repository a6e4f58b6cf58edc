"""The reader of PromQL that other tests rest on finds what is there, and sees what is not."""

from __future__ import annotations

import pytest
from promql import Named, mistakes, named

KNOWN = {"a_total": frozenset({"x", "y"}), "b_bucket": frozenset({"x", "le"}), "up": frozenset[str]()}


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("up", [Named("up", frozenset())]),
        ('up{job="studio"} == 0', [Named("up", frozenset({"job"}))]),
        ('rate(a_total{x=~"y(z|w)",y!=""}[5m]) > 0.5', [Named("a_total", frozenset({"x", "y"}))]),
        ("a_total offset 10m or vector(0)", [Named("a_total", frozenset())]),
        ("1 - min(up) * 1e3", [Named("up", frozenset())]),
        (
            "histogram_quantile(0.99, sum by (le, x) (rate(b_bucket[$__rate_interval])))",
            [Named("b_bucket", frozenset()), Named("b_bucket", frozenset({"le", "x"}))],
        ),
        (
            "sum by (x) (a_total) / sum by (y) (rate(b_bucket[5m]) + up)",
            [
                *(Named(each, frozenset()) for each in ("a_total", "b_bucket", "up")),
                Named("a_total", frozenset({"x"})),
                *(Named(each, frozenset({"y"})) for each in ("b_bucket", "up")),
            ],
        ),
    ],
)
def test_metrics_and_labels_are_found(expression: str, found: list[Named]) -> None:
    assert named(expression) == found


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ('sum by (x) (rate(a_total{y="1", instance=~"$i"}[5m]))', []),
        ("rate(a_tota[5m])", ["a_tota does not exist"]),
        ('a_total{z="1"}', ["a_total has no label z"]),
        ("sum by (z) (rate(a_total[5m]))", ["a_total has no label z"]),
        ("vector(1)", ["names no metric: vector(1)"]),
    ],
)
def test_what_does_not_exist_is_seen(expression: str, wrong: list[str]) -> None:
    assert mistakes(expression, KNOWN) == wrong
