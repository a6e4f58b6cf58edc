"""Reports: figures and goals as Markdown, and where they are kept."""

from __future__ import annotations

import json
import math
import os
import platform
import re
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from bench import contenders
from bench.programs import ROOT

PAGE: Final = ROOT / "docs" / "performance.md"
RAW: Final = ROOT / "out" / "bench"


@dataclass(frozen=True, slots=True)
class Goal:
    """What a figure should be.

    Attributes:
        what: The figure, in words.
        measured: None where what it is compared with was left out.
        bound: `at most` or `at least`, inclusive.
        limit: The goal.
        unit: Comes after both figures, with its space.
    """

    what: str
    measured: float | None
    bound: Literal["at most", "at least"]
    limit: float
    unit: str = ""

    @property
    def met(self) -> bool | None:
        if self.measured is None:
            return None
        return self.measured <= self.limit if self.bound == "at most" else self.measured >= self.limit

    def row(self) -> tuple[str, str, str, str]:
        sign = "≤" if self.bound == "at most" else "≥"
        measured = "–" if self.measured is None else f"{figure(self.measured)}{self.unit}"
        verdict = {True: "yes", False: "**no**", None: "not measured"}[self.met]
        return self.what, measured, f"{sign} {figure(self.limit)}{self.unit}", verdict


@dataclass
class Report:
    """What one part has found.

    Attributes:
        title: Of its section.
        intro: Sentences that say what was done.
        tables: Lines of Markdown.
        goals: In the order they are shown.
        notes: What was left out, and what is to be known about the figures.
        raw: Every single figure, as JSON can hold it.
    """

    title: str
    intro: str
    tables: list[str] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    raw: dict[str, object] = field(default_factory=dict)

    def markdown(self) -> str:
        """Return the section, without its heading."""
        parts = [self.intro, "\n".join(self.tables)]
        if self.goals:
            rows = [goal.row() for goal in self.goals]
            parts.append("\n".join(table(("goal", "measured", "limit", "met"), rows)))
        if self.notes:
            parts.append("\n".join(f"- {note}" for note in self.notes))
        return "\n\n".join(part for part in parts if part)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table; all columns but the first are aligned to the right."""
    lines = [f"| {' | '.join(head)} |", "|---|" + "--:|" * (len(head) - 1)]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def figure(value: float) -> str:
    """Return a figure with three digits that count, and thousands set apart."""
    if not value or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the smallest value that at least `percent` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * percent / 100) - 1, 0)]


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def ratio(one: float | None, other: float | None) -> float | None:
    """Return how many times the other one is, or None when one of them is not known."""
    return one / other if one is not None and other else None


# ---------------------------------------------------------------------- the machine


def machine() -> dict[str, str]:
    """Return what is measured on, and with which versions."""
    cpu = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return {
        "cores": str(os.cpu_count()),
        "CPU": cpu[1] if cpu else platform.machine(),
        "RAM": f"{int(memory[1]) / 2**20:.0f} GiB" if memory else "unknown",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        **contenders.versions(),
    }


# ---------------------------------------------------------------------- keeping


def save(part: str, report: Report, machine_: Mapping[str, str], *, publish: bool) -> Path:
    """Write the raw figures under `out/`, and with `publish` the section into the page.

    Returns:
        The file of the raw figures.
    """
    RAW.mkdir(parents=True, exist_ok=True)
    path = RAW / f"{part}{'' if publish else '-quick'}.json"
    goals = [dict(zip(("goal", "measured", "limit", "met"), goal.row(), strict=True)) for goal in report.goals]
    at = time.gmtime()
    kept = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", at), "machine": machine_, "goals": goals, "figures": report.raw}
    path.write_text(json.dumps(kept, indent=1), encoding="utf-8")
    if publish:
        hardware = f"{machine_['cores']} cores of {machine_['CPU']}, {machine_['RAM']}"
        software = ", ".join(f"{name} {machine_[name]}" for name in machine_ if name not in ("cores", "CPU", "RAM"))
        measured_on = f"Measured on {time.strftime('%Y-%m-%d', at)}: {hardware}; {software}."
        text = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(with_section(text, part, f"{report.markdown()}\n\n{measured_on}"), encoding="utf-8")
    return path


def with_section(page: str, part: str, section: str) -> str:
    """Return the page with what stands between the markers of a part replaced.

    Raises:
        ValueError: the page has no such markers.
    """
    begin, end = f"<!-- begin {part} -->", f"<!-- end {part} -->"
    before, found, rest = page.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{PAGE.name} has no markers for part {part}")
    return f"{before}{begin}\n\n{section}\n\n{end}{after}"
