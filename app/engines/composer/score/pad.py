"""The pad: long open chords behind everything, below the tune."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from app.engines.composer.instruments import Instrument
from app.engines.composer.score.changes import Span
from app.engines.composer.score.form import Section
from app.engines.composer.score.piece import HIGHEST_ROOT, LOW_ROOT, Event, Line, Piece
from app.engines.composer.score.voicing import Hands, Voicing

_LONGEST_BEATS: Final = 16.0
"""A common tone is held over for no longer; then the bow turns."""

_SWELL: Final = (0.88, 0.97, 1.06, 0.97)
"""Loudness of the chords of a phrase, one after another."""

_LOWEST, _HIGHEST, _LEAST_SPAN = 48, 67, 14
_DISTANCE: Final = 3
"""Semitones from the tune; what is closer to it, or above it, hides it."""


def write_pad(piece: Piece, melody: Sequence[Event]) -> list[Event]:
    """Return long chords whose common tones are held over, swelling towards the middle of a phrase."""
    instrument = piece.instrument("pad")
    if instrument is None:
        return []
    writer = _Writer(piece, instrument, melody)
    events = [event for section in piece.sections_of("pad") for event in writer.section(section)]
    if piece.final is not None:
        final = piece.final
        events.extend(Event(final.start_beat, final.beats, pitch, 0.95) for pitch in writer.chord(final))
    return [event._replace(accent=LOW_ROOT) if event.pitch <= HIGHEST_ROOT else event for event in events]


class _Writer:
    """Writes section after section; the hands remember where they were."""

    def __init__(self, piece: Piece, instrument: Instrument, melody: Sequence[Event]) -> None:
        has_tune = piece.instrument("melody") is not None
        highest = min(_HIGHEST, max(piece.tune_register.lowest, _LOWEST + _LEAST_SPAN)) if has_tune else _HIGHEST
        self._piece = piece
        self._tune = Line(melody if has_tune else ())
        self._floor = instrument.lowest
        self._hands = Hands(
            piece.register("pad", _LOWEST, highest),
            spacing="open",
            rootless=piece.instrument("bass") is not None,
            floor=instrument.lowest,
        )

    def section(self, section: Section) -> Iterator[Event]:
        """Yield the chords of a section."""
        held: dict[int, Event] = {}
        for index, span in enumerate(self._piece.spans_of(section)):
            before, held = held, {}
            for pitch in self.chord(span):
                if pitch in before and before[pitch].beats < _LONGEST_BEATS:
                    event = before.pop(pitch)
                    held[pitch] = event._replace(beats=span.end_beat - event.beat)
                else:
                    held[pitch] = Event(span.start_beat, span.beats, pitch, _SWELL[index % len(_SWELL)])
            yield from before.values()
        yield from held.values()

    def chord(self, span: Span) -> Voicing:
        """Return the tones of a chord that leave the tune alone, over a low root if nobody plays the bass."""
        voicing = self._hands.grip(span.harmony.pitch_classes)
        tune = [event.pitch for event in self._tune.sounding(span.start_beat, span.end_beat)]
        highest = min(tune, default=voicing[-1] + _DISTANCE) - _DISTANCE
        kept = [pitch for pitch in voicing if pitch <= highest]
        for pitch in voicing[len(kept) :]:
            # It goes an octave down, or is left out where that would be too low or too close to another.
            lower = pitch - 12
            if max(self._floor, _LOWEST) <= lower <= highest and all(abs(lower - other) >= _DISTANCE for other in kept):
                kept.append(lower)
        root = self._piece.low_root("pad", span)
        if root is not None and all(pitch - root >= _DISTANCE for pitch in kept):
            kept.append(root)
        return tuple(sorted(kept)) or voicing[:1]
