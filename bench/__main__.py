"""`make bench`: 30 s of stereo WAV as base64 in JSON, direct, through this service, through the naive one."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack

from bench import servers

ROUNDS, WARM_UP_ROUNDS = 40, 5
REQUEST = json.dumps({"prompt": "calm piano", "duration": 30}).encode()


def main() -> None:
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {ROUNDS} rounds\n")
    with ExitStack() as stack:
        port = servers.free_port()
        upstream = stack.enter_context(servers.running(servers.upstream(port), port))
        url = f"http://127.0.0.1:{upstream}/run/predict"
        port = servers.free_port()
        studio = stack.enter_context(servers.running(servers.studio(port), port, env={"HF_API_URL": url}))
        port = servers.free_port()
        naive = stack.enter_context(servers.running(servers.naive(port), port, env={"NAIVE_UPSTREAM": url}))
        calls = {
            "direct": lambda: servers.post(upstream, "/run/predict", REQUEST),
            "this service": lambda: servers.post(studio, "/studio-generate", REQUEST),
            "naive Flask + requests": lambda: servers.post(naive, "/studio-generate", REQUEST),
        }
        medians_ms = {name: statistics.median(times) for name, times in _timed_ms(calls).items()}
    print("| 30 s stereo WAV, one client | p50 ms | × this service |\n|---|---|---|")
    for name, median_ms in medians_ms.items():
        print(f"| {name} | {median_ms:.1f} | {median_ms / medians_ms['this service']:.2f} |")


def _timed_ms(calls: dict[str, Callable[[], bytes]]) -> dict[str, list[float]]:
    """Call each in turn, round by round, so that the machine's moods meet all alike."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(WARM_UP_ROUNDS + ROUNDS):
        for name, call in calls.items():
            started_s = time.perf_counter()
            call()
            if number >= WARM_UP_ROUNDS:
                times[name].append(1000 * (time.perf_counter() - started_s))
    return times


if __name__ == "__main__":
    main()
