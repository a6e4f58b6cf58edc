"""The answering line: it speaks where the tune rests, and otherwise holds a long tone below it."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Final

from app.engines.composer.score.changes import Span
from app.engines.composer.score.form import Section
from app.engines.composer.score.harmony import rubs
from app.engines.composer.score.piece import Event, Line, Piece
from app.engines.composer.score.voicing import Register, ladder

_LEAST_GAP_BEATS: Final = 1.0
_SPAN: Final = 14
_BELOW: Final = 7
_LEAST_DISTANCE: Final = 3
"""Semitones from the tune; closer than a third, two lines are heard as one that is out of tune."""

_SHORTEST_BEATS: Final = 0.4
_ALONE_BEATS: Final = 2.0
_ANSWERS: Final = ((0.5, 1.0), (0.5, 1.0, 1.5), (0.75, 1.0), (1.0,))
"""Starts of an answer's notes after the first, in beats from its beginning; what does not fit the gap is left out."""


def write_counter(piece: Piece, melody: Sequence[Event]) -> list[Event]:
    """Return the line of the counter-melody, made after the tune it answers."""
    instrument = piece.instrument("counter")
    if instrument is None:
        return []
    lowest = piece.tune_register.lowest - _BELOW
    writer = _Writer(piece, piece.register("counter", lowest, lowest + _SPAN), melody)
    events: list[Event] = []
    for section in piece.sections_of("counter"):
        events.extend(writer.section(section))
    if piece.final is not None:
        events.append(writer.long_tone(piece.final))
    return events


class _Writer:
    """Writes section after section; remembers its last note."""

    def __init__(self, piece: Piece, register: Register, melody: Sequence[Event]) -> None:
        self._piece = piece
        self._register = register
        self._last = round(register.centre)
        self._is_alone = piece.is_unaccompanied("counter")
        answer = piece.rng("answer", of_theme=True).choice(_ANSWERS)
        self._answer: Sequence[float] = max(_ANSWERS, key=len) if self._is_alone else answer
        self._tune = Line(melody)

    def section(self, section: Section) -> Iterator[Event]:
        """Yield an answer where the tune rests in a chord's time, a long tone elsewhere."""
        rng = self._piece.rng(f"counter {section.start_beat:g}")
        for span in self._piece.spans_of(section):
            if self._is_alone:
                yield from self._alone(span, rng)
                continue
            gap = self._gap(span)
            if gap is None:
                yield self.long_tone(span)
            else:
                yield from self._answered(span, gap, rng)

    def long_tone(self, span: Span) -> Event:
        """Return a held tone of the chord, near the last one and clear of the tune."""
        tune = [event.pitch for event in self._tune.sounding(span.start_beat, span.end_beat)]
        third_and_seventh = span.harmony.pitch_classes[1::2]

        def cost(pitch: int) -> tuple[float, int]:
            clash = sum(abs(pitch - other) < _LEAST_DISTANCE or rubs(other, (pitch % 12,)) for other in tune)
            above = sum(pitch > other for other in tune)
            return abs(pitch - self._last) + 5.0 * clash + 2.0 * above - 2.0 * (pitch % 12 in third_and_seventh), pitch

        self._last = min(ladder(span.harmony.pitch_classes, self._register), key=cost)
        beats = span.beats if span is self._piece.final else max(span.beats - 0.25, span.beats * 0.8)
        return Event(span.start_beat, beats, self._last, 0.85)

    def _answered(self, span: Span, gap: tuple[float, float], rng: random.Random) -> Iterator[Event]:
        """Yield a long tone up to the gap, and the answer in it."""
        start, end = gap
        if start - span.start_beat >= 1.0:
            long = self.long_tone(span)
            yield long._replace(beats=start - span.start_beat - 0.125)
        yield from self._phrase(span, start, end, rng)

    def _alone(self, span: Span, rng: random.Random) -> Iterator[Event]:
        """Yield one phrase after another: with nobody to answer, the line is the tune."""
        start = span.start_beat
        while start < span.end_beat - 1e-6:
            end = min(start + _ALONE_BEATS, span.end_beat)
            yield from self._phrase(span, start, end, rng)
            start = end

    def _phrase(self, span: Span, start: float, end: float, rng: random.Random) -> Iterator[Event]:
        """Yield tones of the chord in one direction, the last one up to the end."""
        tones = ladder(span.harmony.pitch_classes, self._register)
        place = min(range(len(tones)), key=lambda index: abs(tones[index] - self._last))
        direction = rng.choice((-1, 1))
        starts = [start, *(start + offset for offset in self._answer if start + offset < end - _SHORTEST_BEATS)]
        for beat, following in zip(starts, [*starts[1:], end], strict=True):
            yield Event(beat, following - beat, tones[place], 1.0)
            self._last = tones[place]
            if not 0 <= place + direction < len(tones):
                direction = -direction
            place = min(max(place + direction, 0), len(tones) - 1)

    def _gap(self, span: Span) -> tuple[float, float] | None:
        """Return from when to when the tune rests within the span, if it rests long enough."""
        sounding = self._tune.sounding(span.start_beat, span.end_beat)
        end = max((event.end for event in sounding), default=span.start_beat)
        return (end, span.end_beat) if span.end_beat - end >= _LEAST_GAP_BEATS else None
