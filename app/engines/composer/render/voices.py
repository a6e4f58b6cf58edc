"""From the notes of a track to voices: which sound, from when to when, how loud and where."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from app.engines.composer.instruments import INSTRUMENTS
from app.engines.composer.plan import Plan
from app.engines.composer.render.desk import CHANNELS, DRUM_TRIMS_DB, SPREAD, brightness, kit_db, pan, tilt_db, vibrato
from app.engines.composer.render.resampling import RATE_HZ, Colour, Samples
from app.engines.composer.render.sampler import Sampler, Sound
from app.engines.composer.score import Note, Track

_EVEN_VELOCITY: Final = 100
"""The sounds of the pack are equally loud at this velocity."""

_VELOCITY_EXPONENT: Final = 1.5
"""Of the gain. General MIDI has 2, which leaves soft notes unheard behind others."""

_VELOCITY_OCTAVES: Final = 1.8
"""By how much the cutoff of the hardest stroke is above that of the softest."""

_VELOCITY_STEP: Final = 20
"""Strokes this far apart differ in colour; between them only in level, so that few sounds serve many notes."""

_CUTOFFS_PER_OCTAVE: Final = 8
_LEAST_PARTIALS: Final = 3.0
"""The cutoff is never below this many times the pitch, or high notes would be weak."""

_TAKES: Final = ((0.0, 0.0), (1.8, -0.125))
"""Cents, and octaves of the cutoff, by which a repeated note differs from the one before; in turn."""

_DRUM_TAKES: Final = ((0.0, 0.0), (12.0, -0.125), (-9.0, 0.125))

_RINGING_S: Final = 1.2
"""What is plucked or struck counts as sounding for this long, when the level of a track is found."""

_LONGEST_STROKE_S: Final = 8.0
"""No drum rings as long."""

_CHOKE_S: Final = 0.06


@dataclass(frozen=True, slots=True)
class Voice:
    """A note as it is placed.

    Attributes:
        sound: What is held.
        start: Frame of its onset.
        released: Frame at which the player lets go.
        release_s: Seconds in which it falls by 60 dB from there.
        gains: Of the channels of the bus, shape (channels, 1).
    """

    sound: Sound
    start: int
    released: int
    release_s: float
    gains: Samples

    @property
    def end(self) -> int:
        """The frame at which it has died away, if not before."""
        return self.released + math.ceil(self.release_s * RATE_HZ)


def is_placed_by_note(track: Track) -> bool:
    """Tell whether the notes of a track come from different places, so that its bus is stereo."""
    return track.role == "drums" or track.instrument in SPREAD


def voices(track: Track, plan: Plan, sampler: Sampler) -> Iterator[Voice]:
    """Yield a voice for each note of a track, in their order."""
    takes = _DRUM_TAKES if track.role == "drums" else _TAKES
    level = 10 ** (CHANNELS[track.role].level_db / 20) * _levelling(track, plan)
    played: Counter[int] = Counter()
    for note, released_s in zip(track.notes, _releases_s(track, sampler), strict=True):
        cents, octaves = takes[played[note.pitch] % len(takes)]
        played[note.pitch] += 1
        yield Voice(
            Sound(
                track.instrument,
                note.pitch,
                _colour(note, track, plan, octaves=octaves),
                cents,
                vibrato(track.instrument, track.role),
            ),
            start=round(note.start_s * RATE_HZ),
            released=round(released_s * RATE_HZ),
            release_s=sampler.zone(track.instrument, note.pitch).release_s or _CHOKE_S,
            gains=_placing(note, track) * np.float32(level * _velocity_gain(note)),
        )


def pan_gains(place: float) -> Samples:
    """Return the gains of left and right, shape (2, 1): of equal power everywhere, and 1 in the middle."""
    angle = math.pi / 4 * (1 + place)
    return np.array([[math.cos(angle)], [math.sin(angle)]], np.float32) * np.float32(math.sqrt(2))


def _colour(note: Note, track: Track, plan: Plan, *, octaves: float) -> Colour:
    channel = CHANNELS[track.role]
    step = round((note.velocity - _EVEN_VELOCITY) / _VELOCITY_STEP) * _VELOCITY_STEP
    octaves += brightness(plan) + _VELOCITY_OCTAVES * step / 127
    least_hz = 0.0 if track.role == "drums" else _LEAST_PARTIALS * 440 * 2 ** ((note.pitch - 69) / 12)
    cutoff_hz = max(channel.cutoff_hz * 2**octaves, least_hz)
    rounded_hz = 2 ** (round(math.log2(cutoff_hz) * _CUTOFFS_PER_OCTAVE) / _CUTOFFS_PER_OCTAVE)
    return Colour(rounded_hz, channel.presence_db, tilt_db(plan, track.role))


def _placing(note: Note, track: Track) -> Samples:
    return pan_gains(pan(track.role, note.pitch)) if is_placed_by_note(track) else np.ones((1, 1), np.float32)


def _releases_s(track: Track, sampler: Sampler) -> list[float]:
    """Return when each note of a track is let go; a drum rings until another chokes it."""
    releases_s: list[float] = []
    choked_s: dict[int, float] = {}
    for note in reversed(track.notes):
        zone = sampler.zone(track.instrument, note.pitch)
        ringing_until_s = note.start_s + (_LONGEST_STROKE_S if zone.release_s is None else note.duration_s)
        if zone.choke is not None:
            ringing_until_s = choked_s.get(zone.choke, ringing_until_s)
            choked_s[zone.choke] = note.start_s
        releases_s.append(ringing_until_s)
    return releases_s[::-1]


def _levelling(track: Track, plan: Plan) -> float:
    """Return the gain that brings a track to the level of one even note, while it plays.

    The sounds of the pack are equally loud, so that the notes alone tell how loud a track is. How
    much a kit plays is the groove's decision, and is not evened out.
    """
    if track.role == "drums":
        return 10 ** (kit_db(plan, track.instrument) / 20)
    sustained = INSTRUMENTS[track.instrument].sustained
    power, playing_s, until_s = 0.0, 0.0, 0.0
    for note in track.notes:
        end_s = note.start_s + (note.duration_s if sustained else min(note.duration_s, _RINGING_S))
        power += _velocity_gain(note) ** 2 * (end_s - note.start_s)
        playing_s += max(0.0, end_s - max(note.start_s, until_s))
        until_s = max(until_s, end_s)
    return math.sqrt(playing_s / power) if power else 1.0


def _velocity_gain(note: Note) -> float:
    trim = 10 ** (DRUM_TRIMS_DB.get(note.pitch, 0.0) / 20)
    return trim * float((note.velocity / _EVEN_VELOCITY) ** _VELOCITY_EXPONENT)
