"""A process that makes pieces and prints what they cost, as JSON.

`python -m bench.pieces PROMPT SECONDS WARM_PIECES`
"""

from __future__ import annotations

import itertools
import json
import resource
import statistics
import sys
import time
from typing import NamedTuple

import structlog

from app.engines.composer import Composer
from app.engines.engine import Brief
from app.retry import Deadline


class Cost(NamedTuple):
    """What pieces cost.

    Attributes:
        process_cpu_s: From the start of the interpreter to the end of the first piece, imports included.
        first_cpu_s: The first piece alone, with what it imports: what a service that is up pays for it.
        first_peak_bytes: Largest resident size up to there.
        warm_cpu_s: Each piece after that; the median.
        peak_bytes: Largest resident size at the end.
    """

    process_cpu_s: float
    first_cpu_s: float
    first_peak_bytes: float
    warm_cpu_s: float
    peak_bytes: float


def cost_of(prompt: str, length_s: float, warm_pieces: int) -> Cost:
    """Return what pieces cost this process, which has made none yet."""
    composer = Composer(timeout_s=600)
    done_cpu_s = [time.process_time()]

    def make(seed: int) -> None:
        composer.generate(Brief(prompt, length_s, seed=seed), deadline=Deadline.after(600))
        done_cpu_s.append(time.process_time())

    make(0)
    first_peak_bytes = _peak_bytes()
    for seed in range(1, 1 + warm_pieces):
        make(seed)
    first_cpu_s, *warm_cpu_s = (after - before for before, after in itertools.pairwise(done_cpu_s))
    return Cost(done_cpu_s[1], first_cpu_s, first_peak_bytes, statistics.median(warm_cpu_s), _peak_bytes())


def _peak_bytes() -> float:
    # Linux counts in KiB, macOS in bytes. Linux reports at least the size of the process that
    # started this one, which for that reason imports nothing heavy.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    print(json.dumps(cost_of(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))))
