"""Run the whole fault matrix and write `docs/faults.md`: `python -m tools.fault_matrix`; it takes a few minutes.

With `--compressed` it runs what the tests run, and with words those cells alone whose names have all of
them: `python -m tools.fault_matrix flood "Gradio 5.50" job`. The page is written by a whole run without a failure.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))  # the matrix is that of the tests

from real.matrix import PAGE, Run, every_cell, page, pairwise


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.fault_matrix", description="Run the fault matrix.")
    parser.add_argument("words", nargs="*", metavar="word", help="only cells whose names have all of these words")
    parser.add_argument("--compressed", action="store_true", help="only as many cells as have every pair in them")
    asked = parser.parse_args()
    cells = pairwise(every_cell()) if asked.compressed else every_cell()
    chosen = [cell for cell in cells if all(word in str(cell) for word in asked.words)]
    started_s = time.monotonic()
    failures = 0
    with tempfile.TemporaryDirectory() as folder, Run(Path(folder)) as run:
        for cell, verdict in run.begin(chosen).items():
            if error := verdict.exception():
                failures += 1
                print(f"{cell}: {error!r}", flush=True)
        peak_bytes, at_rest_bytes = run.peak_bytes, run.at_rest_bytes
    print(
        f"{len(chosen)} cells, {failures} failures, {time.monotonic() - started_s:.0f} s; "
        f"peak memory {peak_bytes / 2**20:.0f} MiB, {at_rest_bytes / 2**20:.0f} MiB at rest"
    )
    if len(chosen) == len(every_cell()) and not failures:
        PAGE.write_text(page(), encoding="utf-8")
        print(f"wrote {PAGE}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
