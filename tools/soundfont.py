"""Read an SF3 soundfont: which samples a key of a preset plays, and how.

SF3 is SoundFont 2.04 (RIFF; presets made of instruments made of samples) in which each
sample is an Ogg Vorbis stream of its own. Two things differ from SF2: in a sample's header
`start` and `end` are bytes of the `smpl` chunk, and its loop is in frames from the sample's
start. Source: the SoundFont 2.04 specification; the SF3 format as MuseScore writes it.

Only what bears on a pressed key is read: modulators, low-frequency oscillators, chorus,
and reverb are left out.
"""

from __future__ import annotations

import io
import itertools
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import soundfile

Signal = npt.NDArray[np.float64]
"""One channel; full scale is 1."""

Generators = dict[int, int]
"""Values by number, as the file has them."""

# Generators by their number in the specification (section 8.1.2).
START_OFFSET, END_OFFSET, LOOP_START_OFFSET, LOOP_END_OFFSET = 0, 1, 2, 3
START_COARSE, END_COARSE, LOOP_START_COARSE, LOOP_END_COARSE = 4, 12, 45, 50
CUTOFF, RESONANCE, MODULATION_TO_CUTOFF, PAN = 8, 9, 11, 17
MODULATION_DELAY, VOLUME_DELAY = 25, 33
INSTRUMENT, KEY_RANGE, VELOCITY_RANGE, ATTENUATION = 41, 43, 44, 48
COARSE_TUNE, FINE_TUNE, SAMPLE, SAMPLE_MODES, SCALE_TUNING, ROOT_KEY = 51, 52, 53, 54, 56, 58

_UNSIGNED: Final = (INSTRUMENT, SAMPLE, SAMPLE_MODES, KEY_RANGE, VELOCITY_RANGE)
_DEFAULTS: Final = {CUTOFF: 13_500, SCALE_TUNING: 100, ROOT_KEY: -1} | dict.fromkeys(
    (*range(25, 29), 30, *range(33, 37), 38), -12_000
)

# The specification counts attenuation in centibels. The EMU chips that soundfonts are tuned on, and
# the synthesisers that follow them, apply four tenths of it.
_EMU_ATTENUATION: Final = 0.4
# The time that is given for a decay is the time of a fall by so much.
_DECAY_RANGE_DB: Final = 100.0


