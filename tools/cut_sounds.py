"""Cut the embedded composer's sound pack from a soundfont.

    python -m tools.cut_sounds FluidR3Mono_GM.sf3

The soundfont is that of Debian's package `fluidr3mono-gm-soundfont` (any architecture):
`apt-get download fluidr3mono-gm-soundfont && dpkg-deb -x fluidr3mono*.deb .`, or from
<https://snapshot.debian.org/package/fluidr3mono-gm-soundfont/>.

For every row of `INSTRUMENTS`, the keys of its range are divided into zones, one sound is
played for each as a synthesiser would play it at `VELOCITY` (all layers, tuning, filter, and
volume envelope as far as the loop), tuned, levelled, and written as Ogg Vorbis; `pack.json`
says where it is and how it goes on. `app/engines/composer/sounds/README.md` describes the
format.

The same soundfont gives the same bytes on every run. Another build of the Vorbis encoder may
round differently: the pack in the repository was cut with libsndfile 1.2.2 as python-soundfile
0.14.0 bundles it for Linux on x86-64 (libVorbis 1.3.7).
"""

from __future__ import annotations

import argparse
import hashlib
import io
import itertools
import json
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import soundfile

from app.engines.composer.instruments import INSTRUMENTS, Instrument
from tools.sampling import Session, Sound, cents_off, loudness_db
from tools.soundfont import Layer, Signal, SoundFont

SOUNDS: Final = Path(__file__).parent.parent / "app/engines/composer/sounds"
SOURCE: Final = {
    "file": "FluidR3Mono_GM.sf3",
    "package": "fluidr3mono-gm-soundfont 2.315-7",
    "sha256": "cda013d8c370a48ae8dad271e761078d2e77455488dabdedbfbe5fc76a38c682",
}

FORMAT: Final = 1
VELOCITY: Final = 100
DRUM_BANK: Final = 128

LOUDNESS_DB: Final = -20.0
MOMENT_S: Final = 0.3
"""A note is as loud as its loudest moment."""
STROKE_S: Final = 0.15
"""The moment of a drum."""
STEEPEST_DB: Final = 4.0
STEEPEST_STEP_DB: Final = 1.0
"""How much louder one end of an instrument's range may be than the other, and a zone than its neighbour."""
BORDER_WEIGHT: Final = 2.0
NOTICED_CENTS: Final = 4.0
WIDEST_ZONE: Final = 12
"""Semitones: what is transposed farther moves too slowly below and too fast above."""
SILENCE_S: Final = 0.02
"""Between two sounds of a file: the encoder smears a sharp attack over some milliseconds before it."""
FADE_S: Final = 0.01
"""In which a sound vanishes beyond its loop."""
PEAK: Final = 0.7
"""All sounds are recorded equally high: the encoder takes what is soft for what is hardly heard."""


@dataclass(frozen=True, slots=True)
class Cut:
    """How an instrument is cut: where its bytes go.

    Attributes:
        rate_hz: What is heard above half of it is lost.
        quality: Of the Vorbis encoder, -0.1 to 1.
        spacing: Semitones between two zones at the least.
        longest_s: A sound is looped, or has faded, by then.
    """

    rate_hz: int = 32_000
    quality: float = 0.15
    spacing: int = 4
    longest_s: float = 2.6


_FAMILIES: Final[Mapping[str, Cut]] = {
    "keys": Cut(longest_s=3.2),
    "bells": Cut(longest_s=1.8, spacing=5),
    "organ": Cut(),
    "guitar": Cut(rate_hz=24_000, quality=0.25, longest_s=3.2),
    "bass": Cut(rate_hz=22_050, quality=0.2, longest_s=3.0),
    "strings": Cut(quality=0.2),
    "voice": Cut(quality=0.2),
    "brass": Cut(rate_hz=24_000, quality=0.25),
    "reeds": Cut(rate_hz=24_000, quality=0.25),
    "winds": Cut(rate_hz=32_000),
    "synth": Cut(spacing=5),
    "world": Cut(longest_s=2.4),
    "drums": Cut(rate_hz=44_100, quality=0.2, longest_s=3.5),
}
_CUTS: Final[Mapping[str, Cut]] = {
    "piano": Cut(spacing=4, longest_s=6.2, quality=0.25),
    "honky-tonk piano": Cut(spacing=6, longest_s=2.6),
    "church organ": Cut(spacing=6),
    "music box": Cut(spacing=3),
    "marimba": Cut(spacing=4),
    "kalimba": Cut(spacing=3),
    "overdriven guitar": Cut(rate_hz=24_000, spacing=5, longest_s=2.8),
    "distorted guitar": Cut(rate_hz=24_000, spacing=5, longest_s=2.8),
    "glockenspiel": Cut(rate_hz=44_100, longest_s=1.5, spacing=5),
    "timpani": Cut(rate_hz=22_050, longest_s=2.6, spacing=2),
}
"""Where the family's way is not the best."""

