"""f: the upstream is gone, and a thousand callers do not know it yet."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Final

from bench import programs
from bench.contenders import studio
from bench.programs import Program
from bench.report import Goal, Report, figure, percentile, table
from bench.samples import SHORT
from bench.site import BODY, GENERATE, HEADERS, open_site

REQUESTS: Final = 1_000
PER_SECOND: Final = 25.0
"""So that the run is long enough for a breaker to try again, more than once."""

CALLERS: Final = 64
ASKED_EVERY_S: Final = 0.02

CALLS_LIMIT: Final = 1.1
ANSWER_LIMIT_MS: Final = 50.0

REFUSES, HANGS_UP = "refuses connections", "hangs up"


@dataclass(frozen=True, slots=True)
class _Asked:
    """One request: when it was sent, seconds after the first one, what was answered, and how soon."""

    sent_s: float
    status: int
    code: str
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class _Outage:
    """What an outage has shown; `open_from_s` is when the breaker was first seen open, None if it never was."""

    asked: tuple[_Asked, ...]
    upstream_calls: int
    open_from_s: float | None

    @property
    def calls_per_request(self) -> float:
        return self.upstream_calls / len(self.asked)

    @property
    def once_open_ms(self) -> list[float]:
        start_s = self.open_from_s
        return [] if start_s is None else [1000 * each.elapsed_s for each in self.asked if each.sent_s >= start_s]


def measure(*, quick: bool) -> Report:
    """Return upstream calls for each request, and how long an answer takes once the breaker is open."""
    requests = REQUESTS // 4 if quick else REQUESTS
    report = Report(
        "Outage",
        f"{requests:,} requests, {PER_SECOND:g} a second, while the upstream is down from the first one on. "
        "Calls of one that hangs up are counted by itself, those of one that refuses by the attempts in the log.",
    )
    with open_site() as site:
        program = site.start_for(studio, f"http://127.0.0.1:{programs.free_port()}{SHORT.path}")
        asked, open_from_s = _ask(program, requests)
        refused = _Outage(asked, _failed_attempts(program), open_from_s)
    with open_site(hangs_up=True) as site:
        program = site.start_for(studio, site.url(SHORT))
        before = site.counts()["requests"]
        asked, open_from_s = _ask(program, requests)
        hung_up = _Outage(asked, site.counts()["requests"] - before, open_from_s)
    outages = {REFUSES: refused, HANGS_UP: hung_up}
    rows = [_row(name, each) for name, each in outages.items()]
    head = ("the upstream", "answers", "calls per request", "once open: p50 ms", "p99 ms", "slowest ms")
    report.tables = table(head, rows)
    for name, each in outages.items():
        report.goals.append(Goal(f"calls per request, upstream {name}", each.calls_per_request, "at most", CALLS_LIMIT))
        times_ms = each.once_open_ms
        p99_ms = percentile(times_ms, 99) if times_ms else None
        report.goals.append(Goal(f"p99 once open, upstream {name}", p99_ms, "at most", ANSWER_LIMIT_MS, " ms"))
    report.raw = {name: asdict(each) for name, each in outages.items()}
    return report


def _ask(program: Program, requests: int) -> tuple[tuple[_Asked, ...], float | None]:
    """Send the requests at their pace; return what came of them, and when the breaker was first seen open."""
    started_s = time.monotonic()
    open_from_s: list[float] = []
    over = threading.Event()

    def watch() -> None:
        while not open_from_s and not over.wait(ASKED_EVERY_S):
            _, content = programs.get(program.port, "/ready")
            checks = json.loads(content).get("checks", {})
            if any("breaker" in name and said != "ok" for name, said in checks.items()):
                open_from_s.append(time.monotonic() - started_s)

    def ask(number: int) -> _Asked:
        sent_s = started_s + number / PER_SECOND
        time.sleep(max(sent_s - time.monotonic(), 0.0))
        status, content = programs.ask(program.port, "POST", GENERATE, BODY, HEADERS)
        elapsed_s = time.monotonic() - sent_s
        return _Asked(sent_s - started_s, status, json.loads(content)["code"], elapsed_s)

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        with ThreadPoolExecutor(CALLERS) as pool:
            asked = tuple(pool.map(ask, range(requests)))
    finally:
        over.set()
        watching.join()
    return asked, open_from_s[0] if open_from_s else None


def _failed_attempts(program: Program) -> int:
    lines = program.log.read_text(encoding="utf-8", errors="replace").splitlines()
    return sum('"event": "attempt failed"' in line for line in lines)


def _row(name: str, outage: _Outage) -> tuple[str, ...]:
    codes: dict[str, int] = {}
    for each in outage.asked:
        told = f"{each.status} {each.code}"
        codes[told] = codes.get(told, 0) + 1
    answers = ", ".join(f"{count:,} × {told}" for told, count in sorted(codes.items()))
    times_ms = outage.once_open_ms
    once_open = [figure(percentile(times_ms, percent)) for percent in (50, 99, 100)] if times_ms else ["–"] * 3
    return name, answers, f"{outage.calls_per_request:.3f}", *once_open
