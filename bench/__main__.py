"""`make bench`: everything that `docs/performance.md` says, measured anew.

`python -m bench [a] [b] [c] [d] [e] [f] [--quick]`: the parts of `bench.parts`, all of them when
none is named. The tables go into the page and every figure into `out/bench/`; with `--quick` the
rounds are few, and the page stays as it is.
"""

from __future__ import annotations

import argparse
import os
import sys
import time

from bench import report
from bench.parts import PARTS

BUSY_LOAD = 0.5
"""A load average above this, before anything is measured, is worth a word."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure side by side.")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"one of {', '.join(PARTS)}; all when none is named")
    parser.add_argument("--quick", action="store_true", help="a short look, which is not published")
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    machine = report.machine()
    print(*(f"{name}: {value}" for name, value in machine.items()), sep="\n", flush=True)
    if (load := os.getloadavg()[0]) > BUSY_LOAD:
        print(f"\nThis machine is busy (load average {load:.2f}): what follows is worth little.", flush=True)
    missed = False
    for part in asked.parts or PARTS:
        started_s = time.monotonic()
        found = PARTS[part](quick=asked.quick)
        path = report.save(part, found, machine, publish=not asked.quick)
        print(f"\n## {part}: {found.title}\n\n{found.markdown()}\n")
        print(f"({time.monotonic() - started_s:.0f} s; every figure: {path})", flush=True)
        missed = missed or any(goal.met is False for goal in found.goals)
    print("\nSome goals are missed." if missed else "\nNo goal is missed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
