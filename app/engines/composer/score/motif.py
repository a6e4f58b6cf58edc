"""Motifs: the two bars of rhythm and contour of which a tune is made.

A motif belongs to the theme, so that all sections of a song share it. How lively a section
is shows in how the motif is developed: driving ones divide its long notes, still ones leave
out what falls between the beats.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

Manner = Literal["singing", "flowing", "riffing", "sparse"]

_CELLS: Final[Mapping[Manner, Mapping[str, float]]] = MappingProxyType(
    {
        "singing": {"x---": 5, "----": 4, "x-x-": 2, "--x-": 1.5, "x--x": 0.4},
        "flowing": {"x-x-": 6, "x---": 3, "--x-": 2, "x-xx": 0.7, "xxx-": 0.4, ".-x-": 0.7, "----": 0.7},
        "riffing": {"x-x-": 3, "x--x": 2, "--x-": 3, "..x-": 2, "xx.x": 1, "x.xx": 1, "x---": 1, "-xx-": 1},
        "sparse": {"x---": 5, "----": 6, "--x-": 2, "x-x-": 1, "....": 1},
    }
)
"""What a beat of a tune may be, and how often; `-` at its start holds the beat before."""

_LEAST_ONSETS: Final[Mapping[Manner, int]] = MappingProxyType({"singing": 2, "flowing": 3, "riffing": 3, "sparse": 1})
_TRIES: Final = 8
_PLAIN: Final = "x---x-x-x---x---"
_LIVELIER, _CALMER = 0.4, -0.4
"""From how much more or less energy than a style's own its motifs are developed."""

_WALK_STEPS, _WALK_RANGE = 8, 3


class Onset(NamedTuple):
    """A note of a rhythm: where in its bar, and for how many beats."""

    beat: float
    beats: float


Rhythm = tuple[Onset, ...]


@dataclass(frozen=True, slots=True)
class Motif:
    """Two bars of rhythm; and for each its contour, in scale steps, eighth by eighth."""

    rhythms: tuple[Rhythm, Rhythm]
    contours: tuple[tuple[int, ...], tuple[int, ...]]

    def step(self, bar: int, beat: float) -> int:
        """Return how many scale steps above home the contour of a bar is at a beat."""
        return self.contours[bar][min(int(beat * 2), _WALK_STEPS - 1)]


def make_motif(rng: random.Random, manner: Manner, beats_per_bar: int) -> Motif:
    """Return a motif: the first bar starts on its first beat, the second may come late."""
    first = _rhythm(rng, manner, beats_per_bar, starts_on_beat=True)
    second = _rhythm(rng, manner, beats_per_bar, starts_on_beat=rng.random() < 0.7)
    return Motif((first, second), (_contour(rng), _contour(rng)))


def developed(motif: Motif, energy: float) -> Motif:
    """Return the motif with more or fewer notes, by how much more energy there is than its style's own."""
    if energy > _LIVELIER:
        first, second = (divided(rhythm) for rhythm in motif.rhythms)
    elif energy < _CALMER:
        first, second = (_thinned(rhythm) for rhythm in motif.rhythms)
    else:
        return motif
    return Motif((first, second), motif.contours)


def divided(rhythm: Rhythm, share: float = 1.0, rng: random.Random | None = None) -> Rhythm:
    """Return the rhythm with its long notes in two halves; with a generator, only a share of them."""
    parts: list[Onset] = []
    for onset in rhythm:
        if onset.beats >= 1.0 and (rng is None or rng.random() < share):
            half = onset.beats / 2
            parts += [Onset(onset.beat, half), Onset(onset.beat + half, half)]
        else:
            parts.append(onset)
    return tuple(parts)


def filled(motif: Motif, least_onsets: int) -> Motif:
    """Return the motif with its long notes divided until no bar has fewer notes than that, if they are long enough."""
    first, second = (divided(rhythm) if len(rhythm) < least_onsets else rhythm for rhythm in motif.rhythms)
    if (first, second) == motif.rhythms:
        return motif
    return filled(Motif((first, second), motif.contours), least_onsets)


def cut(rhythm: Sequence[Onset], end_beat: float) -> Rhythm:
    """Return what starts before a beat, held no longer than to it."""
    return tuple(
        Onset(onset.beat, min(onset.beats, end_beat - onset.beat)) for onset in rhythm if onset.beat < end_beat
    )


def _thinned(rhythm: Rhythm) -> Rhythm:
    """Return the rhythm without what falls between the beats; who came before is held on."""
    parts: list[Onset] = []
    for onset in rhythm:
        if parts and onset.beat % 1:
            parts[-1] = Onset(parts[-1].beat, onset.beat + onset.beats - parts[-1].beat)
        else:
            parts.append(onset)
    return tuple(parts)


def _rhythm(rng: random.Random, manner: Manner, beats_per_bar: int, *, starts_on_beat: bool) -> Rhythm:
    cells = _CELLS[manner]
    for _ in range(_TRIES):
        text = "".join(rng.choices([*cells], [*cells.values()], k=beats_per_bar))
        if text.count("x") >= _LEAST_ONSETS[manner] and (text[0] == "x" or not starts_on_beat):
            return _read(text)
    return _read(_PLAIN[: 4 * beats_per_bar])


def _read(text: str) -> Rhythm:
    """Return the notes of a rhythm in sixteenths: `x` starts one, `-` holds it, `.` is a rest."""
    starts = [place for place, mark in enumerate(text) if mark == "x"]
    held = [len(text) - start - len(text[start + 1 :].lstrip("-")) for start in starts]
    return tuple(Onset(start / 4, length / 4) for start, length in zip(starts, held, strict=True))


def _contour(rng: random.Random) -> tuple[int, ...]:
    """Return a walk that mostly goes on as it goes, and turns at the edges of its range."""
    drift = rng.choice((-1, 1))
    walk = [rng.choice((0, 0, 2))]
    while len(walk) < _WALK_STEPS:
        step = rng.choice((drift, drift, drift, -drift, 0))
        if abs(walk[-1] + step) > _WALK_RANGE:
            step, drift = -step, -drift
        walk.append(walk[-1] + step)
    return tuple(walk)
