"""The changes: which chord rules when, from the first bar to the final chord."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from app.engines.composer.plan import Plan
from app.engines.composer.score.form import Material, Section
from app.engines.composer.score.grid import Grid
from app.engines.composer.score.harmony import Harmony, Key, read_numeral, read_progression, rubs, suits
from app.engines.composer.styles import Style

Bars = Sequence[tuple[Harmony, ...]]
"""The chords of each bar of a progression."""

_LEADS_HOME: Final = frozenset({1, 5, 7, 10, 11})
"""Semitones from the tonic to the roots after which a tonic chord is an arrival."""

_FIFTH: Final = 7
_FEW_BARS, _SLOW_BAR_S = 2.5, 3.2
"""In so few and so slow bars, a chord a bar would be no progression."""

_BLUES_BARS, _TURNAROUND_BARS = 12, 2
_SHORT_BLUES: Final[Mapping[int, Sequence[int]]] = {4: (0, 4, 8, 11), 8: (0, 1, 2, 3, 8, 9, 10, 11)}
"""Which of the twelve bars make a shorter chorus."""


class Span(NamedTuple):
    """A chord in its place; the last one of a piece is the final chord."""

    start_beat: float
    end_beat: float
    harmony: Harmony

    @property
    def beats(self) -> float:
        return self.end_beat - self.start_beat


def lay_changes(plan: Plan, style: Style, grid: Grid, sections: Sequence[Section]) -> tuple[Span, ...]:
    """Return the chords of the piece without gaps, from beat 0 to the end."""
    key = Key(plan.tonic, plan.mode)
    progressions = _choose(plan, style, key)
    if grid.body_beats <= _FEW_BARS * grid.beats_per_bar and grid.beats_per_bar * grid.beat_s >= _SLOW_BAR_S:
        progressions = {material: [_paired(bars) for bars in takes] for material, takes in progressions.items()}
    bars = [bar for section in sections for bar in _section_bars(section, progressions, style)]
    cadence = _cadence(progressions["A"][0], style, key)
    final = _final_chord(progressions["A"][0], style, key)
    spans = [span for bar, chords in enumerate(bars) for span in _in_bar(grid, bar, chords)]
    _lead_on(spans, cadence, final, key)
    if grid.has_final_chord:
        spans.append(Span(grid.body_beats, grid.end_beat, final))
    return tuple(spans)


def _choose(plan: Plan, style: Style, key: Key) -> Mapping[Material, Sequence[Bars]]:
    """Return for each material the progressions it goes through, take by take."""
    bright, dark = style.progressions
    pool = list(bright if _is_bright(plan, style) else dark)
    random.Random(f"{plan.theme}/progressions").shuffle(pool)
    fits = all(suits(progression, key) for progression in pool)
    read = [read_progression(each, key, chord_tones=style.chord_tones, diatonic=not fits) for each in pool]
    others: list[Bars] = [*read[1:]] or [_rotated(read[0])]
    # A stays what it is, because a return has to be recognised; the others may come back changed.
    return {"A": read[:1], "B": others, "C": [*reversed(others)] if len(others) > 1 else [_rotated(read[0])]}


def _is_bright(plan: Plan, style: Style) -> bool:
    bright, dark = style.modes
    if bright != dark and plan.mode in style.modes:
        return plan.mode == bright
    minor_modes = [Key(0, mode).is_minor for mode in style.modes]
    is_minor = Key(0, plan.mode).is_minor
    if minor_modes[0] != minor_modes[1]:
        return minor_modes[0] == is_minor
    return plan.valence >= 0


def _paired(bars: Bars) -> Bars:
    """Return the progression with two chords a bar, so that little time has room for all of it."""
    return [(first[0], second[-1]) for first, second in zip(bars[::2], bars[1::2], strict=True)]


def _rotated(bars: Bars) -> Bars:
    return [*bars[len(bars) // 2 :], *bars[: len(bars) // 2]]


def _section_bars(
    section: Section, progressions: Mapping[Material, Sequence[Bars]], style: Style
) -> Iterator[tuple[Harmony, ...]]:
    takes = progressions["A" if style.form == "blues" else section.material]
    progression = takes[section.take % len(takes)]
    if style.form == "blues" and len(progression) == _BLUES_BARS:
        if section.name in ("intro", "outro"):
            progression = progression[-_TURNAROUND_BARS:]
        elif section.bars in _SHORT_BLUES:
            progression = [progression[bar] for bar in _SHORT_BLUES[section.bars]]
    for bar in range(section.bars):
        yield progression[bar % len(progression)]


def _final_chord(home: Bars, style: Style, key: Key) -> Harmony:
    """Return the tonic chord with which a piece ends: of a blues with its seventh, of others at rest."""
    if style.form == "blues":
        return home[0][0]
    chord = read_numeral(key.home, key, chord_tones=style.chord_tones)
    # The tune may come home to the root, for which a major seventh makes way.
    return read_numeral(f"{key.home}add9", key) if rubs(chord.root, chord.pitch_classes) else chord


def _cadence(home: Bars, style: Style, key: Key) -> Harmony:
    """Return what leads home: the song's own dominant, or what its mode has instead."""
    usual = read_numeral(key.cadence, key, chord_tones=style.chord_tones)
    roots = (usual.root, (key.tonic + _FIFTH) % 12)
    return next((chord for bar in reversed(home) for chord in reversed(bar) if chord.root in roots), usual)


def _lead_on(spans: list[Span], cadence: Harmony, final: Harmony, key: Key) -> None:
    """Make the last chord lead to what follows, if it does not by itself."""
    last = spans[-1]
    if (last.harmony.root - key.tonic) % 12 in _LEADS_HOME:
        return
    spans[-1] = last._replace(harmony=cadence)
    if len(spans) == 1:
        # So short a piece has time to be at home first.
        middle = last.start_beat + last.beats / 2
        spans[:] = [Span(last.start_beat, middle, final), Span(middle, last.end_beat, cadence)]


def _in_bar(grid: Grid, bar: int, chords: Sequence[Harmony]) -> Iterator[Span]:
    start, end = grid.beat_of_bar(bar), grid.beat_of_bar(bar + 1)
    # Two chords in three beats change on the third, and a bar cut short keeps its first.
    share = grid.beats_per_bar / len(chords) if grid.beats_per_bar % len(chords) == 0 else 2.0
    for index, harmony in enumerate(chords):
        first, last = start + index * share, end if index == len(chords) - 1 else start + (index + 1) * share
        if first < end - 1e-6:
            yield Span(first, min(last, end), harmony)
