"""What holds for the score of any plan at all."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from scores import assert_playable, longest_silence_s, notes_with_chords

from app.engines.composer.instruments import INSTRUMENTS, Role
from app.engines.composer.plan import Plan, Player
from app.engines.composer.score import Score, compose
from app.engines.composer.score.grid import MAX_STRETCH
from app.engines.composer.score.harmony import MODES
from app.engines.composer.styles import STYLES

ROLES: tuple[Role, ...] = ("melody", "counter", "chords", "arpeggio", "pad", "bass", "drums")
HARMONY: tuple[Role, ...] = ("chords", "pad", "arpeggio")
TUNES: tuple[Role, ...] = ("melody", "counter")
FITTING = {role: [name for name, row in INSTRUMENTS.items() if role in row.roles] for role in ROLES}


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    roles = draw(st.lists(st.sampled_from(ROLES), min_size=1, unique=True))
    return Plan(
        duration_s=draw(st.one_of(st.floats(3, 40), st.floats(3, 600))),
        style=draw(st.sampled_from(sorted(STYLES))),
        tempo_bpm=draw(st.floats(40, 220)),
        tonic=draw(st.integers(0, 11)),
        mode=draw(st.sampled_from(sorted(MODES))),
        valence=draw(st.floats(-1, 1)),
        arousal=draw(st.floats(-1, 1)),
        players=tuple(Player(role, draw(st.sampled_from(FITTING[role]))) for role in roles),
        unknown_instruments=(),
        theme=draw(st.integers(0, 2**64 - 1)),
        seed=draw(st.integers(0, 2**64 - 1)),
        opening=draw(st.sampled_from(("begin", "continue"))),
        ending=draw(st.sampled_from(("close", "lead on"))),
    )


def assert_no_hole(score: Score) -> None:
    first_s = min(note.start_s for track in score.tracks for note in track.notes)
    assert first_s <= 0.35
    assert longest_silence_s(score) <= 1.2


@settings(max_examples=150, deadline=None)
@given(plans())
def test_any_plan_makes_a_playable_score_without_holes(plan: Plan) -> None:
    score = compose(plan)
    assert_playable(score)
    assert_no_hole(score)
    assert [(track.role, track.instrument) for track in score.tracks] == [
        (player.role, player.instrument) for player in plan.players
    ]
    assert 1 - MAX_STRETCH - 1e-9 <= plan.tempo_bpm / score.tempo_bpm <= 1 + MAX_STRETCH + 1e-9


@settings(max_examples=100, deadline=None)
@given(plans())
def test_harmony_parts_keep_to_the_chord_and_tunes_to_its_scale(plan: Plan) -> None:
    score = compose(plan)
    for role in HARMONY:
        for note, chords in notes_with_chords(score, role):
            assert note.pitch % 12 in chords[0].pitch_classes, (role, note, chords)
    for role in TUNES:
        for note, chords in notes_with_chords(score, role):
            assert note.pitch % 12 in chords[0].scale, (role, note, chords)
