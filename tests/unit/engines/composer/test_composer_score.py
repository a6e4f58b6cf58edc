from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.engines.composer.plan import INSTRUMENTS, MOODS, SCALES, STYLES, Plan, make_plan
from app.engines.composer.score import MAX_LATENESS_S, MAX_STRETCH, Note, compose, harmonise, lay_grid
from app.engines.engine import Brief


def piece(prompt: str, *, duration_s: float = 20.0, seed: int = 1, **fields: Any) -> tuple[Plan, tuple[Note, ...]]:
    plan = make_plan(Brief(prompt, duration_s, seed, **fields))
    return plan, compose(plan)


def notes_of(notes: tuple[Note, ...], part: str) -> list[Note]:
    return [note for note in notes if note.part == part]


prompts = st.sampled_from([f"{style.name} {mood}" for style in STYLES for mood in ("", *MOODS)])
plans = st.builds(
    Brief,
    prompts | st.text(min_size=1, max_size=60),
    st.floats(5, 30),
    st.integers(0, 2**32 - 1),
    tempo_bpm=st.none() | st.integers(40, 220),
    instruments=st.lists(st.sampled_from(list(INSTRUMENTS)), max_size=3).map(tuple),
).map(make_plan)


@settings(max_examples=200, deadline=None)
@given(plans)
def test_every_note_lies_within_the_piece_and_the_piece_starts_at_once(plan: Plan) -> None:
    notes = compose(plan)
    assert notes[0].start_s <= MAX_LATENESS_S
    for note in notes:
        assert 0 <= note.start_s < plan.duration_s
        assert note.duration_s > 0
        assert note.start_s + note.duration_s <= plan.duration_s + 1e-9
        assert 1 <= note.velocity <= 127


@settings(max_examples=70, deadline=None)
@given(plans)
def test_the_melody_stays_in_the_scale_and_never_leaps_beyond_a_fifth(plan: Plan) -> None:
    scale = {(plan.tonic + semitones) % 12 for semitones in SCALES[plan.mode]}
    melody = [note.pitch for note in notes_of(compose(plan), "melody")]
    assert melody
    assert {pitch % 12 for pitch in melody} <= scale
    assert all(abs(later - earlier) <= 7 for earlier, later in itertools.pairwise(melody[:-1]))


@settings(max_examples=70, deadline=None)
@given(plans)
def test_chords_and_bass_sound_chord_tones_only(plan: Plan) -> None:
    grid = lay_grid(plan.duration_s, plan.tempo_bpm)
    chords = harmonise(plan, grid)
    for note in compose(plan):
        if note.part in ("chords", "bass"):
            # No figure starts within the last sixteenth before a bar line, so lateness is the only doubt.
            beat = note.start_s / grid.beat_s
            chord = max((each for each in chords if each.start_beat <= beat), key=lambda each: each.start_beat)
            assert note.pitch % 12 in chord.tones


@settings(max_examples=70, deadline=None)
@given(plans)
def test_the_piece_ends_on_the_tonic(plan: Plan) -> None:
    notes = compose(plan)
    for part in ("melody", "bass"):
        if part in dict(plan.timbres):
            last = notes_of(notes, part)[-1]
            assert last.pitch % 12 == plan.tonic
            assert last.start_s + last.duration_s == pytest.approx(plan.duration_s, abs=0.02)


@settings(max_examples=70, deadline=None)
@given(st.floats(5, 30), st.integers(40, 220))
def test_the_grid_fills_the_piece_with_at_most_the_allowed_stretch(duration_s: float, tempo_bpm: int) -> None:
    grid = lay_grid(duration_s, tempo_bpm)
    assert (grid.body_beats + grid.ring_beats) * grid.beat_s == pytest.approx(duration_s)
    assert abs(grid.beat_s * tempo_bpm / 60 - 1) <= MAX_STRETCH + 1e-9
    assert 1.0 <= grid.ring_beats * grid.beat_s <= 3.3


