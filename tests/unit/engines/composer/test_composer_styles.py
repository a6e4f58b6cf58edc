"""Every row of the styles, instruments and moods is something that the score and the sounds can do."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final, get_args

import pytest

from app.engines.composer.instruments import INSTRUMENTS, Instrument, Role
from app.engines.composer.plan import make_plan
from app.engines.composer.plan.moods import MOODS
from app.engines.composer.score.harmony import MODES, Key, read_progression, suits
from app.engines.composer.styles import STYLES, Drum, Style
from app.engines.engine import Brief

SIXTEENTHS_A_BEAT: Final = 4
SYMBOLS: Final = {"comping": "*^0123456789-.", "bass": "01238<-.", "arpeggio": "0123456789-.", "drums": "xXo~."}

each_style = pytest.mark.parametrize("style", STYLES.values(), ids=STYLES.keys())


def figures(style: Style) -> list[tuple[str, str]]:
    """Return (kind, figure) of all that is written in sixteenths."""
    return [
        *(("comping", figure) for figure in style.comping),
        *(("bass", figure) for figure in style.bass),
        *(("arpeggio", figure) for figure in style.arpeggio),
        *(("drums", figure) for groove in style.drums for figure in groove.values()),
    ]


def alternatives(pattern: str) -> list[str]:
    """Return the alternatives of a regular expression, with … for what stands in brackets."""
    while "(" in pattern:
        pattern = re.sub(r"\([^()]*\)", "…", pattern)
    return pattern.split("|")


def test_there_are_enough_styles_moods_and_instruments_and_no_name_stands_twice() -> None:
    assert len(STYLES) >= 17
    assert len(MOODS) >= 40
    assert [style.name for style in STYLES.values()] == list(STYLES)
    words = [word for style in STYLES.values() for word in alternatives(style.keywords) if "…" not in word]
    assert [word for word, count in Counter(words).items() if count > 1] == []


@each_style
def test_a_style_is_reached_by_its_own_name(style: Style) -> None:
    assert make_plan(Brief(style.name, 20.0, seed=1)).style == style.name


@each_style
def test_figures_are_whole_bars_of_known_symbols(style: Style) -> None:
    for kind, figure in figures(style):
        bars = figure.split("|")
        assert {len(bar) for bar in bars} == {SIXTEENTHS_A_BEAT * style.beats_per_bar}, figure
        assert set("".join(bars)) <= set(SYMBOLS[kind]), figure
        assert set("".join(bars)) - set("-."), f"{figure} is silent"


@each_style
def test_livelier_rows_have_more_notes(style: Style) -> None:
    def notes_a_bar(*figures: str) -> float:
        """A stroke of the whole hand counts as three notes, of the upper fingers as two."""
        chords = {"*": 3, "^": 2, "-": 0, ".": 0, "|": 0}
        return sum(sum(chords.get(symbol, 1) for symbol in figure) / len(figure.split("|")) for figure in figures)

    for row in (style.comping, style.bass):
        assert notes_a_bar(row[-1]) >= notes_a_bar(row[0])
    if style.drums:
        assert notes_a_bar(*style.drums[-1].values()) > notes_a_bar(*style.drums[0].values())


@each_style
def test_progressions_are_chords_in_their_modes(style: Style) -> None:
    for mode, progressions in zip(style.modes, style.progressions, strict=True):
        assert mode in MODES
        assert progressions
        for progression in progressions:
            assert read_progression(progression, Key(0, mode), chord_tones=style.chord_tones)
    assert len({*style.modes}) == 1 or any(
        suits(progression, Key(0, mode))
        for mode, progressions in zip(style.modes, style.progressions, strict=True)
        for progression in progressions
    )


@each_style
def test_the_cast_can_play_its_roles(style: Style) -> None:
    for role, names in style.cast.items():
        assert role in get_args(Role)
        assert len(set(names)) == len(names) > 0
        for name in names:
            assert role in INSTRUMENTS[name].roles, f"{name} is no {role}"
    assert style.cast.keys() & {"melody", "arpeggio"}
    assert style.cast.keys() & {"chords", "pad"}
    assert bool(style.drums) == ("drums" in style.cast)
    assert all(drum in get_args(Drum) for groove in style.drums for drum in groove)


@each_style
def test_numbers_are_in_their_ranges(style: Style) -> None:
    slowest, fastest = style.tempo_bpm
    assert 40 <= slowest < fastest <= 220
    assert all(-1 <= value <= 1 for value in style.mood)
    assert 0.5 <= style.swing <= 0.7
    assert 0 <= style.room <= 1
    assert 0 < style.room_s <= 6
    assert 0 <= style.looseness <= 1
    assert -2 <= style.drums_from <= 2


@pytest.mark.parametrize("instrument", INSTRUMENTS.values(), ids=INSTRUMENTS.keys())
def test_an_instrument_has_a_range_and_roles(instrument: Instrument) -> None:
    assert 0 <= instrument.program <= 127
    assert 21 <= instrument.lowest < instrument.highest <= 108
    assert instrument.roles
    assert set(instrument.roles) <= set(get_args(Role))
    # A part needs an octave at least to lead its voices in.
    assert instrument.family == "drums" or instrument.highest - instrument.lowest >= 12


def test_moods_lie_on_the_plane_and_in_all_its_quarters() -> None:
    assert all(-1 <= valence <= 1 and -1 <= arousal <= 1 for valence, arousal in MOODS.values())
    quarters = Counter((valence > 0, arousal > 0) for valence, arousal in MOODS.values())
    assert len(quarters) == 4
    assert min(quarters.values()) >= 5
