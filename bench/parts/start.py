"""e: how soon the service is up, and what it holds at rest, beside a Flask that can do nothing."""

from __future__ import annotations

import functools
import time
from typing import Final

from bench.contenders import STUDIO, Contender, bare_flask, studio
from bench.programs import Memory
from bench.report import Goal, Report, figure, median, table
from bench.site import open_site

STARTS: Final = 9
AT_REST_AFTER_S: Final = 2.0
BARE: Final = "bare Flask + gunicorn"
TIME_LIMIT: Final = 2.0
RSS_LIMIT_MB: Final = 70.0


def measure(*, quick: bool) -> Report:
    """Return the time to the first good `/health`, and the resident size a while later."""
    starts = 3 if quick else STARTS
    report = Report(
        "Start and rest",
        f"{starts} starts each, in turn, with compiled modules on the disk: from the start of the process to the first "
        f"200 of `/health`, and the memory {AT_REST_AFTER_S:g} s later. The engine is Hugging Face, jobs are off. RSS "
        "is that of the process that serves; PSS counts gunicorn's master too, and what they share once.",
    )
    contenders: dict[str, Contender] = {STUDIO: functools.partial(studio, STUDIO_EXECUTOR="none"), BARE: bare_flask}
    started_s: dict[str, list[float]] = {name: [] for name in contenders}
    memory: dict[str, list[Memory]] = {name: [] for name in contenders}
    for number in range(starts + 1):
        for name, contender in contenders.items():
            with open_site() as site:
                program, elapsed_s = site.timed_start(contender)
                if number == 0:  # what is not compiled yet is compiled here
                    continue
                time.sleep(AT_REST_AFTER_S)
                started_s[name].append(elapsed_s)
                memory[name].append(program.memory())
    rows = [
        (
            name,
            figure(1000 * median(started_s[name])),
            figure(median(each.rss_bytes for each in memory[name]) / 1e6),
            figure(median(each.pss_bytes for each in memory[name]) / 1e6),
        )
        for name in contenders
    ]
    report.tables = table(("", "first /health ms", "RSS MB", "PSS of all processes MB"), rows)
    report.goals = [
        Goal(
            f"time to the first /health in times of {BARE}",
            median(started_s[STUDIO]) / median(started_s[BARE]), "at most", TIME_LIMIT,
        ),
        Goal("RSS at rest", median(each.rss_bytes for each in memory[STUDIO]) / 1e6, "at most", RSS_LIMIT_MB, " MB"),
    ]  # fmt: skip
    report.raw = {
        name: {
            "started_s": started_s[name],
            "rss_bytes": [each.rss_bytes for each in memory[name]],
            "pss_bytes": [each.pss_bytes for each in memory[name]],
        }
        for name in contenders
    }
    return report
