"""The sections of a song as one track: where each begins, how loud it is, and what is heard at the seams."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from app.audio import Audio, prove
from app.engines.composer.render.resampling import RATE_HZ
from app.engines.engine import CROSSFADE_S
from app.errors import UpstreamBadResponse
from app.mixdown import Part, mix_down

Samples = npt.NDArray[np.float32]

HEADROOM: Final = 0.84


def tone(seconds: float, *, hz: float = 440.0, level: float = 0.5, rate_hz: int = RATE_HZ, channels: int = 2) -> Audio:
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    wave = np.repeat((level * np.sin(2 * np.pi * hz * time_s))[:, None], channels, axis=1)
    return encoded(wave, rate_hz)


def constant(seconds: float, level: float) -> Audio:
    return encoded(np.full((round(seconds * RATE_HZ), 2), level), RATE_HZ)


def encoded(samples: npt.NDArray[np.float64], rate_hz: int) -> Audio:
    out = io.BytesIO()
    soundfile.write(out, samples, rate_hz, format="WAV", subtype="PCM_16")
    return prove(out.getvalue())


def heard(track: Audio) -> Samples:
    samples, rate_hz = soundfile.read(io.BytesIO(track.content), dtype="float32", always_2d=True)
    assert (rate_hz, samples.shape[1]) == (RATE_HZ, 2)
    return np.asarray(samples[:, 0])


def at(samples: Samples, seconds: float, *, for_s: float = 0.05) -> Samples:
    start = round(seconds * RATE_HZ)
    return samples[start : start + round(for_s * RATE_HZ)]


def level(samples: Samples) -> float:
    return float(np.sqrt(np.mean(samples**2)))


def pitch_hz(samples: Samples) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum)) * RATE_HZ / len(samples)


# ---------------------------------------------------------------------- sections that know each other


def test_a_section_begins_exactly_where_the_one_before_ends() -> None:
    first, second = constant(3.0, 0.5), constant(3.0, 0.25)

    samples = heard(mix_down([Part(first, 0.0, 3.0, ring_s=0.0), Part(second, 3.0, 3.0, ring_s=0.0)], format="wav"))

    assert len(samples) == 6 * RATE_HZ
    seam = 3 * RATE_HZ
    assert samples[seam - 1] == pytest.approx(0.5 * HEADROOM, abs=1e-3)
    assert samples[seam] == pytest.approx(0.25 * HEADROOM, abs=1e-3)


def test_the_last_notes_ring_into_the_next_section() -> None:
    first = Part(constant(5.0, 0.25), 0.0, 3.0, ring_s=2.0)
    second = Part(constant(4.0, 0.125), 3.0, 4.0, ring_s=0.0)

    samples = heard(mix_down([first, second], format="wav"))

    assert len(samples) == 7 * RATE_HZ
    assert at(samples, 4.0) == pytest.approx(0.375 * HEADROOM, abs=1e-3)
    assert at(samples, 5.5) == pytest.approx(0.125 * HEADROOM, abs=1e-3)


def test_what_rings_longer_than_the_next_section_rings_on_in_the_one_after() -> None:
    parts = [
        Part(constant(8.0, 0.25), 0.0, 3.0, ring_s=5.0),
        Part(constant(3.0, 0.125), 3.0, 3.0, ring_s=0.0),
        Part(constant(3.0, 0.0625), 6.0, 3.0, ring_s=0.0),
    ]

    samples = heard(mix_down(parts, format="wav"))

    assert at(samples, 7.5) == pytest.approx(0.3125 * HEADROOM, abs=1e-3)
    assert at(samples, 8.5) == pytest.approx(0.0625 * HEADROOM, abs=1e-3)


def test_a_section_may_be_quieter() -> None:
    loud = heard(mix_down([Part(constant(3.0, 0.5), 0.0, 3.0, ring_s=0.0)], format="wav"))
    quiet = heard(mix_down([Part(constant(3.0, 0.5), 0.0, 3.0, ring_s=0.0, gain_db=-6.0)], format="wav"))

    assert 20 * np.log10(level(quiet) / level(loud)) == pytest.approx(-6.0, abs=0.05)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(3.0, 6.0), min_size=1, max_size=5), st.floats(0.0, 2.0), st.booleans())
def test_the_track_is_as_long_as_its_sections(durations_s: list[float], ring_s: float, is_strange: bool) -> None:
    """However the files differ from that, and with no frame lost to rounding."""
    starts_s = [sum(durations_s[:number]) for number in range(len(durations_s))]
    parts = [
        Part(tone(4.0), start_s, duration_s, ring_s=None if is_strange else ring_s)
        for start_s, duration_s in zip(starts_s, durations_s, strict=True)
    ]

    assert len(heard(mix_down(parts, format="wav"))) == round((starts_s[-1] + durations_s[-1]) * RATE_HZ)


# ---------------------------------------------------------------------- sections that do not


def test_strangers_are_equally_loud_and_crossfaded() -> None:
    quiet, loud = tone(6.0, hz=300.0, level=0.02), tone(6.0, hz=1_000.0, level=0.9)

    samples = heard(mix_down([Part(quiet, 0.0, 5.0), Part(loud, 5.0, 5.0)], format="wav"))

    assert len(samples) == 10 * RATE_HZ
    assert abs(20 * np.log10(level(at(samples, 2.0, for_s=1)) / level(at(samples, 8.0, for_s=1)))) < 3.0
    assert pitch_hz(at(samples, 4.0, for_s=0.9)) == pytest.approx(300.0, abs=3)
    assert pitch_hz(at(samples, 6.5, for_s=0.9)) == pytest.approx(1_000.0, abs=3)
    middle = at(samples, 5.0 + CROSSFADE_S / 2, for_s=0.1)
    spectrum = np.abs(np.fft.rfft(middle))
    assert min(spectrum[30], spectrum[100]) > 0.2 * spectrum.max()  # both are heard


def test_what_came_too_short_goes_round_without_a_gap() -> None:
    samples = heard(mix_down([Part(tone(4.0), 0.0, 15.0)], format="wav"))

    assert len(samples) == 15 * RATE_HZ
    levels = [level(at(samples, tenth / 10, for_s=0.1)) for tenth in range(5, 130)]
    assert min(levels) > 0.5 * max(levels)


def test_the_end_of_a_track_fades_out() -> None:
    samples = heard(mix_down([Part(tone(30.0), 0.0, 5.0)], format="wav"))

    assert level(at(samples, 4.9)) < 0.2 * level(at(samples, 3.0))
    assert abs(samples[-1]) < 0.01


@pytest.mark.parametrize(("rate_hz", "channels"), [(16_000, 1), (32_000, 1), (48_000, 2), (44_100, 6)])
def test_any_rate_and_channels_become_the_tracks(rate_hz: int, channels: int) -> None:
    audio = tone(5.0, hz=440.0, rate_hz=rate_hz, channels=channels)

    samples = heard(mix_down([Part(audio, 0.0, 5.0)], format="wav"))

    assert len(samples) == 5 * RATE_HZ
    assert pitch_hz(at(samples, 1.0, for_s=1.0)) == pytest.approx(440.0, abs=2)


def test_a_neighbour_of_another_kind_is_no_trouble() -> None:
    """As when another engine took over for one of the sections."""
    composed, remote = Part(constant(7.0, 0.25), 0.0, 5.0, ring_s=2.0), Part(tone(5.0), 5.0, 5.0)

    assert len(heard(mix_down([composed, remote], format="wav"))) == 10 * RATE_HZ


# ---------------------------------------------------------------------- the file


def test_nothing_is_beyond_full_scale() -> None:
    first, second = Part(constant(5.0, 0.89), 0.0, 3.0, ring_s=2.0), Part(constant(3.0, 0.89), 3.0, 3.0, ring_s=0.0)

    samples = heard(mix_down([first, second], format="wav"))

    assert np.abs(samples).max() <= 1.0
    assert at(samples, 1.0) == pytest.approx(0.89 * HEADROOM, abs=1e-3)


@pytest.mark.parametrize("format", ["flac", "ogg", "mp3"])
def test_the_track_comes_in_any_container(format: str) -> None:
    track = mix_down([Part(tone(5.0), 0.0, 5.0, ring_s=0.0)], format=format)  # type: ignore[arg-type]

    assert track.format == format
    assert track.duration_s == pytest.approx(5.0, abs=0.06)
    samples = heard(track)
    assert pitch_hz(at(samples, 1.0, for_s=1.0)) == pytest.approx(440.0, abs=2)
    assert level(at(samples, 1.0, for_s=1.0)) == pytest.approx(0.5 * HEADROOM / np.sqrt(2), rel=0.02)


def test_a_damaged_section_is_told() -> None:
    damaged = Audio(tone(5.0).content[:30], "wav", 5.0, RATE_HZ, 2)

    with pytest.raises(UpstreamBadResponse):
        mix_down([Part(damaged, 0.0, 5.0)], format="wav")


def test_sections_are_asked_for_one_by_one() -> None:
    """Ten minutes of samples at a time would be too much for a small machine."""
    asked: list[int] = []

    def parts() -> object:
        for number in range(4):
            asked.append(number)
            yield Part(tone(3.0), 3.0 * number, 3.0, ring_s=0.0)

    track = mix_down(parts(), format="wav")  # type: ignore[arg-type]

    assert asked == [0, 1, 2, 3]
    assert track.duration_s == 12.0
