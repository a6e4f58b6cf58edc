"""What every writer of a part is given, and what it hands back."""

from __future__ import annotations

import random
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

from app.engines.composer.instruments import INSTRUMENTS, Instrument, Role
from app.engines.composer.plan import Plan
from app.engines.composer.score.changes import Span
from app.engines.composer.score.figures import Stroke
from app.engines.composer.score.form import Section
from app.engines.composer.score.grid import Grid
from app.engines.composer.score.harmony import Key
from app.engines.composer.score.voicing import Register
from app.engines.composer.styles import Style

UNDER_TUNE: Final = 0.86
"""Loudness of the harmony while the tune plays."""

LOW_ROOT: Final = 1.4
"""Loudness of the root that stands in for a bass."""

_RINGING: Final = frozenset({"keys", "bells", "guitar", "strings", "world"})
"""Families whose broken chords ring on under a pedal or with open strings, unless they are bowed."""

_HARMONY: Final[frozenset[Role]] = frozenset({"chords", "arpeggio", "pad"})
_LEADS: Final[tuple[Role, ...]] = ("melody", "bass", "counter")
"""Who carries a piece without harmony, the first that there is."""

_BREATHING: Final = frozenset({"winds", "reeds", "brass", "voice"})
_LOWEST_ROOT: Final = 36
HIGHEST_ROOT: Final = 47
"""Between C2 and B2 roots lie that stand in for a bass."""

_TUNE_SPAN, _LEAST_TUNE_SPAN = 19, 16
"""Semitones: about an octave and a half, what a voice can sing without strain."""


class Event(NamedTuple):
    """A note as written, before it is played.

    Attributes:
        beat: From the start of the piece.
        beats: How long it is held.
        pitch: MIDI number.
        accent: How loud within its part; 1 is normal.
        delay_s: How much later than the beat, for strums and rolls.
    """

    beat: float
    beats: float
    pitch: int
    accent: float = 1.0
    delay_s: float = 0.0

    @property
    def end(self) -> float:
        return self.beat + self.beats


@dataclass(frozen=True)
class Piece:
    """The piece before its notes: time, form and chords."""

    plan: Plan
    style: Style
    grid: Grid
    sections: tuple[Section, ...]
    spans: tuple[Span, ...]

    @cached_property
    def key(self) -> Key:
        return Key(self.plan.tonic, self.plan.mode)

    @cached_property
    def final(self) -> Span | None:
        """The final chord, if there is one."""
        return self.spans[-1] if self.grid.has_final_chord else None

    @property
    def bar_s(self) -> float:
        """Seconds a bar."""
        return self.grid.beats_per_bar * self.grid.beat_s

    @cached_property
    def _starts(self) -> list[float]:
        return [span.start_beat for span in self.spans]

    def sections_of(self, role: Role) -> list[Section]:
        """Return the sections in which a role plays."""
        return [section for section in self.sections if role in section.roles]

    def span_at(self, beat: float) -> Span:
        """Return the chord that rules at a beat."""
        return self.spans[max(bisect_right(self._starts, beat + 1e-6) - 1, 0)]

    def spans_of(self, section: Section) -> Sequence[Span]:
        """Return the chords of a section."""
        first = bisect_right(self._starts, section.start_beat + 1e-6) - 1
        last = bisect_right(self._starts, section.end_beat - 1e-6)
        return self.spans[max(first, 0) : last]

    def rng(self, part: str, *, of_theme: bool = False) -> random.Random:
        """Return a generator of a part's own, so that no part changes with who else plays."""
        return random.Random(f"{self.plan.theme if of_theme else self.plan.seed}/{part}")

    def instrument(self, role: Role) -> Instrument | None:
        """Return what the player of a role plays, if there is one."""
        return next((INSTRUMENTS[player.instrument] for player in self.plan.players if player.role == role), None)

    @cached_property
    def tune_register(self) -> Register:
        """Where the melody lies: by mood, within what its instrument sings without strain."""
        instrument = self.instrument("melody")
        if instrument is None:
            return Register(62, 62 + _TUNE_SPAN)
        lowest = round(62 + 3 * self.plan.arousal + 2 * self.plan.valence)
        # A low instrument sings at the top of its range, but not on its last notes.
        highest = min(lowest + _TUNE_SPAN, instrument.highest - 2)
        lowest = max(min(lowest, highest - _LEAST_TUNE_SPAN), instrument.lowest)
        return Register(lowest, max(highest, min(lowest + _LEAST_TUNE_SPAN, instrument.highest)))

    def register(self, role: Role, lowest: int, highest: int) -> Register:
        """Return a register moved into the range of the role's instrument."""
        instrument = self.instrument(role)
        wanted = Register(lowest, highest)
        return wanted if instrument is None else wanted.clipped(instrument.lowest, instrument.highest)

    def is_unaccompanied(self, role: Role) -> bool:
        """Tell whether nobody plays the harmony and the role is the one that has to carry the piece."""
        roles = {player.role for player in self.plan.players}
        return roles.isdisjoint(_HARMONY) and role == next((lead for lead in _LEADS if lead in roles), None)

    def low_root(self, role: Role, span: Span, highest: int = HIGHEST_ROOT) -> int | None:
        """Return the root that the role puts under a chord with nobody on the bass, if its instrument goes so low."""
        instrument = self.instrument(role)
        if instrument is None or self.instrument("bass") is not None:
            return None
        lowest = max(instrument.lowest, _LOWEST_ROOT)
        root = lowest + (span.harmony.root - lowest) % 12
        return root if root <= highest else None

    def breathes(self, role: Role) -> bool:
        """Tell whether the role's player needs air."""
        instrument = self.instrument(role)
        return instrument is not None and instrument.family in _BREATHING


class Line:
    """A written line of one note at a time, to look up what of it sounds when."""

    def __init__(self, events: Sequence[Event]) -> None:
        self._events = events
        self._starts = [event.beat for event in events]

    def sounding(self, start_beat: float, end_beat: float) -> list[Event]:
        """Return the notes that sound between two beats."""
        first = max(bisect_right(self._starts, start_beat) - 1, 0)
        last = bisect_left(self._starts, end_beat)
        return [event for event in self._events[first:last] if event.end > start_beat]


def rings(instrument: Instrument) -> bool:
    """Tell whether the tones of a broken chord ring on."""
    return instrument.family in _RINGING and not instrument.sustained


def under_chords(strokes: Iterable[Stroke], spans: Sequence[Span]) -> Iterator[tuple[Stroke, Span]]:
    """Yield each stroke with its chord; one that is held into another chord is struck again there."""
    index = 0
    for stroke in strokes:
        while spans[index].end_beat <= stroke.beat + 1e-6 and index < len(spans) - 1:
            index += 1
        here = index
        beat = stroke.beat
        while beat < stroke.end - 1e-6:
            end = min(stroke.end, spans[here].end_beat) if here < len(spans) - 1 else stroke.end
            yield Stroke(beat, end - beat, stroke.symbol), spans[here]
            beat = end
            here += 1
