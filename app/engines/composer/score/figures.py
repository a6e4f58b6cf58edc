"""Figures, the rhythms that `styles.py` writes as text, laid out over bars."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from app.engines.composer.styles import Figure

SIXTEENTHS_A_BEAT: Final = 4


class Stroke(NamedTuple):
    """Something that sounds: when, for how many beats, and the figure's character for it."""

    beat: float
    beats: float
    symbol: str

    @property
    def end(self) -> float:
        return self.beat + self.beats


@lru_cache(maxsize=512)
def read_figure(figure: Figure) -> tuple[tuple[Stroke, ...], float]:
    """Return the strokes of a figure and its length in beats."""
    text = figure.replace("|", "")
    strokes = tuple(
        Stroke(match.start() / SIXTEENTHS_A_BEAT, len(match.group()) / SIXTEENTHS_A_BEAT, match.group()[0])
        for match in re.finditer(r"[^.\-]-*", text)
    )
    return strokes, len(text) / SIXTEENTHS_A_BEAT


def lay_figure(figure: Figure, start_beat: float, end_beat: float) -> Iterator[Stroke]:
    """Yield the strokes of a figure that is repeated from one beat to another, and cut there."""
    strokes, length_beats = read_figure(figure)
    offset = start_beat
    while offset < end_beat and strokes:
        for beat, beats, symbol in strokes:
            if offset + beat >= end_beat:
                return
            yield Stroke(offset + beat, min(beats, end_beat - offset - beat), symbol)
        offset += length_beats


def choose_figure(figures: Sequence[Figure], energy: float) -> Figure:
    """Return the figure that suits an energy of -1 to 1, of figures from calm to lively."""
    return figures[figure_index(len(figures), energy)]


def figure_index(count: int, energy: float) -> int:
    """Return which of `count` rows, from calm to lively, suits an energy of -1 to 1."""
    return min(max(int((energy + 1) / 2 * count), 0), count - 1)