@dataclass(frozen=True, slots=True)
class Sample:
    """A recording; `loop` is in frames."""

    name: str
    vorbis: bytes
    rate_hz: int
    root: int
    correction_cents: int
    loop: tuple[int, int]

    def decode(self) -> Signal:
        """Return the recording."""
        samples, _ = soundfile.read(io.BytesIO(self.vorbis), dtype="float64")
        return np.asarray(samples, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Envelope:
    """From the pressed key on. `sustain` is decibels below the peak for a volume, a share of it for a modulation."""

    delay_s: float
    attack_s: float
    hold_s: float
    decay_s: float
    sustain: float
    release_s: float

    def _falling_s(self, time_s: Signal) -> Signal:
        return np.maximum(0.0, time_s - self.delay_s - self.attack_s - self.hold_s)

    def _rise(self, time_s: Signal) -> Signal:
        return np.clip((time_s - self.delay_s) / max(self.attack_s, 1e-6), 0.0, 1.0)

    def gain(self, time_s: Signal) -> Signal:
        """Return the amplitude over time of a volume envelope, whose `sustain` is decibels down."""
        fall_db = np.minimum(self.sustain, self._falling_s(time_s) * self.decay_db_per_s)
        return np.asarray(self._rise(time_s) * 10.0 ** (-fall_db / 20.0))

    def level(self, time_s: Signal) -> Signal:
        """Return the level, 0 to 1, over time of a modulation envelope, whose `sustain` is a share."""
        fall = np.minimum(1.0 - self.sustain, self._falling_s(time_s) / max(self.decay_s, 1e-6))
        return np.asarray(self._rise(time_s) - fall)

    @property
    def decay_db_per_s(self) -> float:
        """How fast a volume envelope falls until it sustains."""
        return _DECAY_RANGE_DB / max(self.decay_s, 1e-6)


@dataclass(frozen=True, slots=True)
class Layer:
    """One sample as a preset plays it on the keys `low` to `high`."""

    low: int
    high: int
    sample: Sample
    generators: Mapping[int, int]

    @property
    def root(self) -> int:
        """The key of the sample's own pitch, tuning aside."""
        overriding = self.generators[ROOT_KEY]
        return self.sample.root if overriding < 0 else overriding

    def transposition(self, key: float) -> float:
        """Return by how many semitones the sample is transposed on a key."""
        g = self.generators
        cents = g.get(FINE_TUNE, 0) + self.sample.correction_cents
        return (key - self.root) * g[SCALE_TUNING] / 100 + g.get(COARSE_TUNE, 0) + cents / 100

    @property
    def own_key(self) -> float:
        """The key on which the sample is played as it was recorded."""
        return self.root - self.transposition(self.root) * 100 / max(self.generators[SCALE_TUNING], 1)

    @property
    def frames(self) -> tuple[int, int]:
        """How many frames are left out at the start and at the end of the sample."""
        return self._offset(START_OFFSET, START_COARSE), -self._offset(END_OFFSET, END_COARSE)

    @property
    def loop(self) -> tuple[int, int] | None:
        """Frames of the sample, or None where it is played once."""
        if self.generators.get(SAMPLE_MODES, 0) not in {1, 3}:
            return None
        start, end = self.sample.loop
        return (
            start + self._offset(LOOP_START_OFFSET, LOOP_START_COARSE),
            end + self._offset(LOOP_END_OFFSET, LOOP_END_COARSE),
        )

    def _offset(self, fine: int, coarse: int) -> int:
        return self.generators.get(fine, 0) + 32_768 * self.generators.get(coarse, 0)

    @property
    def pan(self) -> int:
        """From -500, left, to 500."""
        return self.generators.get(PAN, 0)

    @property
    def gain_db(self) -> float:
        """The level that the preset gives it."""
        return -_EMU_ATTENUATION * self.generators.get(ATTENUATION, 0) / 10

    @property
    def volume(self) -> Envelope:
        """Its volume envelope."""
        return self._envelope(VOLUME_DELAY, sustain=self.generators.get(VOLUME_DELAY + 4, 0) / 10)

    @property
    def modulation(self) -> Envelope:
        """The envelope that moves its filter."""
        return self._envelope(MODULATION_DELAY, sustain=1 - self.generators.get(MODULATION_DELAY + 4, 0) / 1000)

    def _envelope(self, first: int, *, sustain: float) -> Envelope:
        delay, attack, hold, decay, release = (
            2.0 ** (self.generators[first + step] / 1200) for step in (0, 1, 2, 3, 5)
        )
        return Envelope(delay, attack, hold, decay, sustain, release)

    def cutoff_hz(self, time_s: Signal) -> Signal:
        """Return where its low-pass filter stands over time."""
        cents = self.generators[CUTOFF] + self.generators.get(MODULATION_TO_CUTOFF, 0) * self.modulation.level(time_s)
        return np.asarray(8.176 * 2.0 ** (np.clip(cents, 1500, 13_500) / 1200))

    @property
    def resonance(self) -> float:
        """Q of its low-pass filter; with no resonance asked for it has no peak."""
        return float(10.0 ** ((max(0, self.generators.get(RESONANCE, 0)) / 10 - 3.01) / 20))


class SoundFont:
    """An SF3 file, read as a whole."""

    def __init__(self, path: Path) -> None:
        """Read the file; `ValueError` if it is no soundfont."""
        self._chunks = dict(_chunks(path.read_bytes()))
        if b"phdr" not in self._chunks:
            raise ValueError(f"{path} is no soundfont.")

    def layers(self, *, bank: int, program: int, velocity: int) -> Sequence[Layer]:
        """Return everything that a preset plays at a velocity, on any key; `KeyError` if there is no such preset."""
        presets = self._records(b"phdr", "<20sHHHIII")
        for preset, following in itertools.pairwise(presets):
            if (preset[1], preset[2]) == (program, bank):
                zones = self._zones(b"pbag", b"pgen", INSTRUMENT, range(preset[3], following[3]))
                return [layer for zone in zones for layer in self._layers_of(zone, velocity)]
        raise KeyError((bank, program))

    def _layers_of(self, preset: Generators, velocity: int) -> Iterator[Layer]:
        instruments = self._records(b"inst", "<20sH")
        number = preset[INSTRUMENT]
        for zone in self._zones(b"ibag", b"igen", SAMPLE, range(instruments[number][1], instruments[number + 1][1])):
            low, high = _overlap(preset, zone, KEY_RANGE)
            softest, loudest = _overlap(preset, zone, VELOCITY_RANGE)
            if low <= high and softest <= velocity <= loudest:
                yield Layer(low, high, self._samples[zone[SAMPLE]], _sum(preset, zone))

    def _zones(self, bags: bytes, generators: bytes, target: int, numbers: range) -> Iterator[Generators]:
        """Yield the zones that lead to a `target`, each with what the global zone before them sets for all."""
        bag = self._records(bags, "<HH")
        values = self._records(generators, "<HH")
        everywhere: Generators = {}
        for number in numbers:
            zone = {key: _value(key, raw) for key, raw in values[bag[number][0] : bag[number + 1][0]]}
            if target in zone:
                yield everywhere | zone
            elif number == numbers.start:
                everywhere = zone

    @cached_property
    def _samples(self) -> Sequence[Sample]:
        streams = self._chunks[b"smpl"]
        return [
            Sample(
                name=name.split(b"\0")[0].decode("latin-1"),
                vorbis=streams[start:end],
                rate_hz=rate_hz,
                root=root,
                correction_cents=correction_cents,
                loop=(loop_start, loop_end),
            )
            for name, start, end, loop_start, loop_end, rate_hz, root, correction_cents, _, _ in self._records(
                b"shdr", "<20sIIIIIBbHH"
            )
        ]

    def _records(self, chunk: bytes, form: str) -> list[tuple]:  # type: ignore[type-arg]
        return list(struct.iter_unpack(form, self._chunks[chunk]))


def _chunks(riff: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    while position + 8 <= len(riff):
        name, size = struct.unpack_from("<4sI", riff, position)
        body = riff[position + 8 : position + 8 + size]
        if name in {b"RIFF", b"LIST"}:
            yield from _chunks(body[4:])
        else:
            yield name, body
        position += 8 + size
        # RIFF pads a chunk to an even size; writers of SF3 do not always.
        if size % 2 and riff[position : position + 1] == b"\0":
            position += 1


def _value(generator: int, raw: int) -> int:
    return raw if generator in _UNSIGNED or raw < 32_768 else raw - 65_536


def _overlap(preset: Generators, zone: Generators, ranges: int) -> tuple[int, int]:
    """Return the keys (or velocities) that lie in the range of both; low byte first, high byte last."""
    spans = [divmod(level.get(ranges, 127 << 8), 256) for level in (preset, zone)]
    return max(low for _, low in spans), min(high for high, _ in spans)


def _sum(preset: Generators, zone: Generators) -> Generators:
    """Return an instrument's values, from the defaults on, with the preset's added to them."""
    values = _DEFAULTS | zone
    added = {key: value for key, value in preset.items() if key not in _UNSIGNED}
    return values | {key: values.get(key, 0) + value for key, value in added.items()}
