"""Songs whose sections an upstream makes: whatever it sends, the track is as long as was asked, even and whole."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pytest
import soundfile
from job_shop import Shop
from measures import loudness_lufs
from real.faults import Answer, FaultyServer, Request, Wait, answer, play_plain
from real.programs import wait_for

from app.engines import huggingface
from app.engines.composer.render.resampling import RATE_HZ
from app.engines.engine import Brief
from app.jobs.job import Job
from app.jobs.song import Section, SongRequest
from app.settings import Settings
from app.studio import Studio, open_studio

pytestmark = pytest.mark.real

Samples = npt.NDArray[np.float64]
Upstream = Callable[[str], Answer]
"""What the upstream answers to a prompt."""

DURATIONS_S: Final = (6.0, 5.3, 7.77)


def wav(seconds: float, *, rate_hz: int = 32_000, channels: int = 1, level: float = 0.3) -> Answer:
    """Return the answer with a chord of that length, which swells a little."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    chord = sum(np.sin(2 * np.pi * hz * time_s) for hz in (220.0, 277.2, 329.6)) / 3
    wave = level * chord * (0.8 + 0.2 * np.sin(2 * np.pi * time_s / 3))
    out = io.BytesIO()
    soundfile.write(out, np.repeat(wave[:, None], channels, axis=1), rate_hz, format="WAV", subtype="PCM_16")
    return answer(out.getvalue(), content_type="audio/wav")


def healthy(prompt: str) -> Answer:
    return wav(8.0)


@contextmanager
def serving(folder: Path, upstream: Upstream, **settings: object) -> Iterator[tuple[Shop, FaultyServer]]:
    """Run jobs with an upstream."""
    with FaultyServer() as server:
        play(server, upstream)
        address = {"STUDIO_ENGINE": "huggingface", "HF_API_URL": f"{server.url}/run/predict"}
        shop = Shop(folder, studio=remote_studio, **address, **settings)
        shop.executor.start()
        try:
            wait_for(lambda: shop.executor.health() is None)
            yield shop, server
        finally:
            shop.executor.stop()
            shop.executor.join(20)
            shop.parts.database.close()


def remote_studio(settings: Settings) -> Studio:
    return open_studio(settings, huggingface.build(settings))


def play(server: FaultyServer, upstream: Upstream) -> None:
    def reply(request: Request) -> Answer:
        asked: dict[str, list[str]] = json.loads(request.body)
        return upstream(asked["data"][0])

    server.answers(play_plain(reply))


def submit(shop: Shop) -> str:
    sections = tuple(
        Section(f"Part {number}", Brief(f"part {number}", seconds, seed=number))
        for number, seconds in enumerate(DURATIONS_S, start=1)
    )
    return shop.parts.jobs.submit_song(SongRequest(sections, seed=1), owner="", request_id="r").job.id


def sections(shop: Shop, song: Job) -> dict[int, Job]:
    return shop.parts.jobs.sections(song.id)


def heard(shop: Shop, job: Job) -> Samples:
    assert job.result, job.error
    content = b"".join(shop.parts.jobs.read(job.result))
    samples, rate_hz = soundfile.read(io.BytesIO(content), always_2d=True)
    assert rate_hz == RATE_HZ
    return np.asarray(samples)


