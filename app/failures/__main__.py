"""`python -m app.failures --error 'CUDA out of memory'`: the same as `studio analyze`, without the rest of it."""

from __future__ import annotations

from app.failures.command import analyze

if __name__ == "__main__":
    analyze(prog_name="python -m app.failures")
