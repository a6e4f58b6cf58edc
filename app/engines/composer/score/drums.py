"""The drums: the groove of the style, fills at the seams, and a crash where something begins."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from app.engines.composer.score.figures import figure_index, lay_figure
from app.engines.composer.score.form import PHRASE_BARS, Section
from app.engines.composer.score.piece import Event, Piece
from app.engines.composer.styles import Drum, Figure

GENERAL_MIDI: Final[Mapping[Drum, int]] = MappingProxyType(
    {
        "kick": 36,
        "rim": 37,
        "snare": 38,
        "clap": 39,
        "low tom": 43,
        "hat": 42,
        "pedal hat": 44,
        "open hat": 46,
        "mid tom": 47,
        "crash": 49,
        "high tom": 50,
        "ride": 51,
        "bell": 53,
        "tambourine": 54,
        "cowbell": 56,
        "bongo": 60,
        "conga": 62,
        "open conga": 63,
        "low conga": 64,
        "shaker": 70,
        "clave": 75,
        "triangle": 81,
    }
)
"""Keys of the General MIDI percussion map (RP-003, 1991)."""

_PULSE: Final[tuple[Drum, ...]] = ("hat", "ride", "shaker", "pedal hat", "tambourine", "conga", "bongo", "triangle")
"""What is left of a groove when it is light, with the kick."""

_ACCENTS: Final[Mapping[str, float]] = MappingProxyType({"x": 0.92, "X": 1.12, "o": 0.42, "~": 0.72})
_LEFT_OUT: Final[Mapping[str, float]] = MappingProxyType({"~": 0.5, "o": 0.08})
"""How often a stroke is left out: ghost strokes are thrown in, not counted."""

_PLAIN_GROOVE: Final[Mapping[Drum, Figure]] = MappingProxyType(
    {"kick": "x.......x.......", "rim": "....x.......x...", "hat": "x.x.x.x.x.x.x.x."}
)
"""For a style that has no drums of its own and a request that wants some."""

_PLAIN_WALTZ: Final[Mapping[Drum, Figure]] = MappingProxyType({"kick": "x...........", "hat": "....x...x..."})

_FILLS: Final[Mapping[str, Sequence[Sequence[Mapping[Drum, Figure]]]]] = MappingProxyType(
    {
        "kit": (
            ({"rim": "..x."}, {"low tom": "..xx"}, {"open hat": "..x."}),
            ({"snare": "o.xx"}, {"high tom": "x...", "low tom": "..x."}, {"snare": "x.x.", "kick": ".x.x"}),
            (
                {"snare": "xxxx....", "high tom": "....xx..", "low tom": "......xX"},
                {"snare": "o.oxo.xX", "kick": "x..x...."},
                {"high tom": "xx......", "mid tom": "..xx....", "low tom": "....xxxX"},
                {"snare": "X..X..X.", "kick": "x..x..x."},
            ),
        ),
        "hands": (
            ({"open conga": "..xx"},),
            ({"open conga": "x.xx", "low conga": ".x.."}, {"conga": "xx..", "open conga": "..xx"}),
            ({"conga": "x.xx....", "open conga": "....xx..", "low conga": "......xx"},),
        ),
        "toms": (
            ({"low tom": "...o"},),
            ({"low tom": "ooxx"},),
            ({"low tom": "ooooxxxX"}, {"high tom": "x..x....", "low tom": "....xxxX"}),
        ),
    }
)
"""By the set that plays, from small to big: the last beat or the last two of a phrase."""

_STROKE_BEATS: Final = 0.25
_RINGING_BEATS: Final[Mapping[Drum, float]] = MappingProxyType(
    {"crash": 4.0, "open hat": 0.5, "ride": 1.0, "bell": 1.0, "kick": 0.5, "triangle": 1.0}
)


def write_drums(piece: Piece) -> list[Event]:
    """Return the strokes of the whole piece; their pitches are General MIDI drums."""
    if piece.instrument("drums") is None:
        return []
    events: dict[tuple[float, int], Event] = {}
    for section in piece.sections:
        if "drums" in section.roles:
            for event in _section(piece, section):
                place = (event.beat, event.pitch)
                if place not in events or events[place].accent < event.accent:
                    events[place] = event
    strokes = list(events.values())
    strokes.extend(_final_stroke(piece))
    return strokes


def _section(piece: Piece, section: Section) -> Iterator[Event]:
    rng = piece.rng(f"drums {section.start_beat:g}")
    seams = dict(_fills(piece, section, rng))
    for drum, figure in _groove(piece, section).items():
        for beat, _, symbol in lay_figure(figure, section.start_beat, section.end_beat):
            bar = int((beat - section.start_beat) // piece.grid.beats_per_bar)
            is_filled = bar in seams and beat >= seams[bar][0] and drum != "kick"
            if not is_filled and rng.random() >= _LEFT_OUT.get(symbol, 0.0):
                yield _event(drum, beat, _ACCENTS.get(symbol, 0.9))
    for start_beat, fill in seams.values():
        yield from _fill(fill, start_beat, section.end_beat)
    if section.start_beat > 0 and section.energy > -0.2 and not section.light_drums:
        yield _event("crash", section.start_beat, 0.95)


def _fill(fill: Mapping[Drum, Figure], start_beat: float, end_beat: float) -> Iterator[Event]:
    """Yield a fill, growing towards its end."""
    for drum, figure in fill.items():
        beats = len(figure) / 4
        for beat, _, symbol in lay_figure(figure, start_beat, min(start_beat + beats, end_beat)):
            yield _event(drum, beat, (0.8 + 0.25 * (beat - start_beat) / beats) * _ACCENTS[symbol])


def _groove(piece: Piece, section: Section) -> Mapping[Drum, Figure]:
    rows = piece.style.drums or (_PLAIN_WALTZ if piece.grid.beats_per_bar == 3 else _PLAIN_GROOVE,)
    groove = rows[figure_index(len(rows), section.energy)]
    if not section.light_drums:
        return groove
    light = {drum: figure for drum, figure in groove.items() if drum in _PULSE or drum == "kick"}
    return light or groove


def _fills(
    piece: Piece, section: Section, rng: random.Random
) -> Iterator[tuple[int, tuple[float, Mapping[Drum, Figure]]]]:
    """Yield (bar, (beat, fill)) for the ends of phrases: small within a section, big before the next."""
    fills = _FILLS[_drum_set(piece)]
    for bar in range(section.bars):
        is_seam = bar == section.bars - 1 and section.bars > 1
        if not is_seam and bar % PHRASE_BARS != PHRASE_BARS - 1:
            continue
        size = figure_index(3, section.energy) - (0 if is_seam else 1) - section.light_drums
        if size < 0:
            continue
        fill = rng.choice(fills[size])
        length = len(next(iter(fill.values()))) / 4
        end = min(section.start_beat + (bar + 1) * piece.grid.beats_per_bar, section.end_beat)
        if end - length >= section.start_beat:
            yield bar, (end - length, fill)


def _drum_set(piece: Piece) -> str:
    """Return which fills go with the style's drums."""
    drums = {drum for groove in piece.style.drums for drum in groove}
    if not drums or drums & {"snare", "rim", "clap"}:
        return "kit"
    return "hands" if "conga" in drums or "bongo" in drums else "toms"


def _final_stroke(piece: Piece) -> Iterator[Event]:
    if piece.final is None:
        return
    beat = piece.final.start_beat
    groove = _groove(piece, piece.sections[-1])
    if "kick" in groove:
        yield _event("kick", beat, 1.0)
    if piece.plan.arousal > -0.3 and "kick" in groove:
        yield _event("crash", beat, 0.9)
    else:
        yield _event(next(iter(drum for drum in groove if drum != "kick"), "kick"), beat, 0.8)


def _event(drum: Drum, beat: float, accent: float) -> Event:
    return Event(beat, _RINGING_BEATS.get(drum, _STROKE_BEATS), GENERAL_MIDI[drum], accent)
