from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.engines.composer.plan import INSTRUMENTS, MOODS, SCALES, STYLES, Plan, make_plan
from app.engines.composer.render import TIMBRES
from app.engines.engine import Brief


def plan_for(prompt: str, *, seed: int = 1, **fields: Any) -> Plan:
    return make_plan(Brief(prompt, 20.0, seed, **fields))


def band(plan: Plan) -> dict[str, str]:
    return {str(part): timbre for part, timbre in plan.timbres}


@pytest.mark.parametrize(
    ("prompt", "style"),
    [
        ("ambient electronic textures", "ambient"),
        ("Lo-Fi beats to study to", "lofi"),
        ("smoky jazz club", "jazz"),
        ("an epic movie trailer", "orchestral"),
        ("club banger with a techno kick", "electronic"),
        ("indie rock", "rock"),
        ("a song about my cat", "pop"),
        ("not jazz, rock please", "rock"),
        ("🎵🎶", "pop"),
    ],
)
def test_words_choose_the_style_and_the_narrow_row_wins(prompt: str, style: str) -> None:
    assert plan_for(prompt).style == style


def test_every_field_of_the_brief_changes_the_piece() -> None:
    brief = Brief("a song", 20.0, 1, mood="calm", tempo_bpm=90, instruments=("piano",))
    others = [
        Brief("a tune", 20.0, 1, mood="calm", tempo_bpm=90, instruments=("piano",)),
        Brief("a song", 21.0, 1, mood="calm", tempo_bpm=90, instruments=("piano",)),
        Brief("a song", 20.0, 2, mood="calm", tempo_bpm=90, instruments=("piano",)),
        Brief("a song", 20.0, 1, mood="sad", tempo_bpm=90, instruments=("piano",)),
        Brief("a song", 20.0, 1, mood="calm", tempo_bpm=91, instruments=("piano",)),
        Brief("a song", 20.0, 1, mood="calm", tempo_bpm=90, instruments=("guitar",)),
    ]
    seeds = {make_plan(each).seed for each in (brief, *others)}
    assert len(seeds) == len(others) + 1


def test_the_same_brief_gets_the_same_plan_and_whole_seconds_are_no_other_brief() -> None:
    assert make_plan(Brief("a song", 20, 1)) == make_plan(Brief("a song", 20.0, 1))


def test_a_tempo_that_is_asked_for_is_kept() -> None:
    assert plan_for("calm ambient", tempo_bpm=211).tempo_bpm == 211


def test_the_mood_field_outweighs_the_prompt() -> None:
    assert plan_for("a happy song", mood="sad").mode == "minor"
    assert plan_for("a sad song", mood="happy").mode == "major"
    assert plan_for("a sad song", mood="purple").mode == "minor"


def test_a_negated_mood_does_not_count() -> None:
    assert plan_for("a happy song, not sad").energy == MOODS["happ"][1]


def test_an_energetic_piece_is_faster_and_brighter_than_a_calm_one() -> None:
    calm, energetic = plan_for("a song", mood="calm"), plan_for("a song", mood="energetic")
    assert energetic.tempo_bpm > calm.tempo_bpm + 20
    assert energetic.brightness > calm.brightness


@pytest.mark.parametrize(
    "prompt",
    ["rock, no drums", "rock without drums", "rock without any percussion", "rock, no bass or drums", "rock: NO-DRUMS"],
)
def test_drums_that_are_not_wanted_do_not_play(prompt: str) -> None:
    assert "drums" in band(plan_for("rock"))
    assert "drums" not in band(plan_for(prompt))


def test_a_part_or_an_instrument_that_is_not_wanted_is_left_out_or_replaced() -> None:
    assert "bass" not in band(plan_for("a song without bass"))
    assert "melody" not in band(plan_for("backing track, no melody"))
    assert "piano" not in band(plan_for("a song without piano")).values()
    assert "drums" not in band(plan_for("rock", mood="no drums"))
    assert "drums" not in band(plan_for("rock, no drums", instruments=("drums", "guitar")))


@pytest.mark.parametrize(
    ("instruments", "expected"),
    [
        (("piano",), {"chords": "piano", "melody": "piano", "bass": "piano"}),
        (("Piano", "STRINGS"), {"chords": "strings", "melody": "piano", "bass": "strings"}),
        (("flute", "acoustic guitar", "double bass"), {"chords": "guitar", "melody": "flute", "bass": "bass"}),
        (("drums", "electric piano"), {"chords": "epiano", "melody": "epiano", "bass": "epiano", "drums": "drums"}),
        (("bass guitar",), {"chords": "piano", "melody": "piano", "bass": "bass"}),
    ],
)
def test_listed_instruments_are_the_whole_band(instruments: tuple[str, ...], expected: dict[str, str]) -> None:
    assert band(plan_for("a song", instruments=instruments)) == expected


def test_unknown_instruments_are_ignored() -> None:
    assert band(plan_for("a song", instruments=("theremin", "🎻", ""))) == band(plan_for("a song"))


def test_an_instrument_in_the_prompt_joins_the_band_of_the_style() -> None:
    assert band(plan_for("lofi with flute")) == {
        "chords": "epiano", "melody": "flute", "bass": "bass", "drums": "drums"
    }  # fmt: skip


def test_the_tables_name_only_what_exists() -> None:
    for style in STYLES:
        assert set(style.timbres) <= set(TIMBRES)
        assert set(style.modes) <= set(SCALES)
        figures = [*style.comping, *style.bass, *(figure for _, figure in style.drums)]
        assert {len(figure) for figure in figures} == {16}, style.name
        assert all(figure[0] in "*0" for figure in (*style.comping, *style.bass)), "a piece must not start late"
    assert set(INSTRUMENTS) == {*TIMBRES, "drums"}


briefs = st.builds(
    Brief,
    st.text(min_size=1, max_size=1000) | st.sampled_from(["epic jazz", "no drums", "sad lofi piano", "\ud800 rock"]),
    st.floats(5, 30),
    st.integers(0, 2**32 - 1),
    mood=st.none() | st.text(max_size=60) | st.sampled_from(list(MOODS)),
    tempo_bpm=st.none() | st.integers(40, 220),
    instruments=st.lists(st.text(max_size=20) | st.sampled_from(list(INSTRUMENTS)), max_size=12).map(tuple),
)


@settings(max_examples=200, deadline=None)
@given(briefs)
def test_every_brief_has_a_plan_that_can_be_played(brief: Brief) -> None:
    plan = make_plan(brief)
    assert plan.duration_s == brief.duration_s
    assert 40 <= plan.tempo_bpm <= 220
    assert -1 <= plan.energy <= 1
    assert 0 <= plan.brightness <= 1
    assert band(plan)["chords"] in TIMBRES


@pytest.mark.parametrize(
    ("prompt", "drums"),
    [
        ("calm piano", False),
        ("a lullaby", False),
        ("calm rain", False),
        ("happy pop", True),
        ("chill lo-fi", True),
        ("calm piano with drums", True),
    ],
)
def test_drums_play_unasked_only_where_they_belong(prompt: str, drums: bool) -> None:
    plan = make_plan(Brief(prompt, 10.0, seed=1))
    assert ("drums" in dict(plan.timbres)) is drums
