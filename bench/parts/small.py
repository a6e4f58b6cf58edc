"""b: the smallest answer there is, through each gateway: what a request costs besides its bytes."""

from __future__ import annotations

from typing import Final, Literal

from bench.contenders import CONTENDERS, DIRECT, STUDIO
from bench.report import Goal, Report, figure, table
from bench.rounds import Figures, run_rounds
from bench.samples import SHORT
from bench.site import open_site, start_all

CLIENTS: Final = (1, 16)
ROUNDS: Final = 8
REQUESTS: Final = {1: 300, 16: 1_600}
"""By the number of clients, in one round."""

RIVAL: Final = "LiteLLM pass-through"
SLOW_SHARE: Final = 4
"""The rival is slow, and gets so many times fewer requests: a turn should take all about as long."""

ADDED_LIMIT_MS: Final = 2.0
PER_SECOND_LIMIT: Final = 1_000.0


def measure(*, quick: bool) -> Report:
    """Return requests a second, and what is added to the time of a direct call, at 1 and 16 clients."""
    rounds = 3 if quick else ROUNDS
    requests = {clients: count // (3 if quick else 1) for clients, count in REQUESTS.items()}
    report = Report(
        "The smallest answer",
        f"The upstream answers at once with {len(SHORT.wav()):,} bytes of WAV ({SHORT.duration_s:g} s, "
        f"{SHORT.rate_hz / 1000:g} kHz, 8 bits: this service lets nothing smaller pass) as base64 in "
        f"{len(SHORT.answer()):,} bytes of JSON. “Added” is what a gateway adds to the direct call. "
        f"{rounds} rounds of {requests[1]} requests by one client, then of {requests[16]:,} by sixteen; a "
        f"{SLOW_SHARE}th of that for LiteLLM.",
    )
    with open_site() as site:
        callers = start_all(site, CONTENDERS, SHORT, report.notes.append)
        figures = {}
        for clients in CLIENTS:
            counts = dict.fromkeys((DIRECT, *CONTENDERS), requests[clients])
            counts[RIVAL] //= SLOW_SHARE
            figures[clients] = run_rounds(callers, clients=clients, rounds=rounds, requests=counts)
    report.tables = _table(figures)
    report.goals = _goals(figures)
    report.notes.append(
        "What nginx does at sixteen clients is bounded by the client and the upstream, which share the cores with it."
    )
    report.raw = {
        f"{clients} clients": {name: each.raw() for name, each in figures[clients].items()} for clients in CLIENTS
    }
    return report


def _table(figures: dict[int, dict[str, Figures]]) -> list[str]:
    rows = []
    for name in figures[1]:
        cells = []
        for clients in CLIENTS:
            here, direct = figures[clients][name], figures[clients][DIRECT]
            cells += [figure(here.per_second), figure(here.p50_ms - direct.p50_ms), figure(here.p99_ms - direct.p99_ms)]
        rows.append((name, *cells))
    added = ("requests/s", "added p50 ms", "added p99 ms")
    return table(("", f"1 client: {added[0]}", *added[1:], f"16 clients: {added[0]}", *added[1:]), rows)


def _goals(figures: dict[int, dict[str, Figures]]) -> list[Goal]:
    one, sixteen = (figures[clients] for clients in CLIENTS)
    goals = [
        Goal("added p50, 1 client", one[STUDIO].p50_ms - one[DIRECT].p50_ms, "at most", ADDED_LIMIT_MS, " ms"),
        Goal("requests/s, 16 clients", sixteen[STUDIO].per_second, "at least", PER_SECOND_LIMIT),
    ]
    for clients in CLIENTS:
        ours, theirs, direct = (figures[clients].get(name) for name in (STUDIO, RIVAL, DIRECT))
        at = f"{clients} client{'s' * (clients > 1)}"
        if ours and theirs and direct:
            goals += [
                Goal(f"requests/s in times of LiteLLM's, {at}", ours.per_second / theirs.per_second, "at least", 1),
                Goal(f"added p50 in times of LiteLLM's, {at}", _added(ours, theirs, direct, "p50_ms"), "at most", 1),
                Goal(f"added p99 in times of LiteLLM's, {at}", _added(ours, theirs, direct, "p99_ms"), "at most", 1),
            ]
    return goals


def _added(ours: Figures, theirs: Figures, direct: Figures, name: Literal["p50_ms", "p99_ms"]) -> float:
    base: float = getattr(direct, name)
    return float((getattr(ours, name) - base) / (getattr(theirs, name) - base))
