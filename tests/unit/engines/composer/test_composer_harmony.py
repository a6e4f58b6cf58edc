"""Chords by degree: their tones, names and scales, and the voices that play them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engines.composer.score.harmony import MODES, Key, read_numeral, read_progression, rubs, suits, tune_tones
from app.engines.composer.score.voicing import Hands, Register, power_chord
from app.engines.composer.styles import STYLES

C_MAJOR, A_MINOR = Key(0, "major"), Key(9, "minor")

NUMERALS = sorted(
    {
        numeral
        for style in STYLES.values()
        for progressions in style.progressions
        for progression in progressions
        for bar in progression.split()
        for numeral in bar.split(",")
    }
)


def test_modes_have_seven_degrees_from_the_tonic_up() -> None:
    for steps in MODES.values():
        assert len(steps) == 7
        assert steps[0] == 0
        assert list(steps) == sorted(set(steps))


@pytest.mark.parametrize(
    ("numeral", "key", "name", "tones"),
    [
        ("I", C_MAJOR, "C", (0, 4, 7)),
        ("vi", C_MAJOR, "Am", (9, 0, 4)),
        ("V7", C_MAJOR, "G7", (7, 11, 2, 5)),
        ("bVII", C_MAJOR, "Bb", (10, 2, 5)),
        ("iim7b5", C_MAJOR, "Dm7b5", (2, 5, 8, 0)),
        ("viidim", C_MAJOR, "Bdim", (11, 2, 5)),
        ("IVsus2", C_MAJOR, "Fsus2", (5, 7, 0)),
        ("Vsus4", C_MAJOR, "Gsus4", (7, 0, 2)),
        ("Iadd9", C_MAJOR, "Cadd9", (0, 4, 7, 2)),
        ("i6", A_MINOR, "Am6", (9, 0, 4, 6)),
        ("V7", A_MINOR, "E7", (4, 8, 11, 2)),
        ("bVI", A_MINOR, "F", (5, 9, 0)),
        ("i", Key(3, "minor"), "Ebm", (3, 6, 10)),
        ("iii", Key(4, "major"), "G#m", (8, 11, 3)),
        ("bII", Key(1, "phrygian"), "D", (2, 6, 9)),
        ("I5", C_MAJOR, "C5", (0, 7)),
    ],
)
def test_numerals_become_chords(numeral: str, key: Key, name: str, tones: tuple[int, ...]) -> None:
    harmony = read_numeral(numeral, key)
    assert harmony.name == name
    assert harmony.pitch_classes == tones


@pytest.mark.parametrize(
    ("numeral", "key", "name"),
    [
        ("I", C_MAJOR, "Cmaj7"),
        ("ii", C_MAJOR, "Dm7"),
        ("V", C_MAJOR, "G7"),
        ("i", A_MINOR, "Am7"),
        ("vii", C_MAJOR, "Bm7"),
    ],
)
def test_four_tones_add_the_sevenths_of_the_key(numeral: str, key: Key, name: str) -> None:
    assert read_numeral(numeral, key, chord_tones=4).name == name


@pytest.mark.parametrize("nonsense", ["", "VIII", "Q", "I13#11", "IVmajor"])
def test_what_is_no_chord_is_refused(nonsense: str) -> None:
    with pytest.raises(ValueError, match="is no"):
        read_numeral(nonsense, C_MAJOR)


@pytest.mark.parametrize(
    ("numeral", "key", "scale"),
    [
        ("I", C_MAJOR, {0, 2, 4, 5, 7, 9, 11}),
        ("V7", A_MINOR, {9, 11, 0, 2, 4, 5, 8}),  # the leading tone of the minor key
        ("VI7", C_MAJOR, {0, 2, 4, 5, 7, 9, 11} - {0} | {1}),  # a secondary dominant: C sharp
        ("IV7", C_MAJOR, {0, 2, 3, 5, 7, 9, 11}),  # a blues: E flat
        ("bVI", C_MAJOR, {0, 2, 3, 5, 7, 8, 11}),
    ],
)
def test_scales_are_the_mode_with_the_letters_of_the_chord(numeral: str, key: Key, scale: set[int]) -> None:
    assert set(read_numeral(numeral, key).scale) == scale


@given(st.sampled_from(NUMERALS), st.integers(0, 11), st.sampled_from(sorted(MODES)), st.booleans(), st.booleans())
def test_every_chord_of_a_style_works_in_every_key(
    numeral: str, tonic: int, mode: str, sevenths: bool, diatonic: bool
) -> None:
    key = Key(tonic, mode)
    harmony = read_numeral(numeral, key, chord_tones=4 if sevenths else 3, diatonic=diatonic)
    assert set(harmony.pitch_classes) <= set(harmony.scale)
    assert len(set(harmony.pitch_classes)) == len(harmony.pitch_classes)
    assert len(set(harmony.scale)) >= 6
    assert "?" not in harmony.name
    for pentatonic in (False, True):
        tune = tune_tones(harmony, key, pentatonic=pentatonic)
        assert set(tune) <= set(harmony.scale)
        assert set(tune) & set(harmony.pitch_classes)


def test_a_progression_is_read_bar_by_bar() -> None:
    bars = read_progression("Imaj7 ii7,V7", C_MAJOR)
    assert [[chord.name for chord in bar] for bar in bars] == [["Cmaj7"], ["Dm7", "G7"]]


def test_a_progression_made_for_another_mode_is_taken_from_the_key() -> None:
    assert not suits("I V vi IV", A_MINOR)
    assert suits("i bVI bIII bVII", A_MINOR)
    assert suits("IV V iii vi", A_MINOR)
    bars = read_progression("I V vi IV", A_MINOR, diatonic=True)
    assert [chord.name for (chord,) in bars] == ["Am", "E", "F", "Dm"]


def test_pentatonic_tunes_avoid_the_tones_that_rub() -> None:
    assert set(tune_tones(read_numeral("I", C_MAJOR), C_MAJOR, pentatonic=True)) == {0, 2, 4, 7, 9}
    assert set(tune_tones(read_numeral("i", A_MINOR), A_MINOR, pentatonic=True)) == {9, 0, 2, 4, 7}


def test_rubs_are_semitones_against_a_tone_of_the_chord() -> None:
    assert rubs(65, (0, 4, 7))
    assert not rubs(62, (0, 4, 7))
    assert rubs(60, (0, 4, 7, 11))  # the root over its major seventh
    assert not rubs(71, (0, 4, 7, 11))


@given(
    st.lists(st.sampled_from(NUMERALS), min_size=1, max_size=12),
    st.integers(0, 11),
    st.sampled_from(("close", "open")),
    st.integers(45, 62),
)
def test_voicings_are_whole_chords_in_their_register(
    numerals: list[str], tonic: int, spacing: str, lowest: int
) -> None:
    hands = Hands(Register(lowest, lowest + 21), spacing="open" if spacing == "open" else "close")
    for numeral in numerals:
        harmony = read_numeral(numeral, Key(tonic, "major"))
        voicing = hands.grip(harmony.pitch_classes)
        assert list(voicing) == sorted(set(voicing))
        assert {pitch % 12 for pitch in voicing} <= set(harmony.pitch_classes)
        assert lowest - 6 <= voicing[0]
        assert voicing[-1] <= lowest + 21 + 6
        assert all(above - below > 1 for below, above in itertools.pairwise(voicing))


@given(st.sampled_from(NUMERALS), st.integers(0, 11), st.sampled_from(("close", "open")), st.integers(45, 62))
def test_no_voicing_goes_below_the_instrument(numeral: str, tonic: int, spacing: str, lowest: int) -> None:
    harmony = read_numeral(numeral, Key(tonic, "major"))
    hands = Hands(Register(lowest, lowest + 19), spacing="open" if spacing == "open" else "close", floor=lowest)
    assert hands.grip(harmony.pitch_classes)[0] >= lowest


def test_voices_move_little_and_keep_common_tones() -> None:
    hands = Hands(Register(52, 70))
    voicings = [hands.grip(read_numeral(numeral, C_MAJOR).pitch_classes) for numeral in ("I", "vi", "IV", "V", "I")]
    assert set(voicings[0]) & set(voicings[1])
    for before, after in itertools.pairwise(voicings):
        assert sum(abs(new - old) for new, old in zip(after, before, strict=True)) <= 7


def test_rootless_voicings_leave_the_root_to_the_bass() -> None:
    dominant = read_numeral("V7", C_MAJOR)
    assert {pitch % 12 for pitch in Hands(Register(52, 70), rootless=True).grip(dominant.pitch_classes)} == {11, 2, 5}


def test_power_chords_are_root_fifth_and_octave() -> None:
    assert power_chord((4, 8, 11), Register(40, 86)) == (40, 47, 52)
    assert power_chord((11, 2, 5), Register(40, 86)) == (47, 53, 59)
