"""Gains that change over time: a point every `STEP_FRAMES`, straight lines in between."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from app.engines.composer.render.resampling import RATE_HZ, Samples

STEP_FRAMES: Final = 30

Curve = npt.NDArray[np.float64]
"""Point k is the gain at frame k * STEP_FRAMES."""


def times_s(frames: int) -> Curve:
    """Return the times of the points of a curve over some frames, the last at or after their end."""
    return np.arange(math.ceil(frames / STEP_FRAMES) + 1, dtype=np.float64) * (STEP_FRAMES / RATE_HZ)


def per_frame(curve: Curve) -> Samples:
    """Return the gain of each frame between the first and the last point."""
    start = curve[:-1, None].astype(np.float32)
    rise = np.diff(curve)[:, None].astype(np.float32)
    share = np.arange(STEP_FRAMES, dtype=np.float32) / np.float32(STEP_FRAMES)
    return np.asarray((start + rise * share).reshape(-1), np.float32)


def mean_before(curve: Curve, points: int) -> Curve:
    """Return the mean of each point and of the `points` before it; before the first is the first."""
    sums = np.cumsum(np.concatenate((np.full(points + 1, curve[0]), curve)))
    return np.asarray((sums[points + 1 :] - sums[: -points - 1]) / (points + 1))
