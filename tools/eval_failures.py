"""Say how often the failure analyser is right: `python -m tools.eval_failures labelled.jsonl`.

Each line of the file is a JSON object with `text`, `error_type` and `error_phase`, optionally `id`, `config` and `also`
(types that would be right as well). Only the keys named here are read.

Strict accuracy counts the labelled type, lenient accuracy also those of `also`. Calibration is the share of right
answers (lenient and strict) among those that were given with high, medium and low confidence. With `--wrong` each
wrong answer is listed with the rule and the line that decided.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.failures import TYPES, Diagnosis, Evidence, analyse

CONFIDENCES = ("high", "medium", "low")


@dataclass(frozen=True, slots=True)
class Answer:
    """A labelled failure and what the analyser said of it."""

    name: str
    expected: str
    expected_phase: str
    also: frozenset[str]
    diagnosis: Diagnosis
    elapsed_ms: float

    @property
    def strictly_right(self) -> bool:
        return self.diagnosis.error_type == self.expected

    @property
    def right(self) -> bool:
        return self.strictly_right or self.diagnosis.error_type in self.also

    @property
    def phase_right(self) -> bool:
        return self.diagnosis.error_phase == self.expected_phase


def answers(lines: Iterable[str]) -> Iterator[Answer]:
    """Yield an answer for each labelled failure; empty lines are skipped."""
    analyse(Evidence(""))  # the first one loads the rules, which is no answer's time
    for number, line in enumerate(lines, 1):
        if line.strip():
            record = json.loads(line)
            started = time.perf_counter()
            diagnosis = analyse(Evidence(record["text"], config=record.get("config")))
            yield Answer(
                name=str(record.get("id", number)),
                expected=record["error_type"],
                expected_phase=record.get("error_phase", TYPES[record["error_type"]].phase),
                also=frozenset(record.get("also") or ()),
                diagnosis=diagnosis,
                elapsed_ms=(time.perf_counter() - started) * 1_000,
            )


def report(given: Sequence[Answer], *, list_wrong: bool = False) -> Iterator[str]:
    """Yield the lines of the evaluation."""
    times = sorted(answer.elapsed_ms for answer in given)
    yield f"{len(given)} failures, {len({answer.expected for answer in given})} types"
    yield (
        f"strict {_share(given, lambda each: each.strictly_right)}  lenient {_share(given, lambda each: each.right)}"
        f"  phase {_share(given, lambda each: each.phase_right)}"
    )
    yield f"time: median {times[len(times) // 2]:.2f} ms, worst {times[-1]:.2f} ms"
    yield ""
    yield "confidence  answers  lenient  strict"
    for confidence in CONFIDENCES:
        chosen = [answer for answer in given if answer.diagnosis.confidence == confidence]
        if chosen:
            yield (
                f"{confidence:<10}  {len(chosen):>7}  {_share(chosen, lambda each: each.right):>7}"
                f"  {_share(chosen, lambda each: each.strictly_right):>6}"
            )
    yield ""
    yield "type                    labelled  found  lenient"
    for name in TYPES:
        labelled = [answer for answer in given if answer.expected == name]
        if labelled:
            found = sum(answer.diagnosis.error_type == name for answer in given)
            yield f"{name:<22}  {len(labelled):>8}  {found:>5}  {_share(labelled, lambda each: each.right):>7}"
    confused = Counter((each.expected, each.diagnosis.error_type) for each in given if not each.strictly_right)
    if confused:
        yield ""
        yield "confused (labelled → found)"
        for (expected, found_type), count in confused.most_common():
            yield f"{count:>3}  {expected} → {found_type}"
    if list_wrong:
        yield ""
        for answer in given:
            if not answer.right:
                diagnosis = answer.diagnosis
                decided = f"{diagnosis.rule}: {diagnosis.line}"
                yield f"{answer.name}: {answer.expected}, found {diagnosis.error_type} ({decided})"


def _share(chosen: Sequence[Answer], is_counted: Callable[[Answer], bool]) -> str:
    return f"{100 * sum(map(is_counted, chosen)) / len(chosen):.1f} %"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the evaluation and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.eval_failures", description="Evaluate the failure analyser.")
    parser.add_argument("file", type=Path, help="labelled failures, one JSON object a line")
    parser.add_argument("--wrong", action="store_true", help="list the wrong answers with what decided them")
    options = parser.parse_args(arguments)
    with options.file.open(encoding="utf-8") as lines:
        given = list(answers(lines))
    if not given:
        sys.stderr.write(f"{options.file} holds no labelled failure\n")
        return 1
    print("\n".join(report(given, list_wrong=options.wrong)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
