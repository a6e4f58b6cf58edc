"""Mixdown: the sections of a song as one track.

A section that knows what it follows (`Part.ring_s`) begins exactly where the one before ends, while that one's last
notes ring on. Any other one is made as loud as those, fitted into its place, and crossfaded with its neighbours.

It is done section by section, in place: the samples of one are in memory at a time, and the finished track.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import soxr

from app.audio import Audio, AudioFormat, decode, encode_blocks
from app.engines.composer.render.curves import STEP_FRAMES, per_frame
from app.engines.composer.render.mastering import HOP_FRAMES, Meter, gain_curve
from app.engines.composer.render.resampling import RATE_HZ
from app.engines.engine import CROSSFADE_S

Samples = npt.NDArray[np.float32]
"""Frames by two channels; full scale is 1."""

CHANNELS: Final = 2

_HEADROOM: Final = 0.84
"""What is left to each section, because the last notes of the one before ring into it."""

_FADE_S: Final = 1.2
"""At the end of what was cut to its length."""

_BLOCK_FRAMES: Final = 65_536
_METERED_FRAMES: Final = HOP_FRAMES * STEP_FRAMES
"""What the meter reads at a time is a multiple of both."""


@dataclass(frozen=True, slots=True)
class Part:
    """A section, as it was made.

    Attributes:
        audio: Its sound.
        start_s: When it begins.
        duration_s: How long it shall be, in seconds.
        ring_s: How many seconds at its end are meant to sound into the next one; None when it was made without
            knowing that one.
        gain_db: How much louder it shall be than it is made, usually less than 0.
    """

    audio: Audio
    start_s: float
    duration_s: float
    ring_s: float | None = None
    gain_db: float = 0.0


def mix_down(parts: Iterable[Part], *, format: AudioFormat) -> Audio:
    """Return the track of all parts, exactly as long as they are together: 44.1 kHz, stereo, 16 bits.

    Args:
        parts: In their order, without gaps; asked for one after the other.
        format: The container.

    Raises:
        UpstreamBadResponse: a part cannot be decoded, or nothing in it plays.
    """
    return encode_blocks(_blocks(parts), rate_hz=RATE_HZ, channels=CHANNELS, format=format)


def _blocks(parts: Iterable[Part]) -> Iterator[bytes]:
    over = np.zeros((0, CHANNELS), np.float32)
    """What rings on of the sections before."""
    iterator = iter(parts)
    part, is_first = next(iterator, None), True
    while part is not None:
        following = next(iterator, None)
        samples = _placed(part, is_first=is_first, is_last=following is None)
        length = _frames(part.start_s + part.duration_s) - _frames(part.start_s)
        if len(samples) < max(length, len(over)):
            samples = np.pad(samples, ((0, max(length, len(over)) - len(samples)), (0, 0)))
        samples[: len(over)] += over
        over = samples[length:].copy()
        for start in range(0, length, _BLOCK_FRAMES):
            block = samples[start : min(start + _BLOCK_FRAMES, length)]
            yield np.clip(block, -1.0, 1.0).tobytes()
        del samples, block  # before the next ones are decoded
        part, is_first = following, False


def _placed(part: Part, *, is_first: bool, is_last: bool) -> Samples:
    """Return the part as it goes into the track, with what rings over its end."""
    samples = _decoded(part.audio, at_most_s=part.duration_s + (CROSSFADE_S if part.ring_s is None else part.ring_s))
    if part.ring_s is None:
        _level(samples)
        samples = _fitted(samples, part, is_first=is_first, is_last=is_last)
    samples *= np.float32(_HEADROOM * 10 ** (part.gain_db / 20))
    return samples


def _decoded(audio: Audio, *, at_most_s: float) -> Samples:
    """Return the beginning of the sound as the track has it: what has its rate and channels already is not copied."""
    samples = np.frombuffer(decode(audio, at_most_s=at_most_s), np.float32).reshape(-1, audio.channels)
    if audio.channels != CHANNELS:
        samples = samples.mean(axis=1, keepdims=True)
    if audio.rate_hz != RATE_HZ:
        samples = soxr.resample(samples, audio.rate_hz, RATE_HZ)
    return samples if samples.shape[1] == CHANNELS else np.repeat(samples, CHANNELS, axis=1)


def _level(samples: Samples) -> None:
    """Make the sound as loud as the composer's, with its peaks held down."""
    meter = Meter()
    for start in range(0, len(samples), _METERED_FRAMES):
        block = samples[start : start + _METERED_FRAMES]
        meter.add(np.pad(block, ((0, _METERED_FRAMES - len(block)), (0, 0))).T)
    gains = per_frame(gain_curve(meter, frames=len(samples), fade_s=0.0))
    samples *= gains[: len(samples), None]


def _fitted(samples: Samples, part: Part, *, is_first: bool, is_last: bool) -> Samples:
    """Return the sound as long as its place, and as what it shares with the next section."""
    fade = _frames(CROSSFADE_S)
    length = _frames(part.duration_s) + (0 if is_last else fade)
    samples = _repeated(samples, length, fade)[:length]
    if not is_first:
        samples[:fade] *= _rise(fade)
    end = fade if not is_last else min(_frames(_FADE_S), length)
    samples[len(samples) - end :] *= _rise(end)[::-1]
    return samples


def _repeated(samples: Samples, length: int, fade: int) -> Samples:
    """Return the sound at least that long; what is shorter goes round, its end crossfaded with its beginning."""
    if len(samples) >= length:
        return samples
    overlap = min(fade, len(samples) // 2)
    rise = _rise(overlap)
    whole = [samples[: len(samples) - overlap]]
    seam = samples[len(samples) - overlap :] * rise[::-1] + samples[:overlap] * rise
    missing = length - len(whole[0])
    middle = np.concatenate((seam, samples[overlap : len(samples) - overlap]))
    while missing > 0:
        whole.append(middle)
        missing -= len(middle)
    return np.concatenate(whole)


def _rise(frames: int) -> Samples:
    """Return a gain that rises so that two strangers, one fading in and one out, are as loud as one."""
    return np.sin(np.linspace(0.0, np.pi / 2, frames, dtype=np.float32))[:, None]


def _frames(seconds: float) -> int:
    return round(seconds * RATE_HZ)
