"""Songs of the composer as they are heard: where sections begin, what they have in common, and their seams."""

from __future__ import annotations

import dataclasses
import io
import itertools
from typing import Final

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from app.audio import Audio, prove
from app.engines.composer import Composer
from app.engines.composer.plan import RING_S, plan_of
from app.engines.composer.plan.terms import key_in
from app.engines.composer.plan.words import read_wish
from app.engines.composer.render.resampling import RATE_HZ
from app.engines.engine import Take
from app.jobs.song import PlacedSection, SongRequest
from app.mixdown import Part, mix_down
from app.retry import Deadline
from app.web.briefs import song_of
from app.web.schemas import SongBody

Samples = npt.NDArray[np.float64]

HEADROOM: Final = 0.84
LSB: Final = 1 / 32_768
WINDOW: Final = RATE_HZ // 20
SONG: Final = song_of(
    SongBody.model_validate(
        {
            "style": "lo-fi hip hop",
            "tempo": 84,
            "key": "A minor",
            "seed": 11,
            "sections": [
                {"name": "Intro", "duration": 6.3, "energy": 2},
                {"name": "Verse", "duration": 8.45},
                {"name": "Chorus", "duration": 7.0, "energy": 4},
                {"name": "Outro", "duration": 6.0, "energy": 2},
            ],
        }
    )
)


def take_of(section: PlacedSection) -> Take:
    return Composer(timeout_s=60).generate(section.brief, deadline=Deadline.after(60))


def joined(song: SongRequest, takes: list[Take]) -> Audio:
    return mix_down(
        (
            Part(prove(take.file.content), each.start_s, each.brief.duration_s, take.ring_s, each.gain_db)
            for each, take in zip(song.placed(), takes, strict=True)
        ),
        format="wav",
    )


def samples_of(content: bytes) -> Samples:
    samples, rate_hz = soundfile.read(io.BytesIO(content), always_2d=True)
    assert rate_hz == RATE_HZ
    return np.asarray(samples)


@pytest.fixture(scope="module")
def takes() -> list[Take]:
    return [take_of(section) for section in SONG.placed()]


@pytest.fixture(scope="module")
def track(takes: list[Take]) -> Samples:
    return samples_of(joined(SONG, takes).content)


def frame(seconds: float) -> int:
    return round(seconds * RATE_HZ)


def seams() -> list[int]:
    return [frame(start_s) for start_s in SONG.starts_s()[1:]]


def test_a_section_stands_in_the_track_exact_to_the_sample(takes: list[Take], track: Samples) -> None:
    assert len(track) == frame(SONG.duration_s)
    ringing = np.zeros((0, 2))
    for section, take in zip(SONG.placed(), takes, strict=True):
        start, end = frame(section.start_s), frame(section.start_s + section.brief.duration_s)
        made = samples_of(take.file.content) * HEADROOM * 10 ** (section.gain_db / 20)
        made[: len(ringing)] += ringing
        ringing = made[end - start :]

        assert np.abs(track[start:end] - made[: end - start]).max() < 3 * LSB


def test_the_last_notes_of_a_section_sound_into_the_next_one(takes: list[Take]) -> None:
    assert [take.ring_s for take in takes] == [RING_S, RING_S, RING_S, 0.0]
    for take in takes[:-1]:
        tail = samples_of(take.file.content)[-frame(RING_S) :]
        assert np.abs(tail[: frame(RING_S / 2)]).max() > 0.01
        assert np.abs(tail[-WINDOW:]).max() < 0.01


def test_nothing_clicks_and_nothing_falls_silent_at_a_seam(track: Samples) -> None:
    steps = np.abs(np.diff(track, axis=0)).max(axis=1)
    levels = np.sqrt(np.mean(track[: len(track) // WINDOW * WINDOW].reshape(-1, WINDOW * 2) ** 2, axis=1))
    around = np.zeros(len(steps), bool)
    for seam in seams():
        around[seam - RATE_HZ // 100 : seam + RATE_HZ // 100] = True
    assert steps[around].max() <= steps[~around].max()
    for seam in seams():
        assert levels[seam // WINDOW - 4 : seam // WINDOW + 5].min() > 0.1 * np.median(levels)


def test_key_tempo_style_and_theme_are_held(takes: list[Take]) -> None:
    plans = [plan_of(section.brief) for section in SONG.placed()]

    assert len({(plan.style, plan.tempo_bpm, plan.tonic, plan.mode, plan.theme) for plan in plans}) == 1
    assert plans[0].tonic == 9
    assert [plan.opening for plan in plans] == ["begin", "continue", "continue", "continue"]
    assert [plan.ending for plan in plans] == ["lead on", "lead on", "lead on", "close"]


def test_the_same_song_is_the_same_bytes(takes: list[Take]) -> None:
    again = [take_of(section) for section in SONG.placed()]

    assert joined(SONG, again).content == joined(SONG, takes).content


@pytest.mark.parametrize("number", [1, 2])
def test_a_section_with_another_seed_is_another_one_in_the_same_song(number: int, takes: list[Take]) -> None:
    remade = SONG.with_seeds({number: 999})
    section, other = remade.placed()[number - 1], SONG.placed()[number - 1]

    assert take_of(section).file.content != takes[number - 1].file.content
    before, after = plan_of(other.brief), plan_of(section.brief)
    assert dataclasses.replace(before, seed=0, players=()) == dataclasses.replace(after, seed=0, players=())


def test_a_quieter_section_is_quieter(track: Samples) -> None:
    intro, verse, chorus, _ = itertools.pairwise([0, *seams(), len(track)])

    def level(part: tuple[int, int]) -> float:
        return float(np.sqrt(np.mean(track[part[0] + frame(RING_S) : part[1]] ** 2)))

    assert level(intro) < level(verse) < level(chorus)


@pytest.mark.parametrize("mood", ["fast", "energetic", "driving"])
@pytest.mark.parametrize("style", ["pop", "jazz", "techno"])
def test_what_follows_a_section_that_is_made_again_still_goes_with_it(style: str, mood: str) -> None:
    song = song_of(
        SongBody.model_validate(
            {"style": style, "seed": 3, "sections": [{"duration": 8}, {"duration": 8, "mood": mood}, {"duration": 8}]}
        )
    )
    plans = [plan_of(section.brief) for section in song.placed()]
    for seed in range(100, 120):
        again = [plan_of(section.brief) for section in song.with_seeds({2: seed}).placed()]
        assert again[1] == dataclasses.replace(plans[1], seed=again[1].seed)
        assert again[1].seed != plans[1].seed
        assert again[2] == plans[2]


def test_every_spelling_of_a_key_is_heard() -> None:
    notes = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
    signs = {"": 0, "#": 1, " sharp": 1, "b": -1, " flat": -1}
    modes = {"": None, "major": "major", "maj": "major", "minor": "minor", "min": "minor", "m": "minor"}
    for note, sign, gap, mode, is_small in itertools.product(notes, signs, ("", " "), modes, (False, True)):
        key = f"{note.lower() if is_small else note}{sign}{gap}{mode}"
        body = {"style": "jazz in a small café", "key": key.strip(), "sections": [{"duration": 8}]}
        (section,) = song_of(SongBody.model_validate(body)).sections
        heard = key_in(read_wish(section.brief.prompt).wanted)
        assert heard == ((notes[note] + signs[sign]) % 12, modes[mode]), key
