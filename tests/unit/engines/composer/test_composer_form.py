"""Form and time: bars that fill a piece exactly, its parts, and sections of songs that follow each other."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scores import EARLY_S, MOODS, STRAY_S, notes_of, plan_of

from app.engines.composer.score import Score, compose, lay_out
from app.engines.composer.score.grid import MAX_STRETCH, felt_tempo_bpm, lay_grid
from app.engines.composer.styles import STYLES


@given(st.floats(3, 600), st.floats(40, 220), st.sampled_from((3, 4)), st.booleans())
def test_grids_end_exactly(duration_s: float, tempo_bpm: float, beats_per_bar: int, final_chord: bool) -> None:
    grid = lay_grid(duration_s, tempo_bpm, beats_per_bar, final_chord=final_chord, ritard=0.2)
    assert abs(grid.beat_s * tempo_bpm / 60 - 1) <= MAX_STRETCH + 1e-9
    assert grid.second(0.0) == 0.0
    assert grid.second(grid.end_beat) == pytest.approx(duration_s)
    assert grid.has_final_chord == final_chord
    body_s = grid.second(grid.body_beats)
    if final_chord:
        assert 0.7 <= duration_s - body_s <= 8.0
    else:
        assert body_s == pytest.approx(duration_s)
    seconds = [grid.second(beat / 2) for beat in range(int(2 * grid.body_beats) + 1)]
    assert all(later > earlier for earlier, later in itertools.pairwise(seconds))


@pytest.mark.parametrize("style", sorted(STYLES))
@pytest.mark.parametrize(("duration_s", "longest_s"), [(5.0, 1.8), (10.0, 2.2), (20.0, 3.4), (30.0, 2.7)])
def test_the_final_chord_does_not_take_the_time_of_the_piece(style: str, duration_s: float, longest_s: float) -> None:
    for mood in MOODS.values():
        assert 0.7 <= compose(plan_of(style, duration_s, mood=mood)).chords[-1].duration_s <= longest_s


@pytest.mark.parametrize(
    ("tempo_bpm", "usual_bpm", "felt_bpm"),
    [
        (87.0, (160, 176), 174.0),
        (140.0, (72, 98), 70.0),
        (40.0, (86, 196), 80.0),
        (220.0, (58, 96), 110.0),
        (100.0, (72, 98), 100.0),
        (70.0, (72, 98), 70.0),
    ],
)
def test_styles_far_from_home_are_played_in_half_or_double_time(
    tempo_bpm: float, usual_bpm: tuple[float, float], felt_bpm: float
) -> None:
    assert felt_tempo_bpm(tempo_bpm, usual_bpm) == felt_bpm


def test_double_time_is_a_matter_of_figures_not_of_the_tempo() -> None:
    half, whole = (compose(plan_of("drum and bass", 30.0, tempo_bpm=tempo_bpm)) for tempo_bpm in (87.0, 174.0))
    assert half.tempo_bpm == pytest.approx(whole.tempo_bpm / 2)
    assert half.tracks == whole.tracks
    assert [part.bars for part in half.form] == [(part.bars + 1) // 2 for part in whole.form]


@pytest.mark.parametrize(("duration_s", "tempo_bpm"), [(16.0, 120.0), (30.0, 96.0), (60.0, 140.0), (180.0, 84.0)])
def test_sections_that_lead_on_are_whole_bars(duration_s: float, tempo_bpm: float) -> None:
    grid = lay_grid(duration_s, tempo_bpm, 4, final_chord=False)
    assert grid.body_beats % 4 == 0


@given(st.floats(3, 600), st.sampled_from(sorted(STYLES)), st.sampled_from(("begin", "continue")), st.booleans())
def test_parts_follow_each_other_without_gaps(
    duration_s: float, style: str, opening: Literal["begin", "continue"], closes: bool
) -> None:
    plan = plan_of(style, duration_s, opening=opening, ending="close" if closes else "lead on")
    piece = lay_out(plan)
    assert piece.sections[0].start_beat == 0.0
    assert piece.sections[-1].end_beat == piece.grid.body_beats
    assert sum(section.bars for section in piece.sections) == piece.grid.bars
    for earlier, later in itertools.pairwise(piece.sections):
        assert earlier.end_beat == later.start_beat
    if opening == "continue":
        assert piece.sections[0].name not in ("intro", "pickup")
    if piece.grid.bars <= 3:
        assert [section.name for section in piece.sections] == ["A"]


def test_every_player_gets_to_play() -> None:
    for style in STYLES:
        for duration_s in (5.0, 30.0, 90.0):
            score = compose(plan_of(style, duration_s))
            for track in score.tracks:
                assert track.notes, (style, duration_s, track.role)


def test_blues_choruses_have_twelve_bars() -> None:
    score = compose(plan_of("blues", 120.0))
    choruses = [part for part in score.form if part.name[0] in "AB"]
    assert [part.bars for part in choruses][-1] == 12
    bars_s = 4 * 60 / score.tempo_bpm
    names = [chord.name for chord in score.chords if chord.start_s >= choruses[-1].start_s - 0.01]
    assert names[0] == names[2] == "C7"
    assert names[4] in ("F7", "Fm7")
    assert bars_s > 0


def test_loops_let_parts_enter_one_after_another() -> None:
    score = compose(plan_of("house", 90.0))
    entries_s = {track.role: track.notes[0].start_s for track in score.tracks}
    assert entries_s["chords"] < 0.1
    assert entries_s["melody"] > 8.0
    assert len(set(map(round, entries_s.values()))) >= 2


def test_long_songs_have_a_bridge_or_a_breakdown_and_end_with_everybody() -> None:
    for style in ("pop", "rock", "edm", "orchestral"):
        plan = plan_of(style, 240.0)
        piece = lay_out(plan)
        assert {"bridge", "breakdown"} & {section.name for section in piece.sections}
        last = [section for section in piece.sections if section.name.startswith("A")][-1]
        assert last.roles == {player.role for player in plan.players}
        assert last.energy >= max(
            section.energy for section in piece.sections if section.name.startswith("A") and section is not last
        )


def test_intros_leave_room_for_what_comes() -> None:
    score = compose(plan_of("pop", 60.0))
    assert score.form[0].name == "intro"
    first_part = next(part for part in score.form if part.name == "A")
    assert notes_of(score, "melody")[0].start_s >= first_part.start_s - 0.05


@pytest.mark.parametrize("style", sorted(STYLES))
def test_clips_do_not_wait_for_their_tune(style: str) -> None:
    for duration_s, mood in itertools.product((5.0, 10.0, 20.0, 30.0), MOODS.values()):
        score = compose(plan_of(style, duration_s, mood=mood))
        latest_s = max(0.15 * duration_s, min(0.2 * duration_s, 4.0))
        first_part_s = next(part.start_s for part in score.form if part.name != "intro")
        assert first_part_s <= latest_s * (1 + MAX_STRETCH), (duration_s, mood)
        # A motif that starts with a rest may take a beat or two of it.
        assert notes_of(score, "melody")[0].start_s <= first_part_s + 2.1 * 60 / score.tempo_bpm + STRAY_S


def test_a_short_slow_piece_has_a_progression() -> None:
    for style in ("lullaby", "ambient", "piano", "orchestral"):
        score = compose(plan_of(style, 10.0, tempo_bpm=60.0))
        assert len(score.chords) >= 4
        assert all(chord.duration_s <= 2.2 + EARLY_S for chord in score.chords)


def test_a_request_for_a_tune_alone_starts_with_the_tune() -> None:
    score = compose(plan_of("folk", 30.0, players=[("melody", "flute")]))
    assert score.tracks[0].notes[0].start_s < 0.1


def verse_and_chorus() -> tuple[Score, Score]:
    verse = plan_of("pop", 32.0, tempo_bpm=120.0, theme=77, seed=1, mood=(0.3, -0.1), mode="major", ending="lead on")
    chorus = replace(verse, seed=2, arousal=0.7, opening="continue", ending="close", duration_s=30.0)
    return compose(verse), compose(chorus)


def test_a_section_leads_into_the_next() -> None:
    verse, chorus = verse_and_chorus()
    assert verse.chords[-1].start_s + verse.chords[-1].duration_s == pytest.approx(32.0)
    assert verse.chords[-1].pitch_classes[0] != chorus.chords[0].pitch_classes[0]
    assert (verse.chords[-1].pitch_classes[0] - verse.tonic) % 12 in (1, 5, 7, 10, 11)
    assert 32.0 % (4 * 60 / verse.tempo_bpm) == pytest.approx(0.0, abs=1e-6)
    for role in ("chords", "bass", "melody", "drums"):
        assert notes_of(chorus, role)[0].start_s < 0.6, role
        last = notes_of(verse, role)[-1]
        assert last.start_s + last.duration_s > 30.0, role


def test_sections_of_a_song_share_chords_and_motif_but_not_notes() -> None:
    verse, chorus = verse_and_chorus()

    def first_chords(score: Score) -> list[str]:
        in_a = next(part.start_s for part in score.form if part.name == "A")
        return [chord.name for chord in score.chords if chord.start_s >= in_a - 0.01][:4]

    assert first_chords(verse) == first_chords(chorus)

    def onsets(score: Score) -> set[int]:
        sixteenth_s = 15 / score.tempo_bpm
        end_s = 16 * sixteenth_s - 0.05
        in_a = next(part.start_s for part in score.form if part.name == "A")
        notes = [note.start_s - in_a for note in notes_of(score, "melody")]
        return {round(start_s / sixteenth_s) for start_s in notes if -0.05 <= start_s < end_s}

    # The livelier section divides notes of the motif but keeps where its own ones fall.
    assert onsets(verse) <= onsets(chorus)
    assert [note.pitch for note in notes_of(verse, "melody")] != [note.pitch for note in notes_of(chorus, "melody")]
