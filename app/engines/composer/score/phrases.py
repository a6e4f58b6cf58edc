"""Phrases: how a tune goes on from its motif, bar by bar.

A phrase is written as bars in which a letter says what is played and a number how many
scale steps above home it lies:

`a` and `b` are the two bars of the motif; `f` plays the first half of `a` twice; `v` is `a`
with the tail of `b`; `o` comes to rest with the question open; `c` closes on the tonic.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from app.engines.composer.score.form import Section
from app.engines.composer.score.motif import Motif, Onset, Rhythm, cut, divided
from app.engines.composer.score.piece import Piece

_PHRASES: Final[Mapping[int, Sequence[str]]] = MappingProxyType(
    {
        # These end on the piece's final chord, or they would be over before they began.
        1: ("a0", "a1", "b1"),
        2: ("a0 v1", "a0 b1", "a1 f0"),
        3: ("a0 v2 c0", "a0 b2 c0"),
        4: ("a0 b1 v3 c0", "a0 b0 a2 c0", "a0 a1 f3 c0", "a1 b0 f2 c0"),
        8: (
            "a0 b1 a1 o0 a1 b2 v4 c0",
            "a0 b0 a1 o1 f2 f3 v4 c0",
            "a0 o1 a1 o0 a2 b3 v4 c0",
            "a1 b0 a0 o0 a2 b2 f4 c0",
            "a0 a1 b2 o1 a0 a2 v4 c0",
        ),
        12: ("a0 o1 f0 o0 a1 o1 f1 o0 v3 b2 f1 c0", "a0 b0 a0 o0 a1 b0 a1 o1 v4 a2 b1 c0"),
    }
)
"""By bars; the highest number stands late, where a phrase has its peak."""

_HELD_BEATS: Final = 0.75
"""From this length on a note is heard as part of the harmony."""

_LIFTS: Final = MappingProxyType({"A": 0, "B": 2, "C": 1})
"""How many scale steps above the A a material lies."""

_OPEN, _CLOSED = "o", "c"
_LEAST_BEATS: Final = 0.2


class Slot(NamedTuple):
    """A note of the tune whose pitch is still to be found.

    Attributes:
        beat: From the start of the piece.
        beats: How long it is held.
        step: Where the contour wants it, in scale steps above home.
        accent: How loud.
        is_pillar: On a strong beat or long: to be a tone of its chord.
        rests: Letter of the bar, `o` or `c`, that comes to rest with this note; else empty.
    """

    beat: float
    beats: float
    step: int
    accent: float
    is_pillar: bool
    rests: str


class _Bar(NamedTuple):
    letter: str
    level: int


def lay_phrases(piece: Piece, section: Section, motif: Motif) -> Iterator[Slot]:
    """Yield the notes of a section's tune; a return has other tails, and later ones other phrases."""
    beats_per_bar = piece.grid.beats_per_bar
    bars = _bars(piece, section)
    rng = piece.rng(f"variation {section.start_beat:g}")
    highest = max(bar.level for bar in bars) or 1
    turned = -1 if section.take % 4 == 3 else 1
    for index, bar in enumerate(bars):
        start = section.start_beat + index * beats_per_bar
        rhythm = _rhythm(motif, bar.letter, rng, beats_per_bar)
        if section.take and bar.letter in "bv":
            rhythm = divided(rhythm, 0.5, rng)
        rhythm = cut(rhythm, section.end_beat - start - _LEAST_BEATS)
        tail = rng.choice((0, 0, 1, -1)) if bar.letter == "v" else 0
        for place, (beat, beats) in enumerate(rhythm):
            is_strong = beat == 0 or (beat == 2 and beats_per_bar == 4)
            contour = turned * motif.step(bar.letter == "b", beat) + (tail if beat >= 2 else 0)
            yield Slot(
                beat=start + beat,
                beats=beats,
                step=_LIFTS[section.material] + section.lift + bar.level + contour,
                accent=0.92 + 0.14 * bar.level / highest + (0.05 if is_strong else 0.0),
                is_pillar=is_strong or beats >= _HELD_BEATS,
                rests=bar.letter if bar.letter in (_OPEN, _CLOSED) and place == len(rhythm) - 1 else "",
            )


def _bars(piece: Piece, section: Section) -> list[_Bar]:
    """Return phrases that fill the section, the longest first."""
    rng = piece.rng(f"phrases {section.material} {section.take // 2}", of_theme=True)
    bars: list[_Bar] = []
    while len(bars) < section.bars:
        left = section.bars - len(bars)
        length = left if left in _PHRASES else max(each for each in _PHRASES if each <= min(left, 8))
        bars.extend(_Bar(word[0], int(word[1:])) for word in rng.choice(_PHRASES[length]).split())
    if section.is_last and piece.final is None:
        bars[-1] = _Bar(_OPEN, bars[-1].level)
    return bars


def _rhythm(motif: Motif, letter: str, rng: random.Random, beats_per_bar: int) -> Rhythm:
    first, second = motif.rhythms
    half = beats_per_bar // 2
    head = cut(first, half) or (Onset(0.0, float(half)),)
    match letter:
        case "a":
            return first
        case "b":
            return second
        case "f":
            return cut((*head, *(Onset(beat + half, beats) for beat, beats in head)), beats_per_bar)
        case "v":
            return (*head, *(onset for onset in second if onset.beat >= half))
        case _:
            return _rest(head, letter, rng, beats_per_bar)


def _rest(head: Rhythm, letter: str, rng: random.Random, beats_per_bar: int) -> Rhythm:
    """Come to rest: perhaps a lead, a long note, and air before the next phrase."""
    arrival = 0.0 if rng.random() < (0.5 if letter == _CLOSED else 0.3) else beats_per_bar - 2.0
    air = 1.0 if arrival else 1.5
    return (*cut(head, arrival), Onset(arrival, beats_per_bar - arrival - air))
