"""Held notes out of the sound pack.

A `Sound` is an instrument at one pitch, in one colour. `Sampler.hold` returns it as it
would sound if the player never let go; whoever places a note takes as much of it as the
note lasts and lets it die away by the zone's release. Sounds are kept between notes and
between pieces, within a bound of bytes.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from typing import Final, Generic, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from app.engines.composer.render.resampling import RATE_HZ, Colour, Resampler, Samples

PACK: Final = Path(__file__).parent.with_name("sounds")
"""Its README describes `pack.json`."""

CACHE_BYTES: Final = 48 * 2**20

Recording = npt.NDArray[np.int16]
"""As it was recorded, in half the room of `Samples`."""

_Key = TypeVar("_Key", bound=Hashable)
_Array = TypeVar("_Array", Recording, Samples)

_FULL_SCALE: Final = 32_767
_SILENCE_DB: Final = 90.0
"""A note that has fallen by this much has ended."""

_FARTHEST_SWING_FRAMES: Final = 64
"""What a vibrato reads beyond the end of a note; no instrument's is as wide."""

_LENGTH_STEP_FRAMES: Final = RATE_HZ // 4
"""Held notes are made in these lengths, so that a slightly longer one is seldom asked for again."""


@dataclass(frozen=True, slots=True)
class Zone:
    """A recorded sound and the pitches that it plays, as `pack.json` has it.

    Attributes:
        low: Lowest pitch, a MIDI number.
        high: Highest pitch.
        root: Pitch that is heard when it is played as stored.
        file: Where it lies.
        start: First frame in the file.
        frames: Its length.
        loop_start: Frame of the zone to which playing returns from its end; None ends there.
        gain_db: Evens out the zones of all instruments.
        decay_db_per_s: How fast a note falls from the moment that it first enters the loop on.
        release_s: Seconds in which a note that is let go falls by 60 dB; None rings on.
        choke: It ends the sounding drums with the same number.
    """

    low: int
    high: int
    root: float
    file: str
    start: int
    frames: int
    loop_start: int | None
    gain_db: float
    decay_db_per_s: float
    release_s: float | None
    choke: int | None


@dataclass(frozen=True, slots=True)
class Vibrato:
    """How the pitch of a held note swings once the player has settled on it.

    Attributes:
        depth_cents: Farthest from the pitch, to either side.
        rate_hz: Swings a second.
        delay_s: From the start of the note to the first swing.
        growth_s: From there to the full depth.
    """

    depth_cents: float
    rate_hz: float = 5.2
    delay_s: float = 0.22
    growth_s: float = 0.5


@dataclass(frozen=True, slots=True)
class Sound:
    """What is played: the key under which a held note is kept.

    Attributes:
        instrument: Key of `INSTRUMENTS`.
        pitch: MIDI number; of a drum kit, the drum.
        colour: What the stroke and the mood leave of its spectrum.
        detune_cents: Off the pitch; repeated notes alternate so that they are not copies.
        vibrato: None plays straight.
    """

    instrument: str
    pitch: int
    colour: Colour
    detune_cents: float = 0.0
    vibrato: Vibrato | None = None