def test_sections_of_any_length_rate_and_loudness_become_one_even_track(tmp_path: Path) -> None:
    answers = {
        "part 1": wav(4.0, rate_hz=16_000, level=0.9),
        "part 2": wav(20.0, rate_hz=48_000, channels=2, level=0.02),
        "part 3": wav(8.0, rate_hz=32_000),
    }
    with serving(tmp_path, lambda prompt: answers[prompt]) as (shop, _):
        samples = heard(shop, shop.end(submit(shop)))

    assert len(samples) == round(sum(DURATIONS_S) * RATE_HZ)
    starts = [round(second * RATE_HZ) for second in (0, 6.0, 11.3, 19.07)]
    second = RATE_HZ
    inside = [samples[start + second : end - second] for start, end in itertools.pairwise(starts)]
    loudness = [loudness_lufs(part, RATE_HZ) for part in inside]
    assert max(loudness) - min(loudness) < 1.0
    steps = np.abs(np.diff(samples[:, 0]))
    usual = max(np.abs(np.diff(part[:, 0])).max() for part in inside)
    for seam in starts[1:-1]:
        assert steps[seam - second : seam + second].max() < 1.5 * usual
    windows = samples[: starts[-1] - 2 * second, 0][: -second // 20]
    levels = np.sqrt(np.mean(windows[: len(windows) // 2205 * 2205].reshape(-1, 2205) ** 2, axis=1))
    assert levels[1:].min() > 0.2 * np.median(levels)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (answer({"error": "This prompt is not acceptable"}, 400), "prompt-refused"),
        (answer({"error": "Out of luck"}, 500), "upstream-error"),
        (answer({"error": "Too many requests"}, 429, ("Retry-After", "5000")), "upstream-unavailable"),
        ((Wait(5.0),), "upstream-timeout"),
    ],
)
def test_a_section_that_the_upstream_fails_is_told_and_can_be_made_again(
    tmp_path: Path, fault: Answer, code: str
) -> None:
    def failing(prompt: str) -> Answer:
        return fault if prompt == "part 2" else healthy(prompt)

    limits = {"STUDIO_JOB_ATTEMPTS": 1, "STUDIO_JOB_TIMEOUT_S": 1.5, "STUDIO_JOB_DEADLINE_S": 3.0}
    with serving(tmp_path, failing, **limits) as (shop, upstream):
        song = shop.end(submit(shop))
        made = sections(shop, song)
        play(upstream, healthy)
        again = shop.end(shop.parts.jobs.again(song, owner="", request_id="r").job.id)

        assert (song.status, song.message) == ("failed", "“Part 2” could not be made. The others are kept.")
        assert song.error
        assert made[2].error
        assert (song.error["code"], made[2].error["code"]) == (code, code)
        assert [made[number].status for number in (1, 2, 3)] == ["succeeded", "failed", "succeeded"]
        assert again.status == "succeeded"
        assert upstream.count("POST") == 1
        assert sections(shop, again)[3].result == made[3].result
        assert len(heard(shop, again)) == round(sum(DURATIONS_S) * RATE_HZ)


def test_a_section_that_is_tried_again_says_so(tmp_path: Path) -> None:
    faults = [answer({"error": "Bad gateway"}, 502)]

    def failing_once(prompt: str) -> Answer:
        return faults.pop() if prompt == "part 2" and faults else healthy(prompt)

    with serving(tmp_path, failing_once) as (shop, _):
        song = shop.end(submit(shop))
        second = sections(shop, song)[2]
        told = [change.message for change in shop.parts.jobs.changes(second.id, 0)]

    assert song.status == "succeeded"
    assert second.attempt == 2
    assert "The music engine had a problem, retrying… (2/3)" in told


def test_cancelling_a_song_leaves_its_upstream_alone(tmp_path: Path) -> None:
    def slow(prompt: str) -> Answer:
        return healthy(prompt) if prompt == "part 1" else (Wait(10.0), *healthy(prompt))

    with serving(tmp_path, slow) as (shop, upstream):
        song_id = submit(shop)
        wait_for(lambda: upstream.count("POST") == 3)
        wait_for(lambda: sections(shop, shop.job(song_id))[1].status == "succeeded")

        shop.parts.jobs.cancel(song_id)
        song = shop.end(song_id)

        assert song.status == "cancelled"
        made = sections(shop, song)
        assert [made[number].status for number in (1, 2, 3)] == ["succeeded", "cancelled", "cancelled"]
        wait_for(lambda: upstream.open_connections <= 1)  # one may be kept for the next question
        assert upstream.count("POST") == 3
