"""The room: how long it rings, that it is wide, and that it may be fed in pieces."""

from __future__ import annotations

import numpy as np
import pytest

from app.engines.composer.render.resampling import RATE_HZ, Samples
from app.engines.composer.render.reverb import BLOCK_FRAMES, Room, Stereo


def ring(room_s: float, *, blocks: int) -> Stereo:
    click = np.zeros(blocks * BLOCK_FRAMES, np.float32)
    click[0] = 1
    return Room(room_s).run(click)


def decay_s(answer: Samples) -> float:
    """Return the time to fall by 60 dB, from the fall between -5 and -35 dB (ISO 3382: T30)."""
    left = np.cumsum(answer[::-1].astype(np.float64) ** 2)[::-1]
    fallen_db = 10 * np.log10(left / left[0] + 1e-15)
    return float(2 * (np.argmax(fallen_db < -35) - np.argmax(fallen_db < -5)) / RATE_HZ)


@pytest.mark.parametrize("room_s", [0.5, 1.4, 3.6])
def test_it_dies_away_in_the_stated_time(room_s: float) -> None:
    left, right = ring(room_s, blocks=10)

    assert decay_s(left) == pytest.approx(room_s, rel=0.1)
    assert decay_s(right) == pytest.approx(room_s, rel=0.1)


def test_the_treble_dies_away_first() -> None:
    spectra = [np.abs(np.fft.rfft(part)) for part in np.split(ring(2.0, blocks=4)[0], 4)]
    treble = round(5_000 * BLOCK_FRAMES / RATE_HZ)

    shares = [float(np.sum(spectrum[treble:] ** 2) / np.sum(spectrum**2)) for spectrum in spectra]

    assert shares[0] > 10 * shares[2]


def test_the_direct_sound_is_not_in_it() -> None:
    assert np.argmax(np.abs(ring(1.4, blocks=2)[0]) > 1e-3) > 0.01 * RATE_HZ


def test_left_and_right_are_different_rooms() -> None:
    left, right = ring(1.4, blocks=4)

    assert abs(np.corrcoef(left, right)[0, 1]) < 0.1


def test_it_may_be_fed_in_pieces() -> None:
    noise = np.random.default_rng(1).standard_normal(6 * BLOCK_FRAMES).astype(np.float32)
    room = Room(1.4)

    pieces = [room.run(noise[: 2 * BLOCK_FRAMES]), room.run(noise[2 * BLOCK_FRAMES :])]

    assert np.allclose(np.concatenate(pieces, axis=1), Room(1.4).run(noise), atol=1e-5)


def test_half_the_rate_is_not_heard() -> None:
    """A tone of 5 kHz has its image at 17 kHz, and one of 16 kHz its alias at 6 kHz."""
    frames = np.arange(4 * BLOCK_FRAMES) / RATE_HZ
    window = np.kaiser(2 * BLOCK_FRAMES, 14)
    low, high = (
        np.abs(
            np.fft.rfft(
                Room(0.8).run(np.sin(2 * np.pi * hz * frames).astype(np.float32))[0, 2 * BLOCK_FRAMES :] * window
            )
        )
        for hz in (5_000.0, 16_000.0)
    )

    assert low[15_000:].max() < 1e-3 * low.max()
    assert high.max() < 1e-3 * low.max()
