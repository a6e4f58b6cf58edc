"""Voice leading: which octave each tone of a chord is played in.

The hand that plays chords moves as little as it can: common tones stay, the others go to
the nearest place. Low thirds are mud and semitones inside a chord are rubs, so both cost
more than any motion.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

Voicing = tuple[int, ...]
"""MIDI numbers from below."""

_MOST_VOICES: Final = 4
_MUDDY_BELOW: Final = 53
"""Under F3 two tones closer than a fourth blur."""

_MUD, _RUB, _CROWDED, _OUTSIDE, _CENTRING, _TOP_MOTION = 6.0, 40.0, 15.0, 8.0, 0.5, 0.5
"""What each fault of a voicing costs, in semitones of motion."""


@dataclass(frozen=True, slots=True)
class Register:
    """The lowest and highest note of a part, both included, as MIDI numbers."""

    lowest: int
    highest: int

    @property
    def centre(self) -> float:
        return (self.lowest + self.highest) / 2

    def clipped(self, lowest: int, highest: int) -> Register:
        """Return what of this register lies within others' bounds, shifted in where nothing does."""
        low = min(max(self.lowest, lowest), max(highest - (self.highest - self.lowest), lowest))
        return Register(low, min(low + self.highest - self.lowest, highest))

    def place(self, pitch_class: int, near: float) -> int:
        """Return the note of a pitch class within the register that lies nearest to `near`."""
        lowest = self.lowest + (pitch_class - self.lowest) % 12
        within = range(lowest, self.highest + 1, 12)
        # A register narrower than an octave may lack the tone; then it is left by a little.
        return min(within or (lowest, lowest - 12), key=lambda pitch: (abs(pitch - near), pitch))


@dataclass(slots=True)
class Hands:
    """Somebody who plays chords, one after another.

    Attributes:
        register: Where the chords lie.
        spacing: "close" as a hand grips, "open" as a section of strings spreads.
        rootless: Chords of four tones leave their root to the bass.
        voices: The most tones struck at once.
        floor: The lowest note of the instrument.
    """

    register: Register
    spacing: Literal["close", "open"] = "close"
    rootless: bool = False
    voices: int = _MOST_VOICES
    floor: int = 0
    _last: Voicing = ()
    _known: dict[tuple[tuple[int, ...], Voicing], Voicing] = field(default_factory=dict)

    def grip(self, pitch_classes: Sequence[int]) -> Voicing:
        """Return the chord, root first in `pitch_classes`, in the position nearest to the one before."""
        tones = self._tones(tuple(pitch_classes))
        # Progressions come round, and so do the ways through them.
        place = (tones, self._last)
        if place not in self._known:
            playable = (voicing for voicing in self._candidates(tones) if voicing[0] >= self.floor)
            self._known[place] = min(playable, key=lambda voicing: (self._cost(voicing), voicing))
        self._last = self._known[place]
        return self._last

    def _tones(self, tones: tuple[int, ...]) -> tuple[int, ...]:
        if self.rootless and len(tones) > 3:
            tones = tones[1:]
        if len(tones) > self.voices:
            # The fifth says least about a chord; of a rootless one it is the second tone.
            fifth = 1 if self.rootless else 2
            tones = (*tones[:fifth], *tones[fifth + 1 :])
        return tones[: self.voices]

    def _candidates(self, tones: tuple[int, ...]) -> Iterator[Voicing]:
        low = self.register.lowest - 6
        for turn in range(len(tones)):
            turned = (*tones[turn:], *tones[:turn])
            for base in range(low + (turned[0] - low) % 12, self.register.highest, 12):
                close = [base]
                for tone in turned[1:]:
                    close.append(close[-1] + ((tone - close[-1]) % 12 or 12))
                yield tuple(close)
                if self.spacing == "open":
                    # The second voice from below goes up an octave, or the second from above down one.
                    yield tuple(sorted((close[0], *close[2:], close[1] + 12)))
                    yield tuple(sorted((close[-2] - 12, *close[:-2], close[-1])))

    def _cost(self, voicing: Voicing) -> float:
        pairs = tuple(itertools.pairwise(voicing))
        mud = sum(above - below < 5 for below, above in pairs if below < _MUDDY_BELOW)
        rub = sum(above - below in (1, 13) for below, above in itertools.combinations(voicing, 2))
        outside = max(self.register.lowest - voicing[0], 0) + max(voicing[-1] - self.register.highest, 0)
        centring = abs((voicing[0] + voicing[-1]) / 2 - self.register.centre)
        crowded = self.spacing == "open" and voicing[-1] - voicing[0] < 12
        return (
            _CROWDED * crowded
            + _MUD * mud
            + _RUB * rub
            + _OUTSIDE * outside
            + _CENTRING * centring
            + self._motion(voicing)
        )

    def _motion(self, voicing: Voicing) -> float:
        if not self._last:
            return 0.0
        moved = sum(min(abs(pitch - old) for old in self._last) for pitch in voicing)
        return moved + _TOP_MOTION * abs(voicing[-1] - self._last[-1])


def power_chord(pitch_classes: Sequence[int], register: Register) -> Voicing:
    """Return root, fifth and octave, all that distortion leaves clear; the fifth only if the chord has one."""
    root = register.lowest + (pitch_classes[0] - register.lowest) % 12
    fifth = next((root + step for step in (7, 6, 8) if (root + step) % 12 in pitch_classes), root + 12)
    return (root, fifth, root + 12) if fifth != root + 12 else (root, root + 12)


def ladder(pitch_classes: Sequence[int], register: Register) -> Voicing:
    """Return every note of the pitch classes within the register, from below."""
    return tuple(pitch for pitch in range(register.lowest, register.highest + 1) if pitch % 12 in pitch_classes)
