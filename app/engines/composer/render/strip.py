"""A strip of the mixing desk: plays one track, and puts it into its place in the stereo picture.

It works window by window, so that memory does not grow with the piece and what it works on
stays in the processor's cache.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np

from app.engines.composer.plan import Plan
from app.engines.composer.render.curves import STEP_FRAMES, Curve, mean_before, per_frame, times_s
from app.engines.composer.render.desk import CHANNELS, KICKS, PUMPING_KIT, width
from app.engines.composer.render.resampling import RATE_HZ, Samples
from app.engines.composer.render.reverb import Stereo
from app.engines.composer.render.sampler import Sampler, Sound, fall
from app.engines.composer.render.voices import Voice, is_placed_by_note, pan_gains, voices
from app.engines.composer.score import Score, Track

WINDOW_FRAMES: Final = 66_150
"""1.5 s: whole blocks of the reverb, whole hops of the meter, whole swings of the side signal."""

_WINDOW_STEPS: Final = WINDOW_FRAMES // STEP_FRAMES
_RELEASED_DB: Final = 60.0

_SIDE_DELAYS: Final = (313, 523, 761, 1_049)
"""Frames by which the copies of the side signal follow the middle: 7 to 24 ms, no two with a common factor."""

_KICK_RECOVERY_S: Final = 0.11
_KICK_ATTACK_S: Final = 0.006
_MELODY_SMOOTHING_S: Final = 0.15


class Strip:
    """Plays a track from its start to its end."""

    def __init__(self, track: Track, plan: Plan, sampler: Sampler, *, ducking: Curve | None) -> None:
        """
        Args:
            track: What to play.
            plan: Where the mood of the piece is found.
            sampler: Where the sounds are found.
            ducking: Gain over the whole piece that makes room for others; None makes none.
        """
        channel = CHANNELS[track.role]
        self._sampler = sampler
        self._ducking = ducking
        self._width = np.float32(width(track.instrument))
        self._pan = pan_gains(channel.pan)
        self._send = np.float32(10 ** (channel.send_db / 20))
        self._channels = 2 if is_placed_by_note(track) else 1
        self._coming = list(voices(track, plan, sampler))[::-1]
        self._ringing: list[Voice] = []
        self._lengths: dict[Sound, int] = {}
        for voice in self._coming:
            self._lengths[voice.sound] = max(voice.end - voice.start, self._lengths.get(voice.sound, 0))
        self._before = np.zeros(max(_SIDE_DELAYS), np.float32)
        self._window = 0

    def play(self) -> tuple[Stereo, Samples]:
        """Return the next `WINDOW_FRAMES`: the track itself, and what of it goes to the room."""
        bus = np.zeros((self._channels, WINDOW_FRAMES), np.float32)
        first = self._window * WINDOW_FRAMES
        while self._coming and self._coming[-1].start < first + WINDOW_FRAMES:
            self._ringing.append(self._coming.pop())
        self._ringing = [voice for voice in self._ringing if self._add(bus, first, voice)]
        if self._ducking is not None:
            step = self._window * _WINDOW_STEPS
            bus *= per_frame(self._ducking[step : step + _WINDOW_STEPS + 1])
        self._window += 1

        middle = bus[0] if self._channels == 1 else bus.mean(axis=0)
        dry = bus * self._pan
        if self._width:
            side = self._width * self._side(middle)
            dry[0] += side
            dry[1] -= side
        return dry, self._send * middle

    def _add(self, bus: Stereo, first: int, voice: Voice) -> bool:
        """Add a voice to the window that starts at frame `first`; tell whether it goes on after that."""
        held = self._sampler.hold(voice.sound, frames=self._lengths[voice.sound])
        end = min(voice.end, voice.start + held.size)
        low, high = max(voice.start, first), min(end, first + WINDOW_FRAMES)
        part = voice.gains * held[low - voice.start : high - voice.start]
        if high > voice.released:
            fading = max(low, voice.released)
            part[:, fading - low :] *= _release(voice.release_s)[fading - voice.released : high - voice.released]
        bus[:, low - first : high - first] += part
        return end > first + WINDOW_FRAMES

    def _side(self, middle: Samples) -> Samples:
        """Return what makes the track wide: delayed copies that swing in level, and cancel when played in mono."""
        fed = np.concatenate((self._before, middle))
        side = np.zeros_like(middle)
        for delay, swing in zip(_SIDE_DELAYS, _swings(), strict=True):
            side += fed[self._before.size - delay : fed.size - delay] * swing
        self._before = fed[-self._before.size :]
        return side


def window_count(plan: Plan) -> int:
    """Return how many windows the piece fills, the last one perhaps in part."""
    return math.ceil(round(plan.sounding_s * RATE_HZ) / WINDOW_FRAMES)


def strips(plan: Plan, score: Score, sampler: Sampler) -> list[Strip]:
    """Return a strip for each track of the score, in its order; each plays `window_count` windows."""
    windows = window_count(plan)
    kick, tune = _kick_curve(score, windows), _tune_curve(score, windows)
    made = []
    for track in score.tracks:
        channel = CHANNELS[track.role]
        down_db = channel.under_kick_db * kick + channel.under_melody_db * tune
        made.append(Strip(track, plan, sampler, ducking=10 ** (-down_db / 20) if down_db.any() else None))
    return made


@lru_cache(maxsize=64)
def _release(release_s: float) -> Samples:
    """Return the gain of a note that was let go."""
    return fall(math.ceil(release_s * RATE_HZ), _RELEASED_DB / release_s)


@lru_cache(maxsize=1)
def _swings() -> Samples:
    """Return the gains of the delayed copies over a window, after which they repeat: shape (copies, frames).

    They come in pairs of sine and cosine, so that together they are always equally strong.
    """
    turn = 2 * np.pi * np.arange(WINDOW_FRAMES) / WINDOW_FRAMES
    pairs = (np.cos(turn), np.sin(turn), np.cos(2 * turn + 1), np.sin(2 * turn + 1))
    return (np.stack(pairs) / math.sqrt(2)).astype(np.float32)


def _kick_curve(score: Score, windows: int) -> Curve:
    """Return how far the others make room for the kick of a drum machine, 0 to 1."""
    time_s = times_s(windows * WINDOW_FRAMES)
    kicks_s = [
        note.start_s
        for track in score.tracks
        if track.instrument == PUMPING_KIT
        for note in track.notes
        if note.pitch in KICKS
    ]
    if not kicks_s:
        return np.zeros_like(time_s)
    last = np.searchsorted(kicks_s, time_s, side="right") - 1
    since_s = np.where(last < 0, np.inf, time_s - np.array(kicks_s)[last])
    return mean_before(np.exp(-since_s / _KICK_RECOVERY_S), _points(_KICK_ATTACK_S))


def _tune_curve(score: Score, windows: int) -> Curve:
    """Return how far the others make room for the tune, 0 to 1."""
    changes = np.zeros(windows * _WINDOW_STEPS + 2)
    for track in score.tracks:
        for note in track.notes if track.role == "melody" else ():
            changes[_points(note.start_s)] += 1
            changes[_points(note.start_s + note.duration_s)] -= 1
    return mean_before(np.minimum(1.0, np.cumsum(changes)[:-1]), _points(_MELODY_SMOOTHING_S))


def _points(duration_s: float) -> int:
    return round(duration_s * RATE_HZ / STEP_FRAMES)
