"""A process that shares a breaker with others: does what its standard input says, and answers line by line.

`ask`, `fail`: one attempt that is answered, or finds the upstream down; `hang`: one that never ends.
`race N S`: N attempts at once, each taking S seconds. `outlook`: how it stands. All times are in seconds.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

from app.breaker import Breaker, Limits, Shared, is_refusal
from app.errors import UpstreamError, UpstreamUnavailable

TIMEOUT_S = 1.0


class Process:
    def __init__(self, url: str, limits: Limits) -> None:
        self._shared = Shared(url, "test")
        self._breaker = Breaker("test", limits=limits, kept=self._shared)
        self._hanging: list[AbstractContextManager[None]] = []

    def do(self, command: str, *arguments: str) -> dict[str, object]:
        match command:
            case "ask":
                return {"outcome": self._attempt()}
            case "fail":
                return {"outcome": self._attempt(UpstreamError())}
            case "hang":
                self._hanging.append(self._breaker.attempt(TIMEOUT_S))
                self._hanging[-1].__enter__()
                return {}
            case "race":
                return {"outcomes": self._race(int(arguments[0]), float(arguments[1]))}
            case _:
                outlook = self._breaker.outlook()
                connected = self._shared._client is not None
                return {"phase": outlook.phase, "blocked_s": outlook.blocked_s, "connected": connected}

    def _attempt(self, error: UpstreamError | None = None, takes_s: float = 0.0) -> str:
        try:
            with self._breaker.attempt(TIMEOUT_S):
                time.sleep(takes_s)
                if error:
                    raise error
        except UpstreamUnavailable as refusal:
            return "refused" if is_refusal(refusal) else "unavailable"
        except UpstreamError:
            return "failed"
        return "answered"

    def _race(self, count: int, takes_s: float) -> list[str]:
        start = threading.Barrier(count)

        def run(_: int) -> str:
            start.wait()
            return self._attempt(takes_s=takes_s)

        with ThreadPoolExecutor(count) as threads:
            return list(threads.map(run, range(count)))


def main() -> None:
    limits = Limits(int(os.environ["TEST_FAILURES"]), float(os.environ["TEST_OPEN_S"]))
    process = Process(os.environ["TEST_REDIS_URL"], limits)
    for line in sys.stdin:
        started_s = time.monotonic()
        told = process.do(*line.split())
        sys.stdout.write(json.dumps(told | {"took_s": time.monotonic() - started_s}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
