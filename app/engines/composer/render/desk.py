"""The settings of the mixing desk: what each role, each instrument and each mood is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from app.engines.composer.instruments import INSTRUMENTS, Family, Role
from app.engines.composer.plan import Plan
from app.engines.composer.render.sampler import Vibrato


@dataclass(frozen=True, slots=True)
class Channel:
    """How a role is mixed.

    Attributes:
        level_db: While it plays, against the tune.
        pan: -1 (left) to 1 (right).
        send_db: How much of it the room hears.
        cutoff_hz: What a firm stroke leaves of its treble, in a piece of middling mood.
        presence_db: Around 3 kHz.
        under_melody_db: Turned down by this much while the tune plays.
        under_kick_db: Turned down by this much by the kick of a drum machine.
    """

    level_db: float
    pan: float
    send_db: float
    cutoff_hz: float
    presence_db: float = 0.0
    under_melody_db: float = 0.0
    under_kick_db: float = 0.0


CHANNELS: Final[Mapping[Role, Channel]] = {
    "melody": Channel(0.0, 0.08, 0.0, 6_500, presence_db=2.5),
    "counter": Channel(-3.5, -0.38, 1.0, 4_500, presence_db=-0.5, under_melody_db=1.0),
    "chords": Channel(-2.0, -0.18, -1.0, 4_200, presence_db=-1.5, under_melody_db=1.5, under_kick_db=3.5),
    "arpeggio": Channel(-3.5, 0.36, 0.0, 5_000, presence_db=-0.5, under_melody_db=1.0, under_kick_db=2.5),
    "pad": Channel(-6.0, 0.0, 2.0, 3_000, presence_db=-2.0, under_melody_db=1.0, under_kick_db=5.0),
    "bass": Channel(-1.0, 0.0, -12.0, 1_900, under_kick_db=2.0),
    "drums": Channel(0.0, 0.0, -7.0, 14_000),
}

WIDTHS: Final[Mapping[Family, float]] = {
    "keys": 0.2, "bells": 0.2, "organ": 0.42, "guitar": 0.3, "bass": 0.0, "strings": 0.22, "voice": 0.42, "brass": 0.22,
    "reeds": 0.2, "winds": 0.2, "synth": 0.5, "world": 0.22, "drums": 0.0,
}  # fmt: skip
"""Level of the side signal against the middle, by family."""

ENSEMBLE_WIDTHS: Final[Mapping[str, float]] = {
    "strings": 0.5, "brass": 0.42, "electric piano": 0.42, "pizzicato strings": 0.4,
}  # fmt: skip
"""The same where an instrument is many players, or a chorus is part of its sound."""

SPREAD: Final = frozenset({
    "piano", "honky-tonk piano", "harpsichord", "celesta", "glockenspiel", "music box", "vibraphone", "marimba",
    "xylophone", "dulcimer", "harp", "kalimba", "steel drums", "koto",
})  # fmt: skip
"""Instruments that are wide themselves: low notes are heard from the left, high ones from the right."""

_SPREAD_CENTRE: Final = 62
_SPREAD_PER_PITCH: Final = 0.023

VIBRATOS: Final[Mapping[str, Vibrato]] = {
    "violin": Vibrato(15, 5.8), "viola": Vibrato(14, 5.5), "cello": Vibrato(13, 5.2), "fiddle": Vibrato(8, 5.8),
    "voice": Vibrato(14, 5.3, 0.3), "trumpet": Vibrato(8, 5.0, 0.4), "muted trumpet": Vibrato(10, 5.2, 0.3),
    "trombone": Vibrato(8, 4.8, 0.4), "french horn": Vibrato(5, 4.8, 0.5), "soprano sax": Vibrato(15, 5.4),
    "alto sax": Vibrato(14, 5.2), "tenor sax": Vibrato(14, 5.0), "oboe": Vibrato(11, 5.4), "bassoon": Vibrato(9, 5.0),
    "clarinet": Vibrato(5, 5.0, 0.4), "flute": Vibrato(13, 5.2), "piccolo": Vibrato(9, 5.6), "recorder": Vibrato(8),
    "pan flute": Vibrato(12, 5.0), "shakuhachi": Vibrato(16, 4.6, 0.35), "whistle": Vibrato(10, 5.6),
    "harmonica": Vibrato(8, 5.2), "accordion": Vibrato(4, 5.0), "saw lead": Vibrato(9, 5.6, 0.3),
    "square lead": Vibrato(9, 5.6, 0.3), "overdriven guitar": Vibrato(10, 5.4, 0.35),
    "distorted guitar": Vibrato(10, 5.4, 0.35), "fretless bass": Vibrato(9, 4.8, 0.3),
}  # fmt: skip
"""Of what sings a line; organs, keys and what is plucked hold their pitch."""

SINGING: Final[frozenset[Role]] = frozenset({"melody", "counter"})
"""Roles that are played with vibrato; sections blend better without."""

DRUM_PANS: Final[Mapping[int, float]] = {
    37: 0.12, 38: 0.06, 39: -0.1, 40: 0.06, 41: 0.4, 42: -0.32, 43: 0.4, 44: -0.32, 45: 0.3, 46: -0.32, 47: 0.15,
    48: -0.1, 49: -0.45, 50: -0.25, 51: 0.42, 52: 0.5, 53: 0.42, 54: 0.35, 55: -0.5, 56: 0.28, 57: 0.5, 59: 0.42,
    60: -0.4, 61: -0.3, 62: 0.35, 63: 0.3, 64: 0.25, 69: -0.4, 70: 0.4, 75: -0.25, 76: -0.3, 77: -0.2, 80: 0.45,
    81: 0.45, 82: 0.4,
}  # fmt: skip
"""General MIDI drums as the listener sees the kit; what is not here stands in the middle."""

DRUM_TRIMS_DB: Final[Mapping[int, float]] = {35: -2.5, 36: -2.5}
"""Within the kit: alone a kick is as loud as a snare, but it shares its place with the bass."""

KIT_LEVELS_DB: Final[Mapping[str, float]] = {"electronic drums": 2.0, "brushes": 1.0}
"""On top of the drums' level: how far in front a kit stands in the music that is made with it."""

