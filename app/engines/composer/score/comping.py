"""Comping: chords struck in the style's figures.

They keep out of the tune's way: below its home tone, with fewer tones and softer while it
plays; only under a low tune do they lie above it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from app.engines.composer.instruments import Instrument
from app.engines.composer.score.changes import Span
from app.engines.composer.score.figures import Stroke, choose_figure, lay_figure
from app.engines.composer.score.form import Section
from app.engines.composer.score.piece import LOW_ROOT, UNDER_TUNE, Event, Piece, rings, under_chords
from app.engines.composer.score.voicing import Hands, Register, Voicing, power_chord

_DISTORTED: Final = frozenset({"distorted guitar", "overdriven guitar"})
_STRUM_S: Final = (0.008, 0.030)
_ROLL_S: Final = 0.055
_RINGING_BEATS: Final = 2.0

_SHORT_BARS: Final = 3
_BARE_ENERGY: Final = 0.5
"""Energy added where a short piece has neither beat nor running figure, and would be thin."""


def write_chords(piece: Piece) -> list[Event]:
    """Return the comping, in the figures of the style, from calm to lively by the sections' energy."""
    instrument = piece.instrument("chords")
    if instrument is None:
        return []
    player = _Player(piece, instrument)
    events = [event for section in piece.sections_of("chords") for event in player.section(section)]
    if piece.final is not None:
        events.extend(player.last_chord(piece.final))
    return events


class _Player:
    """Plays section after section; the hands remember where they were."""

    def __init__(self, piece: Piece, instrument: Instrument) -> None:
        self._piece = piece
        self._instrument = instrument
        self._is_distorted = instrument.name in _DISTORTED
        self._register = _register(piece)
        self._has_bass = piece.instrument("bass") is not None
        self._thin, self._full = (
            Hands(self._register, rootless=self._has_bass, voices=voices, floor=instrument.lowest) for voices in (3, 4)
        )
        self._rng = piece.rng("chords")

    def section(self, section: Section) -> Iterator[Event]:
        """Yield the chords of a section."""
        piece = self._piece
        has_tune = "melody" in section.roles
        hands, accent = (self._thin, UNDER_TUNE) if has_tune else (self._full, 1.0)
        figure = choose_figure(piece.style.comping, _energy(piece, section))
        strokes = lay_figure(figure, section.start_beat, section.end_beat)
        voicing: Voicing = ()
        current: Span | None = None
        for index, (stroke, span) in enumerate(under_chords(strokes, piece.spans_of(section))):
            if span is not current:
                current = span
                voicing, root = self._grip(hands, span), self._low_root(span)
                if root is not None:
                    yield root
                    # Struck again within the chord, it would be cut off.
                    voicing = tuple(pitch for pitch in voicing if pitch != root.pitch)
            if stroke.symbol.isdigit():
                yield self._single(stroke, span, voicing, accent)
            else:
                yield from self._struck(stroke, voicing, accent, is_down=index % 2 == 0)

    def last_chord(self, final: Span) -> Iterator[Event]:
        """Yield the final chord: rolled upwards, as a hand would."""
        root = self._low_root(final)
        if root is not None:
            yield root
        roll_s = 0.0 if self._is_distorted or not self._piece.style.looseness else _ROLL_S
        for index, pitch in enumerate(self._grip(self._full, final)):
            yield Event(final.start_beat, final.beats, pitch, 0.95, roll_s * index)

    def _grip(self, hands: Hands, span: Span) -> Voicing:
        if self._is_distorted:
            return power_chord(span.harmony.pitch_classes, Register(self._instrument.lowest, self._instrument.highest))
        return hands.grip(span.harmony.pitch_classes)

    def _low_root(self, span: Span) -> Event | None:
        """With nobody on the bass, the left hand gives the root with each new chord."""
        root = self._piece.low_root("chords", span, self._register.lowest + 2)
        return None if root is None or self._is_distorted else Event(span.start_beat, span.beats, root, LOW_ROOT)

    def _single(self, stroke: Stroke, span: Span, voicing: Voicing, accent: float) -> Event:
        """Return one tone of a broken chord; it rings on where the instrument lets it."""
        octave, index = divmod(int(stroke.symbol), len(voicing))
        beats = stroke.beats
        if rings(self._instrument):
            beats = max(beats, min(span.end_beat - stroke.beat, _RINGING_BEATS))
        return Event(stroke.beat, beats, voicing[index] + 12 * octave, accent)

    def _struck(self, stroke: Stroke, voicing: Voicing, accent: float, *, is_down: bool) -> Iterator[Event]:
        """Yield the tones of a chord, together or, on a guitar, strummed down and up in turn."""
        struck = voicing[1:] if stroke.symbol == "^" and len(voicing) > 2 else voicing
        spread_s = self._rng.uniform(*_STRUM_S) if self._instrument.family == "guitar" else 0.0
        for index, pitch in enumerate(struck if is_down else struck[::-1]):
            # The top of a chord is what is heard of it as a line.
            weight = 1.0 if pitch == struck[-1] else 0.92
            yield Event(stroke.beat, stroke.beats, pitch, accent * weight, spread_s * index / len(struck))


def _energy(piece: Piece, section: Section) -> float:
    is_bare = "drums" not in section.roles and piece.instrument("arpeggio") is None
    return section.energy + (_BARE_ENERGY if is_bare and piece.grid.bars <= _SHORT_BARS else 0.0)


def _register(piece: Piece) -> Register:
    """Return where the chords lie: below the home tone of the tune, or above a low tune."""
    tune = piece.tune_register
    if piece.instrument("melody") is None:
        return piece.register("chords", 55, 74)
    if tune.lowest >= 57:
        highest = min(tune.lowest + 4, 67)
        return piece.register("chords", highest - 17, highest)
    return piece.register("chords", 62, 79)
