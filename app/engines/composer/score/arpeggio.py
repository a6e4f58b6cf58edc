"""The running figure over the tones of each chord."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

from app.engines.composer.instruments import Instrument
from app.engines.composer.score.changes import Span
from app.engines.composer.score.figures import choose_figure, lay_figure
from app.engines.composer.score.form import Section
from app.engines.composer.score.piece import LOW_ROOT, UNDER_TUNE, Event, Piece, rings, under_chords
from app.engines.composer.score.voicing import Register, Voicing, ladder

_RINGING_BEATS: Final = 1.5
_LAST_RUN: Final = 4
_SPAN: Final = 21
"""Semitones: enough for a figure over three tones, and no more, or it would run through the tune."""


def write_arpeggio(piece: Piece) -> list[Event]:
    """Return the figure, from calm to lively by the sections' energy, and a last run up the final chord."""
    instrument = piece.instrument("arpeggio")
    if instrument is None:
        return []
    register = _register(piece, instrument)
    least_beats = _RINGING_BEATS if rings(instrument) else 0.0
    events = [
        event
        for section in piece.sections_of("arpeggio")
        for event in _section(piece, section, register, least_beats=least_beats)
    ]
    if piece.final is not None:
        events.extend(_last_run(piece.final, register))
    return events


def _section(piece: Piece, section: Section, register: Register, *, least_beats: float) -> Iterator[Event]:
    figure = choose_figure(piece.style.arpeggio, section.energy)
    strokes = lay_figure(figure, section.start_beat, section.end_beat)
    accent = UNDER_TUNE if "melody" in section.roles else 1.0
    tones: Voicing = ()
    current: Span | None = None
    for stroke, span in under_chords(strokes, piece.spans_of(section)):
        if span is not current:
            current = span
            tones = _climb(span, register)
            root = piece.low_root("arpeggio", span)
            if root is not None and piece.instrument("chords") is None:
                yield Event(span.start_beat, span.beats, root, LOW_ROOT)
        pitch = tones[int(stroke.symbol) % len(tones)]
        beats = max(stroke.beats, min(least_beats, span.end_beat - stroke.beat))
        yield Event(stroke.beat, beats, pitch, accent * (1.08 if stroke.beat % 2 == 0 else 0.94))


def _last_run(final: Span, register: Register) -> Iterator[Event]:
    step_beats = 0.25 if final.beats > 2 else 0.125
    for index, pitch in enumerate(_climb(final, register)[:_LAST_RUN]):
        offset = index * step_beats
        yield Event(final.start_beat + offset, final.beats - offset, pitch, 0.95 - 0.05 * index)


def _register(piece: Piece, instrument: Instrument) -> Register:
    """Return from where the figure climbs: from far below the tune, or above it on an instrument that is high."""
    tune = piece.tune_register
    if piece.instrument("melody") is None:
        return piece.register("arpeggio", 55, 91)
    lowest = tune.lowest - 15
    if instrument.lowest > lowest + 5:
        lowest = tune.highest - 9
    return piece.register("arpeggio", lowest, lowest + _SPAN)


def _climb(span: Span, register: Register) -> Voicing:
    """Return the chord's tones from its root up, or from the lowest there is."""
    tones = ladder(span.harmony.pitch_classes, register)
    from_root = tuple(itertools.dropwhile(lambda pitch: pitch % 12 != span.harmony.root, tones))
    return from_root if len(from_root) > 3 else tones