DRUM_LOUDNESS_DB: Final[Mapping[int, float]] = {
    36: 0.0, 37: -7.0, 38: -1.0, 39: -3.0, 42: -9.0, 43: -3.0, 44: -11.0, 45: -3.0, 46: -8.0, 47: -3.0, 49: -3.0,
    50: -3.0, 51: -9.0, 53: -8.0, 54: -10.0, 56: -9.0, 60: -7.0, 62: -7.0, 63: -6.0, 64: -6.0, 70: -13.0,
    75: -9.0, 81: -14.0,
}  # fmt: skip
"""The General MIDI drums that the composer writes, and how loud a stroke is beside the kick."""


HI_HATS: Final = frozenset({42, 44, 46})

Json = dict[str, object]


# Zones --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Zone:
    """Keys that share a sound: the note of `key`."""

    low: int
    high: int
    key: int
    layers: Sequence[Layer]


def zones_of(layers: Sequence[Layer], row: Instrument, spacing: int) -> Sequence[Zone]:
    """Divide the range of an instrument into zones, following the soundfont's as far as `spacing` allows."""
    kept: list[Zone] = []
    for zone in _zones_of_soundfont(layers, row):
        if not kept or zone.key - kept[-1].key >= spacing:
            kept.append(zone)
    borders = [(lower.key + upper.key) // 2 for lower, upper in itertools.pairwise(kept)]
    lows = [row.lowest, *(border + 1 for border in borders)]
    highs = [*borders, row.highest]
    return [replace(zone, low=low, high=high) for low, high, zone in zip(lows, highs, kept, strict=True)]


def _zones_of_soundfont(layers: Sequence[Layer], row: Instrument) -> Iterator[Zone]:
    played_by = ((key, [layer for layer in layers if layer.low <= key <= layer.high]) for key in _keys(row))
    for active, group in itertools.groupby(played_by, key=lambda pair: pair[1]):
        keys = [key for key, _ in group]
        parts = -(-len(keys) // WIDEST_ZONE)
        for part in range(parts if active else 0):
            low, high = keys[part * len(keys) // parts], keys[(part + 1) * len(keys) // parts - 1]
            own = round(active[0].own_key)
            yield Zone(low, high, own if low <= own <= high else (low + high) // 2, in_mono(active))


def in_mono(layers: Sequence[Layer]) -> Sequence[Layer]:
    """Return the layers without the second side of a stereo sound whose sides are detuned.

    In one channel the two would extinguish each other at every beat.
    """
    kept: list[Layer] = []
    for layer in layers:
        key = layer.root
        if not any(
            other.sample is layer.sample
            and other.pan * layer.pan < 0
            and other.transposition(key) != layer.transposition(key)
            for other in kept
        ):
            kept.append(layer)
    return kept


def _keys(row: Instrument) -> range:
    return range(row.lowest, row.highest + 1)


# Levels and pitch ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Levels:
    """How loud a zone is on its lowest, its middle and its highest key; `key` is the middle one."""

    key: float
    low_db: float
    middle_db: float
    high_db: float


def levels_of(zone: Zone, sound: Sound, rate_hz: int) -> Levels:
    """Measure a zone where it meets its neighbours and in the middle."""
    key = (zone.low + zone.high) / 2
    low_db, middle_db, high_db = (
        loudness_db(sound, rate_hz, transposed=pitch - sound.root, window_s=MOMENT_S)
        for pitch in (zone.low, key, zone.high)
    )
    return Levels(key, low_db, middle_db, high_db)


def gains_db(notes: Sequence[Levels]) -> Sequence[float]:
    """Return the gain of each zone, lowest first, that makes an even instrument of them.

    Two wishes are weighed, by least squares: that a zone goes on as loud as the one below it
    ends, and that its middle lies on a straight line through `LOUDNESS_DB`. The line keeps
    the instrument's own slope, within bounds.
    """
    keys = np.array([each.key for each in notes])
    middles = np.array([each.middle_db for each in notes])
    if len(keys) == 1:
        return [LOUDNESS_DB - middles[0]]
    steepest = min(STEEPEST_DB / (keys[-1] - keys[0]), STEEPEST_STEP_DB / np.diff(keys).max())
    slope = np.clip(np.polyfit(keys, middles, 1)[0], -steepest, steepest)
    line = LOUDNESS_DB + slope * (keys - (keys[0] + keys[-1]) / 2)
    borders = [slope + below.high_db - above.low_db for below, above in itertools.pairwise(notes)]
    joins = np.diff(np.eye(len(keys)), axis=0)
    gains, *_ = np.linalg.lstsq(
        np.vstack([BORDER_WEIGHT * joins, np.eye(len(keys))]),
        np.concatenate([BORDER_WEIGHT * np.array(borders), line - middles]),
    )
    return [float(gain) for gain in gains]


def report_levels(name: str, levels: Sequence[Levels], gains: Sequence[float]) -> None:
    """Print the greatest step from a zone to the next, before and after."""
    pairs = list(itertools.pairwise(zip(levels, gains, strict=True)))
    before = max((abs(above.low_db - below.high_db) for (below, _), (above, _) in pairs), default=0)
    after = max((abs(above.low_db + up - below.high_db - down) for (below, down), (above, up) in pairs), default=0)
    print(f"{name:18} {len(levels):2} zones, steps of {before:4.1f} dB at most, now {after:3.1f}")


def in_tune(sound: Sound, rate_hz: int, name: str) -> Sound:
    """Return the sound with the `root` that is heard."""
    cents = cents_off(sound, rate_hz)
    if cents is None or abs(cents) < NOTICED_CENTS:
        return sound
    print(f"{name:18} {sound.root:6.2f} sounded {cents:+5.1f} cents off")
    return replace(sound, root=sound.root + cents / 100)


# Files --------------------------------------------------------------------------------------------


class Reel:
    """The sounds of a file, one after another."""

    def __init__(self, cut: Cut) -> None:
        """Start with silence."""
        self.cut = cut
        self._parts = [self._silence]
        self._sounds: dict[int, Sound] = {}

    @property
    def _silence(self) -> Signal:
        return np.zeros(round(SILENCE_S * self.cut.rate_hz))

    @property
    def is_empty(self) -> bool:
        """True until something is added."""
        return not self._sounds

    def add(self, sound: Sound) -> int:
        """Put a sound at the end, and return the frame at which it starts."""
        start = sum(map(len, self._parts))
        self._sounds[start] = sound
        fade = np.ones(len(sound.after))
        fade[-self._fade :] = np.linspace(1, 0, len(fade[-self._fade :]))
        scale = PEAK / np.abs(sound.samples).max()
        self._parts += [sound.samples * scale, sound.after * fade * scale, self._silence]
        return start

    @property
    def _fade(self) -> int:
        return round(FADE_S * self.cut.rate_hz)

    def develop(self) -> tuple[bytes, Mapping[int, int]]:
        """Return the file, and by how many frames the loop of the sound at each start closes better later on.

        The encoder does not know of loops: of its noise, the end of one has another piece than the
        start. There is a place within `Sound.after` where the two agree.
        """
        data = encoded(np.concatenate(self._parts), self.cut)
        decoded, _ = soundfile.read(io.BytesIO(data))
        shifts = {}
        for start, sound in self._sounds.items():
            if sound.loop_start is not None:
                room = len(sound.after) - self._fade
                end, again = start + len(sound.samples) - 1, start + sound.loop_start - 1
                apart = (decoded[end : end + room] - decoded[again : again + room]) ** 2
                shifts[start] = int(np.argmin(np.convolve(apart, np.ones(3), mode="valid")))
        return data, shifts


def encoded(signal: Signal, cut: Cut) -> bytes:
    """Return the signal as Ogg Vorbis."""
    file = io.BytesIO()
    form = {"format": "OGG", "subtype": "VORBIS", "compression_level": 1 - cut.quality}
    with soundfile.SoundFile(file, "w", cut.rate_hz, 1, **form) as sink:
        # libsndfile keeps a whole write on its stack.
        for start in range(0, len(signal), 65_536):
            sink.write(signal[start : start + 65_536])
    return with_serial(file.getvalue(), serial=1)


def with_serial(ogg: bytes, *, serial: int) -> bytes:
    """Return an Ogg stream under another serial number: libsndfile draws one by lot."""
    stream = bytearray(ogg)
    position = 0
    while position < len(stream):
        segments = stream[position + 26]
        size = 27 + segments + sum(stream[position + 27 : position + 27 + segments])
        struct.pack_into("<I", stream, position + 14, serial)
        struct.pack_into("<I", stream, position + 22, 0)
        struct.pack_into("<I", stream, position + 22, ogg_checksum(stream[position : position + size]))
        position += size
    return bytes(stream)


@cache
def _checksum_table() -> tuple[int, ...]:
    def entry(value: int) -> int:
        for _ in range(8):
            value = (value << 1) ^ (0x04C11DB7 if value & 0x80000000 else 0)
        return value & 0xFFFFFFFF

    return tuple(entry(byte << 24) for byte in range(256))


def ogg_checksum(page: bytes | bytearray) -> int:
    """Return the CRC-32 that Ogg puts on its pages (RFC 3533, section 6), of a page whose own is zero."""
    table = _checksum_table()
    value = 0
    for byte in page:
        value = ((value << 8) & 0xFFFFFFFF) ^ table[(value >> 24) ^ byte]
    return value


class Pack:
    """The pack as it comes into being."""

    def __init__(self, soundfont: SoundFont) -> None:
        """Start an empty one."""
        self._soundfont = soundfont
        self._reels: dict[str, Reel] = {}
        self._recorded: dict[bytes, tuple[str, int]] = {}
        self._instruments: dict[str, list[Json]] = {}

    def add(self, row: Instrument) -> None:
        """Cut one instrument."""
        is_kit = "drums" in row.roles
        layers = self._soundfont.layers(bank=DRUM_BANK if is_kit else 0, program=row.program, velocity=VELOCITY)
        cut = _CUTS.get(row.name) or _FAMILIES[row.family]
        file = row.name.replace(" ", "-") + ".ogg"
        self._reels[file] = Reel(cut)
        self._instruments[row.name] = self._kit(layers, file) if is_kit else self._melodic(row, layers, file)

    def _melodic(self, row: Instrument, layers: Sequence[Layer], file: str) -> list[Json]:
        cut = self._reels[file].cut
        session = Session(cut.rate_hz, cut.longest_s)
        zones = zones_of(layers, row, cut.spacing)
        sounds = [session.note(zone.layers, zone.key, sustained=row.sustained) for zone in zones]
        tuned = [in_tune(sound, cut.rate_hz, row.name) for sound in sounds]
        levels = [levels_of(zone, sound, cut.rate_hz) for zone, sound in zip(zones, tuned, strict=True)]
        gains = gains_db(levels)
        report_levels(row.name, levels, gains)
        return [
            self._entry(zone, sound, file, gain_db=gain) for zone, sound, gain in zip(zones, tuned, gains, strict=True)
        ]

    def _kit(self, layers: Sequence[Layer], file: str) -> list[Json]:
        cut = self._reels[file].cut
        session = Session(cut.rate_hz, cut.longest_s)
        entries = []
        for key, level_db in sorted(DRUM_LOUDNESS_DB.items()):
            zone = Zone(key, key, key, [layer for layer in layers if layer.low <= key <= layer.high])
            sound = replace(session.stroke(zone.layers, key), release_s=None)
            loudness = loudness_db(sound, cut.rate_hz, transposed=0, window_s=STROKE_S)
            entries.append(self._entry(zone, sound, file, gain_db=LOUDNESS_DB + level_db - loudness))
        return entries

    def _entry(self, zone: Zone, sound: Sound, file: str, *, gain_db: float) -> Json:
        peak = np.abs(sound.samples).max()
        file, start = self._record(sound, file)
        return {
            "low": zone.low,
            "high": zone.high,
            "root": round(sound.root, 4),
            "file": file,
            "start": start,
            "frames": len(sound.samples),
            "loop_start": sound.loop_start,
            "gain_db": round(gain_db + 20 * float(np.log10(peak / PEAK)), 2),
            "decay_db_per_s": round(sound.decay_db_per_s, 3),
            "release_s": None if sound.release_s is None else round(sound.release_s, 3),
            "choke": 1 if sound.release_s is None and zone.key in HI_HATS else None,
        }

    def _record(self, sound: Sound, file: str) -> tuple[str, int]:
        """Return the file and the frame where a sound is; what instruments have in common is stored once."""
        samples = np.round(sound.samples / np.abs(sound.samples).max(), 5)
        digest = hashlib.sha256(samples.tobytes()).digest()
        if digest not in self._recorded:
            self._recorded[digest] = (file, self._reels[file].add(sound))
        return self._recorded[digest]

    def write(self, folder: Path) -> None:
        """Write the files, and remove those of an older pack; nothing is touched until all are made."""
        contents: dict[str, bytes] = {}
        files: dict[str, Json] = {}
        shifts: dict[tuple[object, object], int] = {}
        for name, reel in sorted(self._reels.items()):
            if reel.is_empty:
                continue
            data, moved = reel.develop()
            contents[name] = data
            shifts |= {(name, start): shift for start, shift in moved.items()}
            files[name] = {
                "frames": soundfile.info(io.BytesIO(data)).frames,
                "rate_hz": reel.cut.rate_hz,
                "sha256": hashlib.sha256(data).hexdigest(),
            }
        moved_instruments = {
            name: [looped_later(entry, shifts.get((entry["file"], entry["start"]), 0)) for entry in entries]
            for name, entries in self._instruments.items()
        }
        text = laid_out({"format": FORMAT, "source": SOURCE}, files, moved_instruments)
        for stale in folder.glob("*.ogg"):
            stale.unlink()
        for name, data in contents.items():
            (folder / name).write_bytes(data)
        (folder / "pack.json").write_text(text, encoding="utf-8")


def looped_later(entry: Json, frames: int) -> Json:
    """Return an entry whose loop lies so many frames later."""
    match entry:
        case {"frames": int(end), "loop_start": int(start)}:
            return entry | {"frames": end + frames, "loop_start": start + frames}
    return entry


def laid_out(manifest: Json, files: Mapping[str, Json], instruments: Mapping[str, Sequence[Json]]) -> str:
    """Return `pack.json`: a line for each file and each zone, so that versions can be compared."""

    def compact(value: object) -> str:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)

    head = "".join(f"{compact(key)}:{compact(value)},\n" for key, value in manifest.items())
    file_lines = ",\n".join(f"{compact(name)}:{compact(file)}" for name, file in files.items())
    blocks = (f"{compact(name)}:[\n" + ",\n".join(map(compact, zones)) + "\n]" for name, zones in instruments.items())
    zone_blocks = ",\n".join(blocks)
    return f'{{{head}"files":{{\n{file_lines}\n}},\n"instruments":{{\n{zone_blocks}\n}}}}\n'


def main(arguments: Sequence[str] | None = None) -> int:
    """Cut the pack."""
    parser = argparse.ArgumentParser(prog="python -m tools.cut_sounds", description=__doc__)
    parser.add_argument("soundfont", type=Path)
    parser.add_argument("--into", type=Path, default=SOUNDS)
    options = parser.parse_args(arguments)
    if hashlib.sha256(options.soundfont.read_bytes()).hexdigest() != SOURCE["sha256"]:
        print(f"{options.soundfont} is not the file of {SOURCE['package']}: the pack will differ.", file=sys.stderr)
    pack = Pack(SoundFont(options.soundfont))
    for row in INSTRUMENTS.values():
        pack.add(row)
    pack.write(options.into)
    print(f"{sum(file.stat().st_size for file in options.into.iterdir()):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