class Sampler:
    """Plays the sound pack; not for several threads at once."""

    def __init__(self, *, cache_bytes: int = CACHE_BYTES, pack: Path = PACK) -> None:
        """Open nothing yet.

        Args:
            cache_bytes: Largest sum of decoded recordings and held notes that are kept.
            pack: Folder of `pack.json`.
        """
        self._pack = pack
        # Apart, because a recording takes several times as long to get back as a note of the same size.
        self._recordings = _Cache[Zone, Recording](cache_bytes // 4)
        self._notes = _Cache[Sound, Samples](cache_bytes - cache_bytes // 4)

    @property
    def cached_bytes(self) -> int:
        """What is kept now."""
        return self._recordings.total_bytes + self._notes.total_bytes

    def zone(self, instrument: str, pitch: int) -> Zone:
        """Return the zone that plays a pitch; beyond the instrument's range, the nearest.

        Raises:
            KeyError: the pack has no such instrument.
        """
        zones = self._manifest.instruments[instrument]
        return zones[min(bisect_left(zones, pitch, key=attrgetter("high")), len(zones) - 1)]

    def hold(self, sound: Sound, *, frames: int) -> Samples:
        """Return at least `frames` frames of a held note, or all there are when it dies away before; read only."""
        kept = self._notes.get(sound)
        if kept is not None and kept.size >= frames:
            return kept
        zone = self.zone(sound.instrument, sound.pitch)
        semitones = sound.pitch - zone.root + sound.detune_cents / 100
        step = 2 ** (semitones / 12) * self._manifest.files[zone.file].rate_hz / RATE_HZ
        wanted = math.ceil(frames / _LENGTH_STEP_FRAMES) * _LENGTH_STEP_FRAMES
        size = int(min(wanted, _ringing_frames(zone, step)))
        if kept is None or kept.size < size:
            kept = self._make(sound, zone, Resampler.make(step, sound.colour), size)
            self._notes.put(sound, kept)
        return kept

    def _make(self, sound: Sound, zone: Zone, resampler: Resampler, frames: int) -> Samples:
        straight = frames if sound.vibrato is None else frames + _FARTHEST_SWING_FRAMES
        unrolled = _unroll(self._recording(zone), zone.loop_start, resampler.input_frames(straight))
        held = resampler.run(unrolled, straight)
        held *= np.float32(10 ** (zone.gain_db / 20) / _FULL_SCALE)
        if zone.loop_start is not None and zone.decay_db_per_s > 0:
            first = min(straight, round(zone.loop_start / resampler.step))
            held[first:] *= fall(straight - first, zone.decay_db_per_s)
        if sound.vibrato is not None:
            held = _swing(held, sound.vibrato, frames)
        held.flags.writeable = False
        return held

    def _recording(self, zone: Zone) -> Recording:
        kept = self._recordings.get(zone)
        if kept is None:
            import soundfile

            decoded, _ = soundfile.read(self._pack / zone.file, start=zone.start, frames=zone.frames, dtype="float32")
            kept = np.clip(np.rint(decoded * np.float32(_FULL_SCALE)), -_FULL_SCALE, _FULL_SCALE).astype(np.int16)
            self._recordings.put(zone, kept)
        return kept

    @cached_property
    def _manifest(self) -> _Manifest:
        return msgspec.json.decode((self._pack / "pack.json").read_bytes(), type=_Manifest)


@dataclass(frozen=True, slots=True)
class _File:
    rate_hz: int


@dataclass(frozen=True, slots=True)
class _Manifest:
    files: Mapping[str, _File]
    instruments: Mapping[str, tuple[Zone, ...]]


class _Cache(Generic[_Key, _Array]):
    """Arrays by key, the longest unused thrown out first; one that is larger than the bound is not kept."""

    def __init__(self, limit_bytes: int) -> None:
        self.total_bytes = 0
        self._limit_bytes = limit_bytes
        self._kept: OrderedDict[_Key, _Array] = OrderedDict()

    def get(self, key: _Key) -> _Array | None:
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
        return kept

    def put(self, key: _Key, array: _Array) -> None:
        replaced = self._kept.pop(key, None)
        self.total_bytes -= 0 if replaced is None else replaced.nbytes
        if array.nbytes > self._limit_bytes:
            return
        self._kept[key] = array
        self.total_bytes += array.nbytes
        while self.total_bytes > self._limit_bytes:
            _, oldest = self._kept.popitem(last=False)
            self.total_bytes -= oldest.nbytes


def fall(frames: int, db_per_s: float) -> Samples:
    """Return a gain that starts at 1 and falls in a straight line of decibels."""
    # Every value is one of a coarse and one of a fine scale: no power is evaluated per frame.
    per_frame = 10 ** (-db_per_s / 20 / RATE_HZ)
    fine = (per_frame ** np.arange(512)).astype(np.float32)
    coarse = ((per_frame**512) ** np.arange(math.ceil(frames / 512))).astype(np.float32)
    return np.multiply.outer(coarse, fine).reshape(-1)[:frames]


def _ringing_frames(zone: Zone, step: float) -> float:
    """Return after how many output frames the note has ended by itself."""
    if zone.loop_start is None:
        return math.ceil(zone.frames / step)
    if zone.decay_db_per_s <= 0:
        return math.inf
    return math.ceil(zone.loop_start / step + _SILENCE_DB / zone.decay_db_per_s * RATE_HZ)


def _unroll(recording: Recording, loop_start: int | None, frames: int) -> Recording:
    """Return the recording with its loop repeated until `frames` are filled."""
    if loop_start is None or frames <= recording.size:
        return recording[:frames]
    return np.concatenate((recording, np.resize(recording[loop_start:], frames - recording.size)))


def _swing(held: Samples, vibrato: Vibrato, frames: int) -> Samples:
    """Return so many frames of the note with its vibrato: read now ahead, now behind, so that the pitch swings."""
    first = min(frames, round(vibrato.delay_s * RATE_HZ))
    # To be ahead by d · sin(ωt) changes the speed of reading by d · ω at most.
    turn = 2 * math.pi * vibrato.rate_hz / RATE_HZ
    farthest = (2 ** (vibrato.depth_cents / 1200) - 1) / turn
    time = np.arange(frames - first, dtype=np.float32)
    depth = np.minimum(1.0, time / np.float32(vibrato.growth_s * RATE_HZ)) * np.float32(farthest)
    return np.concatenate((held[:first], _read_ahead(held, first, depth * np.sin(time * np.float32(turn)))))


def _read_ahead(samples: Samples, first: int, ahead: Samples) -> Samples:
    """Return frame `first + n` read `ahead[n]` frames later, between frames by cubic Hermite interpolation."""
    whole = np.floor(ahead)
    between = ahead - whole
    index = np.arange(first, first + ahead.size) + whole.astype(np.intp)
    before, left, right, after = (samples[index + offset] for offset in (-1, 0, 1, 2))
    slope = 0.5 * (right - before)
    bend = before - 2.5 * left + 2 * right - 0.5 * after
    twist = 0.5 * (after - before) + 1.5 * (left - right)
    return np.asarray(((twist * between + bend) * between + slope) * between + left, np.float32)
