"""What comes out is music: measured on whole pieces, from the request to the samples.

Each piece is made once and measured once; `piece` keeps its figures, not its samples.
"""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Final, NamedTuple

import measures
import numpy as np
import pytest

from app.engines.composer.instruments import INSTRUMENTS
from app.engines.composer.plan import Plan, make_plan
from app.engines.composer.plan.moods import MOODS
from app.engines.composer.render import CHANNELS, RATE_HZ, render
from app.engines.composer.render.sampler import Sampler
from app.engines.composer.score import Score, compose
from app.engines.composer.styles import STYLES
from app.engines.engine import Brief

ROOT: Final = Path(__file__).parents[4]

FIVE_MOODS: Final = ("sad", "calm", "dark", "happy", "energetic")
LENGTHS_S: Final = (5.0, 10.0, 15.0, 30.0)


class Piece(NamedTuple):
    plan: Plan
    score: Score
    frames: int
    sound: measures.Sound
    tempo_error: float


@cache
def the_sampler() -> Sampler:
    """Return one for all pieces, as the service has it."""
    return Sampler()


@cache
def piece(brief: Brief) -> Piece:
    plan = make_plan(brief)
    score = compose(plan)
    pcm = render(plan, score, the_sampler(), checkpoint=lambda _: None)
    samples = np.frombuffer(pcm, "<i2").reshape(-1, CHANNELS) / 32768
    # Bars of a waltz are felt as strongly as its beats.
    beats = (0.5, 1, 2, 3) if score.beats_per_bar == 3 else (0.5, 1, 2)
    error = measures.tempo_error(samples.mean(axis=1), RATE_HZ, score.tempo_bpm, beats=beats)
    return Piece(plan, score, len(samples), measures.sound(samples, RATE_HZ), error)


def every_style() -> list[Brief]:
    """Return each style once, moods and lengths going round at different paces."""
    moods, lengths = itertools.cycle(FIVE_MOODS), itertools.cycle(LENGTHS_S)
    return [
        Brief(style, length_s, seed=seed, mood=mood)
        for seed, (style, mood, length_s) in enumerate(zip(STYLES, moods, lengths, strict=False))
    ]


def every_mood() -> list[Brief]:
    """Return the five moods in four styles."""
    styles = ("piano", "pop", "orchestral", "lofi")
    return [Brief(style, 12.0, seed=7, mood=mood) for style in styles for mood in FIVE_MOODS]


def every_length() -> list[Brief]:
    """Return the lengths in styles with and without drums, and lengths that no bar fits."""
    requests = itertools.product(("solo piano", "rock", "waltz"), (5.0, 7.3, 11.111, 21.7))
    return [Brief(prompt, length_s, seed=3) for prompt, length_s in requests]


def name(brief: Brief) -> str:
    return f"{brief.mood or ''} {brief.prompt} {brief.duration_s:g} s".strip()


GRID: Final = [*every_style(), *every_mood(), *every_length()]
each_of_the_grid = pytest.mark.parametrize("brief", GRID, ids=map(name, GRID))


@each_of_the_grid
def test_it_sounds_like_music(brief: Brief) -> None:
    made = piece(brief)
    assert made.frames == round(brief.duration_s * RATE_HZ)
    assert measures.faults(made.sound) == []


@each_of_the_grid
def test_its_notes_agree(brief: Brief) -> None:
    score = piece(brief).score
    assert measures.chord_tone_share(score) == 1
    assert measures.scale_share(score) == 1
    assert measures.wide_leap_share(score) <= 0.03
    # A short piece has few held notes: one may rub.
    held = sum(note.duration_s >= measures.RUB_S for note in measures.notes_of(score, "melody"))
    assert measures.rub_share(score) <= max(0.1, 1 / max(held, 1))


def test_rubs_are_rare_over_all_styles() -> None:
    assert mean(measures.rub_share(piece(brief).score) for brief in GRID) <= 0.04


DRIVEN: Final = [Brief(style, 15.0, seed=5) for style in STYLES if "drums" in STYLES[style].cast]


@pytest.mark.parametrize("brief", DRIVEN, ids=map(name, DRIVEN))
def test_the_tempo_that_is_heard_is_the_one_that_is_written(brief: Brief) -> None:
    made = piece(brief)
    if all(player.role != "drums" for player in made.plan.players):
        pytest.skip("nobody drums here unasked")
    assert made.tempo_error <= 0.04


@pytest.mark.parametrize("pair", list(itertools.combinations(FIVE_MOODS, 2)), ids="-".join)
def test_moods_are_told_apart(pair: tuple[str, str]) -> None:
    """Brightness, notes a second or strength of the stroke differ, in the mean of four styles."""
    brightness, density, strength = (_ratio(*figures) for figures in zip(*map(_character, pair), strict=True))
    assert max(brightness / 1.25, density / 1.4, strength / 1.25) >= 1


def _ratio(one: float, other: float) -> float:
    return max(one, other) / min(one, other)


