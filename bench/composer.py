"""`make bench-composer`: what a piece of the embedded composer costs, in CPU-seconds and memory.

The *first* piece of a process is paid for with all that it imports; *warm* pieces come after
it, each with another seed, so that notes which are kept help only as far as they do in a
service. Every figure is a median over processes.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

from bench.pieces import Cost

ROOT: Final = Path(__file__).parent.parent

PROMPTS: Final = ("calm piano", "lofi beats to study", "energetic edm festival anthem", "epic battle")
"""Two light styles, then two heavy ones."""

LENGTHS_S: Final = (5, 10, 30)
LONG_S: Final = (120, 600)
PROCESSES: Final = 5
WARM_PIECES: Final = 3

GOALS: Final = (
    "Goals: 30 s warm at least 100 × real time in the light styles (piano, lo-fi) and 50 × in the heaviest, "
    "the first piece in at most 1.0 CPU-s, the peak at most 190 MB."
)


def main() -> None:
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}, NumPy {version('numpy')}; medians of {PROCESSES} processes\n")
    print(*_table(PROMPTS, LENGTHS_S, processes=PROCESSES, warm_pieces=WARM_PIECES), sep="\n")
    print(f"\n{GOALS}\n\nLonger pieces, of one process each:\n")
    print(*_table(["epic battle"], LONG_S, processes=1, warm_pieces=1), sep="\n")


def _table(prompts: Sequence[str], lengths_s: Sequence[int], *, processes: int, warm_pieces: int) -> Iterator[str]:
    yield (
        "| request | length | whole process, CPU-s | first piece, CPU-s | warm, CPU-s | warm, × real time "
        "| peak RSS, first piece | peak RSS |\n|---|---|---|---|---|---|---|---|"
    )
    for prompt in prompts:
        for length_s in lengths_s:
            costs = [_cost_in_fresh_process(prompt, length_s, warm_pieces) for _ in range(processes)]
            cost = Cost(*(statistics.median(figures) for figures in zip(*costs, strict=True)))
            cells = (prompt, f"{length_s} s", f"{cost.process_cpu_s:.2f}", f"{cost.first_cpu_s:.2f}",
                     f"{cost.warm_cpu_s:.3f}", f"{length_s / cost.warm_cpu_s:.0f}",
                     f"{cost.first_peak_bytes / 1e6:.0f} MB", f"{cost.peak_bytes / 1e6:.0f} MB")  # fmt: skip
            yield f"| {' | '.join(cells)} |"


def _cost_in_fresh_process(prompt: str, length_s: int, warm_pieces: int) -> Cost:
    command = [sys.executable, "-m", "bench.pieces", prompt, str(length_s), str(warm_pieces)]
    return Cost(*json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout))


if __name__ == "__main__":
    main()
