"""The parts of the benchmark, by letter; each measures one promise and reports on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from bench.parts import crowd, large, long_run, outage, small, start
from bench.report import Report


class Measure(Protocol):
    """Measures one part; with `quick` a short look is enough."""

    def __call__(self, *, quick: bool) -> Report: ...


PARTS: Final[Mapping[str, Measure]] = {
    "a": large.measure,
    "b": small.measure,
    "c": crowd.measure,
    "d": long_run.measure,
    "e": start.measure,
    "f": outage.measure,
}
