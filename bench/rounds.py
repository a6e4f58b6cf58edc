"""Rounds: all contenders are called in turn (A B C … A B C …), so that the machine's moods meet all alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.client import Result
from bench.report import median, percentile
from bench.site import Caller


@dataclass(frozen=True, slots=True)
class Figures:
    """What the rounds have shown of one contender.

    Attributes:
        rounds: One result a round.
    """

    rounds: tuple[Result, ...]

    @property
    def p50_ms(self) -> float:
        """The median of the rounds' medians."""
        return 1000 * median(median(each.times_s) for each in self.rounds)

    @property
    def p99_ms(self) -> float:
        """Of all rounds together: one round has too few answers for it."""
        return 1000 * percentile((time_s for each in self.rounds for time_s in each.times_s), 99)

    @property
    def per_second(self) -> float:
        """The median of the rounds."""
        return median(each.per_second for each in self.rounds)

    def raw(self) -> dict[str, object]:
        return {
            "p50_ms": self.p50_ms,
            "p99_ms": self.p99_ms,
            "per_second": self.per_second,
            "rounds_ms": [[round(1000 * each, 3) for each in one.times_s] for one in self.rounds],
            "rounds_elapsed_s": [one.elapsed_s for one in self.rounds],
        }


def run_rounds(
    callers: Sequence[Caller], *, clients: int, rounds: int, requests: Mapping[str, int]
) -> dict[str, Figures]:
    """Call each contender in each round.

    Args:
        callers: The contenders.
        clients: Connections at the same time.
        rounds: How often each has its turn.
        requests: How many are timed in one turn, by the contender's name.
    Raises:
        RuntimeError: a contender failed to answer.
    """
    results: dict[str, list[Result]] = {caller.name: [] for caller in callers}
    for _ in range(rounds):
        for caller in callers:
            result = caller.load(clients=clients, requests=requests[caller.name], warm_up=2 * clients)
            if result.failures or len(result.answer_bytes) != 1:
                raise RuntimeError(f"{caller.name} failed: {result.failures}, lengths {result.answer_bytes}")
            results[caller.name].append(result)
    return {name: Figures(tuple(each)) for name, each in results.items()}