@cache
def _character(mood: str) -> tuple[float, float, float]:
    """Return mean centroid in Hz, notes a second, and velocity."""
    made = [piece(brief) for brief in every_mood() if brief.mood == mood]
    return (
        mean(each.sound.centroid_hz for each in made),
        mean(measures.notes_per_s(each.score) for each in made),
        mean(note.velocity for each in made for note in measures.notes_of(each.score)),
    )


_DIGESTS: Final = """
import hashlib
from app.engines.composer.plan import make_plan
from app.engines.composer.render import render
from app.engines.composer.render.sampler import Sampler
from app.engines.composer.score import compose
from app.engines.engine import Brief

sampler = Sampler()
for prompt in ("slow jazz, brushes and a sad sax", "epic battle", "techno"):
    plan = make_plan(Brief(prompt, 6.0, seed=4294967295, mood="dark", instruments=("strings", "theremin")))
    score = compose(plan)
    pcm = render(plan, score, sampler, checkpoint=lambda share: None)
    print(repr((plan, score)), hashlib.sha256(pcm).hexdigest())
"""


def test_two_processes_make_the_same_bytes() -> None:
    """Even when hashes, and with them the order of sets, differ."""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", _DIGESTS],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert len(outputs.pop().splitlines()) == 3


def test_what_was_played_before_does_not_change_a_piece() -> None:
    """Notes that are kept from longer and from shorter pieces give the same samples as new ones."""
    sampler = Sampler()
    plan = make_plan(Brief("funk", 7.0, seed=2))
    score = compose(plan)
    first = render(plan, score, sampler, checkpoint=lambda _: None)
    for length_s in (5.0, 15.0):
        other = make_plan(Brief("funk", length_s, seed=2, tempo_bpm=70))
        render(other, compose(other), sampler, checkpoint=lambda _: None)
    assert render(plan, score, sampler, checkpoint=lambda _: None) == first
    assert render(plan, score, Sampler(), checkpoint=lambda _: None) == first


REQUESTS: Final = 1_500
_FILLERS: Final = (
    "a", "the", "music", "for", "with", "and", "no", "without", "slow", "very", "rain", "Straße", "ночь", "夜", "🎹",
    "!!!", "128", "bpm", "in C minor", "solo", "%s", "\x00", "my", "video", "loop", "dragon", "coffee", "fast", "not",
    "only", "(", "[a-z]+",
)  # fmt: skip


def _random_brief(choice: random.Random) -> Brief:
    words = [*_FILLERS, *STYLES, *MOODS, *INSTRUMENTS]
    listed = [*INSTRUMENTS, "theremin", "guitar", "Strings", "drumz", "", "bass "]
    length_s = choice.choice((5.0, 30.0, float(choice.randint(5, 30)), choice.uniform(5, 30)))
    return Brief(
        " ".join(choice.choices(words, k=choice.randint(1, 9))),
        choice.choice((120.0, 287.5, 600.0)) if choice.random() < 0.01 else length_s,
        seed=choice.getrandbits(32),
        mood=choice.choice((None, *MOODS, "glorp", " ".join(choice.choices(words, k=3)))),
        tempo_bpm=choice.choice((None, 40, 220, choice.randint(40, 220))),
        instruments=tuple(choice.choices(listed, k=choice.choice((0, 0, 1, 1, 2, 3, 12)))),
    )


@pytest.mark.no_cover  # others run the same lines, and this one takes three times as long when they are counted
def test_thousands_of_random_requests_all_become_pieces() -> None:
    choice = random.Random(2_026)
    for _ in range(REQUESTS):
        brief = _random_brief(choice)
        plan = make_plan(brief)
        score = compose(plan)
        assert _objections(plan, score) == [], brief


def _objections(plan: Plan, score: Score) -> Sequence[str]:
    notes = measures.notes_of(score)
    holds = {
        "it has the length that was asked for": score.duration_s == plan.duration_s,
        "every player has a track": len(score.tracks) == len(plan.players) > 0,
        "nobody is silent throughout": all(track.notes for track in score.tracks),
        "notes are sound": all(
            note.start_s >= 0 and note.duration_s > 0 and 0 <= note.pitch <= 127 and 1 <= note.velocity <= 127
            for note in notes
        ),
        "players keep to their ranges": all(
            INSTRUMENTS[track.instrument].lowest <= note.pitch <= INSTRUMENTS[track.instrument].highest
            for track in score.tracks
            for note in track.notes
        ),
        "no note sounds after the end": measures.last_end_s(score) <= score.duration_s + 1e-9,
        "the first note comes at once": measures.first_onset_s(score) <= 0.35,
        "it is not sparse": measures.notes_per_s(score) >= 0.8,
        "it has no hole": measures.longest_gap_s(score) <= 1.5,
        "beats give way by 2 % at most": abs(plan.tempo_bpm / score.tempo_bpm - 1) <= 0.02 + 1e-9,
        "chords have no gaps": _is_seamless(score),
    }
    return [claim for claim, is_true in holds.items() if not is_true]


def _is_seamless(score: Score) -> bool:
    ends = [0.0, *(chord.start_s + chord.duration_s for chord in score.chords)]
    starts = [*(chord.start_s for chord in score.chords), score.duration_s]
    return all(abs(start - end) < 1e-6 for start, end in zip(starts, ends, strict=True))
