"""Metrics in which everything has happened once, and what a scrape reads of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

from app.jobs.job import Census
from app.metrics import Metrics

CENSUS: Final = Census({"queued": 2, "running": 1, "succeeded": 0, "failed": 4, "cancelled": 0}, 12.5, None)

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
"""Values by the name of the series and its labels."""


@dataclass
class FakeStudio:
    active: int = 3
    max_active: int = 64
    breakers: Mapping[str, str] = field(default_factory=lambda: {"huggingface": "half-open"})
    retry_tokens: float = 7.5


@dataclass
class FakeStreams:
    open: int = 1
    limit: int = 32


def exercised() -> Metrics:
    """Return metrics in which everything has happened once, so that each has its labels."""
    metrics = Metrics(version="1", engine="huggingface")
    metrics.watch_studio(FakeStudio())
    metrics.watch_streams(FakeStreams())
    metrics.watch_jobs(lambda: CENSUS, executor=lambda: None)
    metrics.request(
        route="/api/status/{id}", method="GET", status=404, code="not-found", elapsed_s=0.02, size_bytes=100
    )
    metrics.attempt("huggingface", "ok", 1.0)
    metrics.piece("huggingface", duration_s=1.0, size_bytes=1, decode_s=0.1, format="wav")
    metrics.fallback("composer", "upstream-timeout")
    return metrics


def read(text: str) -> Samples:
    """Return what a scrape reads in the text."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def labels_by_series() -> dict[str, frozenset[str]]:
    """Return the labels of each series that the service tells, and of those that Prometheus adds."""
    found = defaultdict[str, set[str]](set, {"up": set()})
    for name, labels in read(exercised().render().decode()):
        found[name] |= {label for label, _ in labels}
    return {name: frozenset(labels) for name, labels in found.items()}
