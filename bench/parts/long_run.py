"""d: a hundred thousand requests, and whether memory grows with them."""

from __future__ import annotations

from typing import Final

from bench.contenders import STUDIO, studio
from bench.report import Goal, Report, figure, median, table
from bench.samples import SHORT
from bench.site import open_site

REQUESTS: Final = 100_000
CHUNK: Final = 5_000
CLIENTS: Final = 16
GROWTH_LIMIT_PERCENT: Final = 5.0
LAST: Final = 3
"""So many of the last readings are compared with the first one, as their median."""


def measure(*, quick: bool) -> Report:
    """Return how much more memory the service holds after many requests than after the first few thousand."""
    requests, chunk = (REQUESTS // 10, CHUNK // 5) if quick else (REQUESTS, CHUNK)
    report = Report(
        "A hundred thousand requests",
        f"{requests:,} requests of the smallest answer by {CLIENTS} clients. The resident size is read after each "
        f"{chunk:,}; the first reading is the base, as threads and caches exist by then.",
    )
    rss_bytes: list[int] = []
    failures: dict[str, int] = {}
    elapsed_s = 0.0
    with open_site() as site:
        caller = site.start(STUDIO, studio, SHORT)
        while len(rss_bytes) * chunk < requests:
            result = caller.load(clients=CLIENTS, requests=chunk, warm_up=0)
            elapsed_s += result.elapsed_s
            for what, count in result.failures.items():
                failures[what] = failures.get(what, 0) + count
            rss_bytes.append(caller.program.memory().rss_bytes)
    first, last = rss_bytes[0], median(rss_bytes[-LAST:])
    growth_percent = 100 * (last / first - 1)
    rows = [
        (
            STUDIO, f"{sum(failures.values())}", figure(requests / elapsed_s),
            figure(first / 1e6), figure(last / 1e6), figure(max(rss_bytes) / 1e6),
        )
    ]  # fmt: skip
    report.tables = table(("", "errors", "requests/s", "RSS at first MB", "at last MB", "largest MB"), rows)
    report.goals = [
        Goal("errors", sum(failures.values()), "at most", 0),
        Goal("growth of RSS", growth_percent, "at most", GROWTH_LIMIT_PERCENT, " %"),
    ]
    report.raw = {"requests": requests, "rss_bytes": rss_bytes, "failures": failures, "elapsed_s": elapsed_s}
    return report