KICKS: Final = frozenset({35, 36})
PUMPING_KIT: Final = "electronic drums"

_DRUMS_MOOD_DB: Final = 2.0
_TILT_MOOD_DB: Final = 1.6
_KIT_TILT_SHARE: Final = 0.5
"""Cymbals are all treble: what makes others bright makes them harsh."""


def width(instrument: str) -> float:
    """Return the level of an instrument's side signal against its middle."""
    return ENSEMBLE_WIDTHS.get(instrument, WIDTHS[INSTRUMENTS[instrument].family])


def vibrato(instrument: str, role: Role) -> Vibrato | None:
    """Return how an instrument sings in a role; None holds its pitch."""
    return VIBRATOS.get(instrument) if role in SINGING else None


def pan(role: Role, pitch: int) -> float:
    """Return where a note of a kit, or of an instrument that is wide itself, is heard: -1 (left) to 1 (right)."""
    if role == "drums":
        return DRUM_PANS.get(pitch, 0.0)
    return max(-1.0, min(1.0, _SPREAD_PER_PITCH * (pitch - _SPREAD_CENTRE)))


def brightness(plan: Plan) -> float:
    """Return the octaves by which the mood moves every cutoff."""
    return round(0.9 * plan.arousal + 0.6 * plan.valence, 1)


def tilt_db(plan: Plan, role: Role) -> float:
    """Return what the mood gives to each octave of the treble, or takes."""
    return _TILT_MOOD_DB * brightness(plan) * (_KIT_TILT_SHARE if role == "drums" else 1.0)


def kit_db(plan: Plan, instrument: str) -> float:
    """Return the level of a kit against the channel's: it grows with the drive of the piece."""
    return KIT_LEVELS_DB.get(instrument, 0.0) + _DRUMS_MOOD_DB * plan.arousal


def wetness(plan: Plan) -> float:
    """Return how much of the room is heard, as a share of what the style has: more in calm and in sad pieces."""
    return 1.0 - 0.35 * plan.arousal - 0.15 * plan.valence
