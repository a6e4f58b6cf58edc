"""From a score to samples: the strips of the desk, the room, the master.

The mix is made window by window and measured on the way; only then is known how loud it is,
so it is kept until the master's gain has been found. A minute of music takes 21 MB while it
is mixed, and 11 MB more when it is handed over; nothing else grows with the piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from app.engines.composer.plan import Plan
from app.engines.composer.render.curves import STEP_FRAMES, Curve
from app.engines.composer.render.desk import wetness
from app.engines.composer.render.mastering import Meter, Pcm, gain_curve, to_pcm16
from app.engines.composer.render.resampling import RATE_HZ
from app.engines.composer.render.reverb import Room, Stereo
from app.engines.composer.render.sampler import Sampler
from app.engines.composer.render.strip import WINDOW_FRAMES, Strip, strips, window_count
from app.engines.composer.score import Score
from app.engines.composer.styles import STYLES

__all__ = ["CHANNELS", "RATE_HZ", "render", "render_stems"]

CHANNELS: Final = 2

_WINDOW_STEPS: Final = WINDOW_FRAMES // STEP_FRAMES
_FADE_S: Final = 1.2
_FADE_SHARE: Final = 0.15
"""Of a short piece; it would be all fade otherwise."""

_MIXING: Final = 0.95
"""Share of the work after which only the master is left."""

Checkpoint = Callable[[float], None]


def render(plan: Plan, score: Score, sampler: Sampler, *, checkpoint: Checkpoint) -> bytes:
    """Return the piece as interleaved little-endian 16-bit samples, `round(plan.sounding_s * RATE_HZ)` frames.

    Args:
        plan: What the score was composed from.
        score: What to play.
        sampler: What plays it; one render at a time.
        checkpoint: Called between steps with the share that is done, 0 to 1; it may raise to end the work.
    """
    meter = Meter()
    mix = np.empty((window_count(plan), CHANNELS, WINDOW_FRAMES), np.float32)
    windows = _mix(plan, strips(plan, score, sampler), checkpoint=_part(checkpoint, 0.0, _MIXING))
    for index, window in enumerate(windows):
        meter.add(window)
        mix[index] = window
    checkpoint(_MIXING)
    # Samples are half as large as what they are made from, so they may take its place as they come.
    pcm = mix.reshape(-1).view("<i2")
    end = 0
    for samples in _mastered(plan, _master_curve(plan, meter), mix):
        pcm[end : end + samples.size] = samples
        end += samples.size
    return pcm[:end].tobytes()


def render_stems(plan: Plan, score: Score, sampler: Sampler, *, checkpoint: Checkpoint) -> Iterator[tuple[str, bytes]]:
    """Yield each track by itself, with its share of the room and the master's gain, as (name, samples).

    The samples are as `render` returns them, and those of all tracks add up to its within one step per track.
    Names are numbered in the order of the mix: `01-melody-flute`.

    Args:
        plan: As for `render`; so are the others.
    """
    share = 1 / (len(score.tracks) + 1)
    meter = Meter()
    for window in _mix(plan, strips(plan, score, sampler), checkpoint=_part(checkpoint, 0.0, share)):
        meter.add(window)
    curve = _master_curve(plan, meter)
    for index, (track, strip) in enumerate(zip(score.tracks, strips(plan, score, sampler), strict=True), start=1):
        alone = _mix(plan, [strip], checkpoint=_part(checkpoint, index * share, (index + 1) * share))
        pcm = b"".join(samples.tobytes() for samples in _mastered(plan, curve, alone))
        yield f"{index:02}-{track.role}-{track.instrument.replace(' ', '-')}", pcm


def _mix(plan: Plan, group: Sequence[Strip], *, checkpoint: Checkpoint) -> Iterator[Stereo]:
    """Yield the windows of some strips and of the room they stand in."""
    style = STYLES[plan.style]
    room, wet = Room(style.room_s), np.float32(style.room * wetness(plan))
    windows = window_count(plan)
    for window in range(windows):
        mix = np.zeros((CHANNELS, WINDOW_FRAMES), np.float32)
        send = np.zeros(WINDOW_FRAMES, np.float32)
        for index, strip in enumerate(group):
            checkpoint((window + index / len(group)) / windows)
            dry, sent = strip.play()
            mix += dry
            send += sent
        mix += wet * room.run(send)
        yield mix


def _mastered(plan: Plan, curve: Curve, mix: Iterable[Stereo]) -> Iterator[Pcm]:
    """Yield the samples of each window, those of the last one up to the end of the piece."""
    left = _frames(plan)
    for index, window in enumerate(mix):
        gains = curve[index * _WINDOW_STEPS : (index + 1) * _WINDOW_STEPS + 1]
        yield to_pcm16(window[:, :left], gains)
        left -= WINDOW_FRAMES


def _master_curve(plan: Plan, meter: Meter) -> Curve:
    fade_s = plan.ring_s or min(_FADE_S, _FADE_SHARE * plan.duration_s)
    return gain_curve(meter, frames=_frames(plan), fade_s=fade_s)


def _frames(plan: Plan) -> int:
    return round(plan.sounding_s * RATE_HZ)


def _part(checkpoint: Checkpoint, start: float, end: float) -> Checkpoint:
    """Return a checkpoint for one part of the work."""
    return lambda share: checkpoint(start + (end - start) * share)
