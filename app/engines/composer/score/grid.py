"""The grid: how beats lie in the time that the piece has, so that it ends exactly.

Whole bars, then a final chord that rings to the end. The tempo gives way by at most 2 %, and
where whole bars would leave a final chord too long or too short, half a bar or a beat is added.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

MAX_STRETCH: Final = 0.02
"""Share by which the tempo may differ from the one asked for; nobody hears it."""

_LEAST_RING_S, _SHORTEST_RING_S, _LONGEST_RING_S = 0.75, 1.2, 2.0
_RING_BEATS: Final = 2.5
_RING_SHARE: Final = 0.15
"""Of a piece's time the final chord takes about this, between the shortest and the longest."""

_RITARD_BEATS: Final = 2.0
_TRIED_LENGTHS: Final = 14


@dataclass(frozen=True, slots=True)
class Grid:
    """Beats and seconds of a piece.

    Attributes:
        duration_s: Of the whole piece.
        beat_s: Seconds a beat (a quarter note).
        beats_per_bar: 3 or 4.
        body_beats: Beats before the final chord; all there are, if there is none.
        ritard: Beats by which the final chord is late because the last two beats broaden.
    """

    duration_s: float
    beat_s: float
    beats_per_bar: int
    body_beats: float
    ritard: float = 0.0

    @property
    def bars(self) -> int:
        """Bars of the body, the last of which may be cut short."""
        return math.ceil(self.body_beats / self.beats_per_bar - 1e-6)

    @property
    def end_beat(self) -> float:
        """Where the piece ends, counted in beats."""
        return self.duration_s / self.beat_s - self.ritard

    @property
    def has_final_chord(self) -> bool:
        return self.end_beat - self.body_beats > 1e-6

    def beat_of_bar(self, bar: int) -> float:
        """Return where a bar starts, or where the body ends, if that is earlier."""
        return min(float(bar * self.beats_per_bar), self.body_beats)

    def second(self, beat: float) -> float:
        """Return when a beat sounds, in seconds from the start."""
        into = beat - self.body_beats + _RITARD_BEATS
        if into <= 0.0:
            return beat * self.beat_s
        broadened = beat + self.ritard * min(into / _RITARD_BEATS, 1.0) ** 2
        return min(broadened * self.beat_s, self.duration_s)


def felt_tempo_bpm(tempo_bpm: float, usual_bpm: tuple[float, float]) -> float:
    """Return the tempo at which figures are played: as asked for, or in half or double time.

    A style far from home is played with its own figures at half or twice the pulse, as a
    drummer would: drum and bass at 87 is drum and bass at 174.

    Args:
        tempo_bpm: As asked for.
        usual_bpm: The slowest and the fastest of the style.
    """
    slowest_bpm, fastest_bpm = usual_bpm
    if tempo_bpm * math.sqrt(2) < slowest_bpm:
        return 2 * tempo_bpm
    if tempo_bpm > math.sqrt(2) * fastest_bpm:
        return tempo_bpm / 2
    return tempo_bpm


def lay_grid(
    duration_s: float, tempo_bpm: float, beats_per_bar: int, *, final_chord: bool, ritard: float = 0.0
) -> Grid:
    """Return the grid for a piece of exactly `duration_s` seconds at about `tempo_bpm`.

    Args:
        duration_s: 3 to 600.
        tempo_bpm: As it is felt; 40 to 220.
        beats_per_bar: 3 or 4.
        final_chord: Whether a chord rings after the last bar; otherwise bars fill the time.
        ritard: Beats by which the last bar broadens, if the final chord has time to spare.
    """
    beat_s = 60.0 / tempo_bpm
    if final_chord:
        longest_s = max(_LONGEST_RING_S, min(_RING_BEATS * beat_s, 1.3 * _LONGEST_RING_S))
        ideal_s = min(max(_RING_SHARE * duration_s, _SHORTEST_RING_S), longest_s)
        candidates = _with_ring(duration_s, beat_s, beats_per_bar, ideal_s)
        _, body_beats, stretch = min(candidates)
    else:
        body_beats, stretch = _without_ring(duration_s, beat_s, beats_per_bar)
        ritard = 0.0
    beat_s *= stretch
    ring_s = duration_s - body_beats * beat_s
    has_time = body_beats > 2 * _RITARD_BEATS and ring_s - ritard * beat_s > _SHORTEST_RING_S
    return Grid(duration_s, beat_s, beats_per_bar, body_beats, ritard if has_time else 0.0)


def _with_ring(
    duration_s: float, beat_s: float, beats_per_bar: int, ideal_s: float
) -> Iterator[tuple[float, float, float]]:
    """Yield (cost, beats of the body, stretch) of lengths that leave about `ideal_s` for the final chord."""
    for unit_beats, unit_cost in _units(beats_per_bar):
        unit_s = unit_beats * beat_s
        most = max(int((duration_s - 0.4 * ideal_s) / (unit_s * (1 - MAX_STRETCH))), 1)
        for units in range(max(most - _TRIED_LENGTHS, 1), most + 1):
            stretch = _within_stretch((duration_s - ideal_s) / (units * unit_s))
            ring_s = duration_s - units * unit_s * stretch
            if ring_s < _LEAST_RING_S:
                continue
            misfit = abs(ring_s - ideal_s) / ideal_s
            cost = 2.0 * misfit + 8.0 * abs(stretch - 1) + unit_cost + _phrase_cost(units * unit_beats / beats_per_bar)
            yield cost, units * unit_beats, stretch


def _without_ring(duration_s: float, beat_s: float, beats_per_bar: int) -> tuple[float, float]:
    """Return beats and stretch with which bars, or failing that half bars or beats, fill the time."""
    for unit_beats, _ in _units(beats_per_bar):
        units = max(round(duration_s / (unit_beats * beat_s)), 1)
        stretch = duration_s / (units * unit_beats * beat_s)
        if _within_stretch(stretch) == stretch:
            return units * unit_beats, stretch
    # So short a piece at so slow a tempo: its last beat is cut.
    return duration_s / beat_s, 1.0


def _units(beats_per_bar: int) -> tuple[tuple[float, float], ...]:
    """Return the steps in which a body may grow, in beats, and what it costs to need so small a one."""
    if beats_per_bar == 4:
        return ((4.0, 0.0), (2.0, 0.3), (1.0, 0.8))
    return ((float(beats_per_bar), 0.0), (1.0, 0.6))


def _within_stretch(stretch: float) -> float:
    return min(max(stretch, 1 - MAX_STRETCH), 1 + MAX_STRETCH)


def _phrase_cost(bars: float) -> float:
    """Longer pieces prefer lengths that phrases of four bars fill."""
    if bars <= 4:
        return 0.0
    return 0.0 if bars % 4 == 0 else 0.12 if bars % 2 == 0 else 0.25
