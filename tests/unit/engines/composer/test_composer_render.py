from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import engines
from app.engines import composer
from app.engines.composer.plan import INSTRUMENTS, STYLES
from app.engines.composer.render import RATE_HZ
from app.engines.engine import Brief, Progress
from app.errors import UpstreamTimeout
from app.retry import Deadline
from app.settings import Settings

ROOT = Path(engines.__file__).parents[2]
ENGINE = composer.build(Settings())


class Clock:
    """Seconds that pass only when it is read: `step_s` each time."""

    def __init__(self, *, step_s: float) -> None:
        self.now_s, self.step_s = 0.0, step_s

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


def content(prompt: str, *, duration_s: float = 5.0, seed: int = 1, **fields: Any) -> bytes:
    take = ENGINE.generate(Brief(prompt, duration_s, seed, **fields), deadline=Deadline.after(60))
    return take.audio.content


def samples(wav: bytes) -> npt.NDArray[np.float64]:
    return np.frombuffer(wav[44:], "<i2").reshape(-1, 2) / 32_768


def silent_share(signal: npt.NDArray[np.float64]) -> float:
    """Return the share of 50 ms frames below -60 dBFS."""
    window = RATE_HZ // 20
    whole = signal[: len(signal) // window * window].reshape(-1, window * 2)
    return float(np.mean(np.sqrt(np.square(whole).mean(axis=1)) < 1e-3))


@pytest.mark.parametrize("duration_s", [5, 7.3, 10, 29.99, 30])
def test_a_piece_has_exactly_the_frames_that_were_asked_for(duration_s: float) -> None:
    take = ENGINE.generate(Brief("a song", duration_s, 1), deadline=Deadline.after(60))
    assert (take.audio.format, take.audio.channels, take.audio.rate_hz) == ("wav", 2, RATE_HZ)
    assert len(samples(take.audio.content)) == round(duration_s * RATE_HZ)
    assert take.audio.duration_s == pytest.approx(duration_s, abs=1 / RATE_HZ)
    assert take.decode_s >= 0


@pytest.mark.parametrize("style", [style.name for style in STYLES])
def test_a_piece_sounds_at_once_and_throughout_neither_too_loud_nor_too_soft(style: str) -> None:
    signal = samples(content(f"{style} piece", duration_s=10.0))
    assert np.abs(signal).max() <= 0.9
    assert -18 <= 20 * np.log10(np.sqrt(np.square(signal).mean())) <= -14.5
    assert np.abs(signal[: RATE_HZ // 2]).max() > 0.01
    assert silent_share(signal) <= 0.05
    assert np.abs(signal.mean()) < 0.005


def test_both_sides_differ_and_yet_survive_being_summed() -> None:
    left, right = samples(content("a song")).T
    middle, side = (left + right) / 2, (left - right) / 2
    width = np.sqrt(np.square(side).mean() / np.square(middle).mean())
    assert 0.14 <= width <= 1


def test_a_piece_is_music_and_not_a_beep() -> None:
    """Power in the four strongest bins and the share of bass tell pieces from test tones."""
    mono = samples(content("happy pop song", duration_s=10.0)).mean(axis=1)
    frames = mono[: len(mono) // 4096 * 4096].reshape(-1, 4096) * np.hanning(4096)
    power = np.square(np.abs(np.fft.rfft(frames, axis=1)))
    shares = power / power.sum(axis=1, keepdims=True)
    hz = np.fft.rfftfreq(4096, 1 / RATE_HZ)
    assert 0.3 <= np.median(np.sort(shares, axis=1)[:, -4:].sum(axis=1)) <= 0.75
    assert power.sum(axis=0)[(hz > 30) & (hz < 160)].sum() / power.sum() >= 0.04


def test_a_dark_calm_piece_is_duller_than_a_happy_one() -> None:
    def centroid_hz(mood: str) -> float:
        mono = samples(content("piano", mood=mood, instruments=("piano",))).mean(axis=1)
        power = np.square(np.abs(np.fft.rfft(mono)))
        return float((power * np.fft.rfftfreq(len(mono), 1 / RATE_HZ)).sum() / power.sum())

    assert centroid_hz("sad") < centroid_hz("happy")


def test_the_same_brief_gives_the_same_bytes_and_another_seed_others() -> None:
    first = content("lofi", seed=7)
    assert content("lofi", seed=7) == first
    assert content("lofi", seed=8) != first


def test_another_process_gives_the_same_bytes() -> None:
    script = (
        "import hashlib\n"
        "from app.engines import composer\n"
        "from app.engines.engine import Brief\n"
        "from app.retry import Deadline\n"
        "from app.settings import Settings\n"
        "take = composer.build(Settings()).generate(Brief('lofi', 5.0, 7), deadline=Deadline.after(60))\n"
        "print(hashlib.sha256(take.audio.content).hexdigest())\n"
    )
    answer = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == hashlib.sha256(content("lofi", seed=7)).hexdigest()


def test_numpy_is_not_imported_before_the_first_piece() -> None:
    script = (
        "import sys, app.engines\n"
        "from app.engines import composer\n"
        "from app.settings import Settings\n"
        "composer.build(Settings())\n"
        "assert 'numpy' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


@settings(max_examples=30, deadline=None)
@given(
    st.builds(
        Brief,
        st.text(min_size=1, max_size=1000) | st.sampled_from([style.name for style in STYLES]),
        st.floats(0.5, 3),
        st.integers(0, 2**32 - 1),
        mood=st.none() | st.text(max_size=60),
        tempo_bpm=st.none() | st.integers(40, 220),
        instruments=st.lists(st.text(max_size=20) | st.sampled_from(list(INSTRUMENTS)), max_size=4).map(tuple),
    )
)
def test_every_brief_becomes_a_piece_of_its_length(brief: Brief) -> None:
    take = ENGINE.generate(brief, deadline=Deadline.after(60))
    signal = samples(take.audio.content)
    assert len(signal) == round(brief.duration_s * RATE_HZ)
    assert 0.05 < np.abs(signal).max() <= 0.9


@pytest.mark.parametrize(
    "prompt", ["🎺🥁" * 500, "x" * 1000, "\ud800", "a\tb\nc", "'; DROP TABLE songs;--", "...", "ſtraße"]
)
def test_odd_text_is_no_obstacle(prompt: str) -> None:
    assert len(samples(content(prompt, duration_s=1.0))) == RATE_HZ


def test_progress_is_told_in_sentences_and_never_goes_back() -> None:
    told: list[Progress] = []
    ENGINE.generate(Brief("a song", 5.0, 1), deadline=Deadline.after(60), report=told.append)
    assert list(dict.fromkeys(each.message for each in told)) == ["Composing…", "Rendering…", "Finishing…"]
    fractions = [each.fraction for each in told if each.fraction is not None]
    assert len(fractions) == len(told)
    assert fractions == sorted(fractions)


def test_a_deadline_that_has_passed_is_a_timeout_at_once() -> None:
    told: list[Progress] = []
    with pytest.raises(UpstreamTimeout):
        ENGINE.generate(Brief("a song", 5.0, 1), deadline=Deadline.after(0), report=told.append)
    assert told == []


@pytest.mark.parametrize("seconds", [4, 6])
def test_a_deadline_that_passes_between_two_steps_is_a_timeout(seconds: int) -> None:
    deadline = Deadline(seconds, Clock(step_s=1.0))
    told: list[Progress] = []
    with pytest.raises(UpstreamTimeout):
        ENGINE.generate(Brief("a song", 5.0, 1), deadline=deadline, report=told.append)
    assert told[-1].message == "Rendering…"


def test_a_piece_waits_for_its_turn_only_until_its_deadline() -> None:
    engine = composer.Composer(timeout_s=60.0)
    inside, leave = threading.Event(), threading.Event()

    def report(progress: Progress) -> None:
        inside.set()
        leave.wait(10)

    first = threading.Thread(
        target=lambda: engine.generate(Brief("a song", 1.0, 1), deadline=Deadline.after(60), report=report)
    )
    first.start()
    assert inside.wait(10)
    with pytest.raises(UpstreamTimeout, match="busy"):
        engine.generate(Brief("a song", 1.0, 1), deadline=Deadline.after(0.01))
    leave.set()
    first.join(10)
    assert engine.generate(Brief("a song", 1.0, 1), deadline=Deadline.after(60)).audio.duration_s == 1.0


def test_one_attempt_is_enough_and_may_take_the_whole_deadline() -> None:
    assert ENGINE.name == "composer"
    assert (ENGINE.policy.attempts, ENGINE.policy.backoff_s) == (1, 0)
    assert ENGINE.policy.timeout_s == Settings().deadline_s