@pytest.mark.parametrize("duration_s", [0.5, 1.0, 1.5])
def test_even_a_piece_shorter_than_a_bar_ends_in_time(duration_s: float) -> None:
    _, notes = piece("a song", duration_s=duration_s, tempo_bpm=40)
    assert max(note.start_s + note.duration_s for note in notes) <= duration_s + 1e-9


def test_whole_bars_come_before_the_last_chord_where_they_fit() -> None:
    for duration_s in (10.0, 20.0, 30.0):
        assert lay_grid(duration_s, 120).body_beats % 4 == 0


def test_the_tempo_asked_for_is_the_tempo_played() -> None:
    _, notes = piece("techno", tempo_bpm=128)
    kicks = [note.start_s for note in notes_of(notes, "drums") if note.pitch == 36]
    assert min(later - earlier for earlier, later in itertools.pairwise(kicks)) == pytest.approx(60 / 128, rel=0.045)


@pytest.mark.parametrize("style", [style.name for style in STYLES])
def test_chords_move_little(style: str) -> None:
    plan, notes = piece(f"{style} piece", duration_s=30.0)
    struck: dict[int, list[int]] = {}
    for note in notes_of(notes, "chords"):
        struck.setdefault(round(note.start_s / 0.05), []).append(note.pitch)
    blocks = [sorted(pitches) for pitches in struck.values() if len(pitches) == plan.tones]
    for earlier, later in itertools.pairwise(blocks):
        assert sum(abs(a - b) for a, b in zip(earlier, later, strict=True)) <= 5 * plan.tones


def test_strong_beats_of_the_melody_are_chord_tones() -> None:
    plan, notes = piece("energetic pop song", duration_s=30.0)
    grid = lay_grid(plan.duration_s, plan.tempo_bpm)
    chords = harmonise(plan, grid)
    for note in notes_of(notes, "melody"):
        beat = note.start_s / grid.beat_s
        if beat % 2 < 0.05:
            chord = max((each for each in chords if each.start_beat <= beat), key=lambda each: each.start_beat)
            assert note.pitch % 12 in chord.tones


def test_the_motif_returns() -> None:
    plan, notes = piece("energetic pop song", duration_s=30.0)
    grid = lay_grid(plan.duration_s, plan.tempo_bpm)
    onsets: dict[int, list[float]] = {}
    for note in notes_of(notes, "melody"):
        bar, beat = divmod(note.start_s / grid.beat_s, 4)
        onsets.setdefault(int(bar), []).append(round(beat * 4) / 4)
    first = min(onsets)
    assert onsets[first] == onsets[first + 2] == onsets[first + 4]


def test_a_sad_piece_has_far_fewer_notes_than_an_energetic_one() -> None:
    for seed in range(5):
        _, sad = piece("a song", mood="sad", seed=seed)
        _, energetic = piece("a song", mood="energetic", seed=seed)
        assert len(energetic) > 1.5 * len(sad)


def test_another_seed_is_another_piece_and_the_same_seed_the_same() -> None:
    assert piece("a song", seed=1)[1] == piece("a song", seed=1)[1]
    assert piece("a song", seed=1)[1] != piece("a song", seed=2)[1]


def test_drums_that_are_not_wanted_are_not_written() -> None:
    assert notes_of(piece("rock anthem")[1], "drums")
    assert not notes_of(piece("rock anthem, no drums")[1], "drums")


def test_a_swung_style_delays_the_second_half_of_a_beat() -> None:
    _, notes = piece("jazz, energetic", tempo_bpm=100)
    grid = lay_grid(20.0, 100)
    shares = {round(note.start_s / grid.beat_s % 1, 1) for note in notes_of(notes, "drums")}
    assert 0.6 in shares
    assert 0.5 not in shares


def test_a_calm_piece_has_fewer_strokes_of_the_hat() -> None:
    hats = {
        mood: sum(note.pitch == 42 for note in piece("rock", mood=mood, tempo_bpm=100)[1]) for mood in ("calm", "happy")
    }
    assert hats["calm"] < hats["happy"]
