"""Measures of music on the score, over a grid of styles, moods, lengths and seeds."""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import measures
import pytest
from scores import (
    MOODS,
    STRAY_S,
    assert_playable,
    density,
    leaps,
    longest_silence_s,
    notes_of,
    notes_with_chords,
    plan_of,
)

from app.engines.composer.instruments import Role
from app.engines.composer.score import Score, compose, lay_out
from app.engines.composer.score.grid import MAX_STRETCH
from app.engines.composer.score.harmony import rubs
from app.engines.composer.score.performance import perform
from app.engines.composer.score.piece import Event
from app.engines.composer.styles import STYLES

SHORT_S, USUAL_S, LONG_S = 5.0, 30.0, 120.0
BREATHING = ("flute", "clarinet", "trumpet", "alto sax", "voice")


@pytest.fixture(scope="module", params=sorted(STYLES))
def scores(request: pytest.FixtureRequest) -> list[Score]:
    """Scores of one style: in each mood, short, usual and long, with different themes and keys."""
    moods = [*MOODS.values()]
    return [
        compose(plan_of(request.param, duration_s, mood=mood, theme=index, seed=index + 7, tonic=5 * index % 12))
        for index, (duration_s, mood) in enumerate(itertools.product((SHORT_S, 12.0, USUAL_S, LONG_S), moods))
    ]


def test_scores_are_playable_start_at_once_and_have_no_holes(scores: list[Score]) -> None:
    for score in scores:
        assert_playable(score)
        assert min(track.notes[0].start_s for track in score.tracks if track.notes) <= 0.1
        assert longest_silence_s(score) <= 1.2


def test_harmony_is_made_of_chord_tones(scores: list[Score]) -> None:
    for score in scores:
        for role in ("chords", "pad", "arpeggio"):
            for note, chords in notes_with_chords(score, role):
                assert note.pitch % 12 in chords[0].pitch_classes


def test_the_melody_is_in_the_scale_of_every_chord_it_sounds_in(scores: list[Score]) -> None:
    for score in scores:
        for note, chords in notes_with_chords(score, "melody"):
            assert all(note.pitch % 12 in chord.scale for chord in chords)


def test_the_melody_is_singable(scores: list[Score]) -> None:
    """Leaps beyond a fifth are rare, most motion is by small intervals, and the range is an octave and a half."""
    motions = [abs(leap) for score in scores for leap in leaps(notes_of(score, "melody"))]
    assert sum(motion > 7 for motion in motions) <= 0.03 * len(motions)
    assert sum(motion <= 4 for motion in motions) >= 0.75 * len(motions)
    assert sum(motion == 0 for motion in motions) <= 0.22 * len(motions)
    for score in scores:
        pitches = [note.pitch for note in notes_of(score, "melody")]
        assert max(pitches) - min(pitches) <= 19


def test_held_notes_of_the_melody_do_not_rub_against_the_chord(scores: list[Score]) -> None:
    held = [each for score in scores for each in notes_with_chords(score, "melody") if each[0].duration_s >= 0.3]
    rubbing = [note for note, chords in held if any(rubs(note.pitch, chord.pitch_classes) for chord in chords)]
    assert len(rubbing) <= 0.05 * len(held)


def test_what_is_heard_of_the_harmony_does_not_rub_against_the_melody(scores: list[Score]) -> None:
    assert statistics.fmean(measures.rub_share(score) for score in scores) <= 0.03


def test_the_tune_may_end_on_the_root() -> None:
    """Under it no major seventh sounds, which styles with four tones would otherwise have in a major key."""
    for style in ("soul", "jazz", "lofi", "house", "ambient"):
        final = compose(plan_of(style, 12.0, mode="major")).chords[-1]
        assert not rubs(final.pitch_classes[0], final.pitch_classes)


def test_strong_beats_of_the_melody_are_chord_tones(scores: list[Score]) -> None:
    strong = []
    for score in scores:
        for note, chords in notes_with_chords(score, "melody"):
            if abs(note.start_s - chords[0].start_s) < STRAY_S:
                strong.append(note.pitch % 12 in chords[0].pitch_classes)
    assert statistics.fmean(strong) >= 0.8


def test_the_melody_is_not_masked_by_the_chords(scores: list[Score]) -> None:
    distances = []
    for score in scores:
        chords = notes_of(score, "chords")
        for note in notes_of(score, "melody"):
            sounding = [
                each.pitch
                for each in chords
                if each.start_s < note.start_s + note.duration_s - STRAY_S
                and each.start_s + each.duration_s > note.start_s + STRAY_S
            ]
            if sounding:
                distances.append(note.pitch - max(sounding))
    assert sum(distance <= 1 for distance in distances) <= 0.25 * len(distances)


def test_the_pad_stays_below_the_tune(scores: list[Score]) -> None:
    for score in scores:
        pad = notes_of(score, "pad")
        for note in notes_of(score, "melody"):
            for tone in pad:
                overlap_s = min(tone.start_s + tone.duration_s, note.start_s + note.duration_s) - max(
                    tone.start_s, note.start_s
                )
                assert overlap_s <= 2 * STRAY_S or note.pitch - tone.pitch >= 3


def test_no_low_clusters_and_no_semitones_within_a_chord(scores: list[Score]) -> None:
    for score in scores:
        struck: dict[float, list[int]] = {}
        for note in notes_of(score, "pad"):
            struck.setdefault(round(note.start_s, 1), []).append(note.pitch)
        for pitches in struck.values():
            for below, above in itertools.pairwise(sorted(set(pitches))):
                assert above - below != 1
                assert above - below > 2 or below >= 48


def test_the_tempo_gives_way_by_no_more_than_allowed() -> None:
    for style, duration_s in itertools.product(STYLES, (3.0, 7.7, 19.0, 31.3, 61.0, 599.0)):
        plan = plan_of(style, duration_s)
        score = compose(replace(plan, players=plan.players[:1]))
        assert 1 - MAX_STRETCH - 1e-9 <= plan.tempo_bpm / score.tempo_bpm <= 1 + MAX_STRETCH + 1e-9


def test_the_final_chord_is_the_tonic_and_rings_to_the_end(scores: list[Score]) -> None:
    for score in scores:
        final = score.chords[-1]
        assert final.pitch_classes[0] == score.tonic
        assert final.duration_s >= 0.7
        for track in score.tracks:
            if track.role in ("chords", "pad", "bass"):
                last = max(note.start_s + note.duration_s for note in track.notes)
                assert last == pytest.approx(score.duration_s, abs=1e-6)


def test_what_comes_before_the_final_chord_leads_to_it(scores: list[Score]) -> None:
    for score in scores:
        assert score.chords[-2].pitch_classes[0] != score.tonic


def test_the_tune_ends_at_rest(scores: list[Score]) -> None:
    for score in scores:
        last = notes_of(score, "melody")[-1]
        assert last.pitch % 12 in score.chords[-1].pitch_classes[:3]


def test_short_pieces_are_not_thin(scores: list[Score]) -> None:
    for score in scores:
        if score.duration_s == SHORT_S:
            assert density(score) >= 3.0
            assert all(track.notes[0].start_s < 3.0 for track in score.tracks if track.notes)


@pytest.mark.parametrize("style", ["lofi", "piano", "ambient", "folk", "orchestral"])
def test_a_short_piece_for_two_without_drums_is_not_thin(style: str) -> None:
    plan = plan_of(style, SHORT_S, players=[("melody", "flute"), ("chords", "piano")])
    assert density(compose(plan)) >= 2.5


def test_moods_differ_in_how_much_is_going_on() -> None:
    densities = {
        mood: statistics.fmean(density(compose(plan_of(style, mood=MOODS[mood]))) for style in STYLES)
        for mood in ("calm", "energetic")
    }
    assert densities["calm"] <= 11
    assert densities["energetic"] >= 18


def test_moods_differ_in_loudness_and_length_of_notes() -> None:
    calm, energetic = (compose(plan_of("pop", mood=MOODS[mood])) for mood in ("calm", "energetic"))

    def velocity(score: Score) -> float:
        return statistics.fmean(note.velocity for note in notes_of(score, "chords"))

    assert velocity(energetic) > velocity(calm) + 15


@pytest.mark.parametrize("instrument", BREATHING)
def test_players_of_winds_get_air(instrument: str) -> None:
    for style in ("folk", "ambient", "jazz", "orchestral", "epic"):
        plan = plan_of(style, 60.0, players=[("melody", instrument), ("chords", "piano")])
        since_s = until_s = 0.0
        for note in notes_of(compose(plan), "melody"):
            if note.start_s - until_s >= 0.12:
                since_s = note.start_s
            until_s = note.start_s + note.duration_s
            assert until_s - since_s <= 11.0, style


def bars_of_rhythm(score: Score) -> list[tuple[int, ...]]:
    """Return the melody's rhythm bar by bar, as sixteenths of the bar in which a note starts."""
    bar_s = score.beats_per_bar * 60 / score.tempo_bpm
    bars: dict[int, list[int]] = {}
    for note in notes_of(score, "melody"):
        bar, sixteenth = divmod(round(note.start_s / bar_s * 4 * score.beats_per_bar), 4 * score.beats_per_bar)
        bars.setdefault(bar, []).append(sixteenth)
    return [tuple(bars[bar]) for bar in sorted(bars)]


@pytest.mark.parametrize("style", sorted(STYLES))
def test_the_motif_comes_back(style: str) -> None:
    """One bar of rhythm is heard far more often than if every bar were made anew."""
    rhythms = bars_of_rhythm(compose(plan_of(style, 60.0)))
    assert Counter(rhythms).most_common(1)[0][1] >= max(2, 0.15 * len(rhythms))
    assert len(set(rhythms)) >= 3


@pytest.mark.parametrize("style", sorted(STYLES))
def test_long_pieces_do_not_repeat_themselves(style: str) -> None:
    """Over two minutes no eight bars of all players come back as they were, and the texture changes."""
    score = compose(plan_of(style, LONG_S))
    bar_s = score.beats_per_bar * 60 / score.tempo_bpm
    blocks = Counter(
        tuple(
            (track.role, round((note.start_s - start * bar_s) / bar_s * 16), note.pitch)
            for track in score.tracks
            for note in track.notes
            if start * bar_s - 0.03 <= note.start_s < (start + 8) * bar_s - 0.03
        )
        for start in range(0, int(score.duration_s / bar_s) - 8, 4)
    )
    assert max(blocks.values()) == 1
    if STYLES[style].form != "blues":
        assert len({part.name[0] for part in score.form}) >= 3
    assert len({chord.name for chord in score.chords}) >= 2


def test_the_peak_of_a_section_stands_late() -> None:
    places = []
    for style, theme in itertools.product(STYLES, range(6)):
        score = compose(plan_of(style, USUAL_S, theme=theme))
        section = next(part for part in score.form if part.name == "A")
        end_s = section.start_s + section.bars * score.beats_per_bar * 60 / score.tempo_bpm
        tune = [note for note in notes_of(score, "melody") if section.start_s - 0.05 <= note.start_s < end_s - 0.05]
        peak = max(tune, key=lambda note: note.pitch)
        places.append((peak.start_s - section.start_s) / (end_s - section.start_s))
    assert statistics.fmean(places) > 0.5


def test_who_else_plays_does_not_change_the_tune() -> None:
    plan = plan_of("pop")
    alone = replace(plan, players=tuple(player for player in plan.players if player.role in ("melody", "chords")))
    whole = {note.start_s: note.pitch for note in notes_of(compose(plan), "melody")}
    fewer = {note.start_s: note.pitch for note in notes_of(compose(alone), "melody")}
    assert whole == fewer


def test_distorted_guitars_play_power_chords() -> None:
    score = compose(plan_of("metal", players=[("chords", "distorted guitar"), ("bass", "picked bass")]))
    for note, chords in notes_with_chords(score, "chords"):
        assert (note.pitch - chords[0].pitch_classes[0]) % 12 in (0, 6, 7, 8)


def test_guitars_strum_up_and_down() -> None:
    notes = notes_of(compose(plan_of("folk", players=[("chords", "acoustic guitar")])), "chords")
    spreads_s = [later.start_s - earlier.start_s for earlier, later in itertools.pairwise(notes)]
    assert any(0.002 < spread_s < 0.04 for spread_s in spreads_s)
    strums = [b.pitch > a.pitch for a, b in itertools.pairwise(notes) if 0.002 < b.start_s - a.start_s < 0.02]
    assert {True, False} == set(strums)


def test_without_a_bass_the_chords_have_a_low_root() -> None:
    score = compose(plan_of("piano", players=[("melody", "flute"), ("chords", "piano")]))
    for chord in score.chords:
        low = [
            note.pitch
            for note in notes_of(score, "chords")
            if abs(note.start_s - chord.start_s) < 0.1 and note.pitch < 50
        ]
        assert low
        assert min(low) % 12 == chord.pitch_classes[0]


@pytest.mark.parametrize("pad", ["strings", "warm pad"])
def test_without_a_bass_the_pad_has_a_low_root(pad: str) -> None:
    score = compose(plan_of("lullaby", players=[("melody", "music box"), ("chords", "celesta"), ("pad", pad)]))
    for chord in score.chords:
        sounding = [
            note.pitch
            for note in notes_of(score, "pad")
            if note.start_s <= chord.start_s + STRAY_S < note.start_s + note.duration_s
        ]
        assert min(sounding) % 12 == chord.pitch_classes[0]
        assert min(sounding) <= 47


@pytest.mark.parametrize(
    ("role", "instrument"), [("melody", "french horn"), ("counter", "bassoon"), ("bass", "double bass")]
)
@pytest.mark.parametrize("style", ["ambient", "orchestral", "jazz", "lullaby"])
def test_who_is_alone_carries_the_piece(style: str, role: Role, instrument: str) -> None:
    for duration_s, tempo_bpm in itertools.product((5.0, 30.0), (40.0, 60.0)):
        plan = plan_of(style, duration_s, mood=(0.3, -0.9), tempo_bpm=tempo_bpm, players=[(role, instrument)])
        assert density(compose(plan)) >= 0.8


@pytest.mark.parametrize("style", ["ambient", "orchestral", "lofi", "celtic"])
def test_a_section_that_leads_on_has_no_hole_at_its_end(style: str) -> None:
    for theme in range(8):
        plan = plan_of(style, 17.0, tempo_bpm=58.0, theme=theme, ending="lead on", players=[("melody", "flute")])
        assert longest_silence_s(compose(plan)) <= 1.2


def test_notes_that_an_instrument_lacks_are_played_in_another_octave() -> None:
    piece = lay_out(plan_of(players=[("melody", "flute")]))
    track = perform(piece, piece.plan.players[0], [Event(0.0, 1.0, 50), Event(1.0, 1.0, 100)])
    assert [note.pitch for note in track.notes] == [62, 88]


def test_basses_stay_low_and_start_chords_on_their_root(scores: list[Score]) -> None:
    for score in scores:
        for note, chords in notes_with_chords(score, "bass"):
            assert 28 <= note.pitch <= 55
            if abs(note.start_s - chords[0].start_s) < STRAY_S:
                assert note.pitch % 12 == chords[0].pitch_classes[0]


def test_machines_are_on_time_and_people_are_not() -> None:
    def misses_s(style: str) -> list[float]:
        score = compose(plan_of(style, players=[("drums", "drums")]))
        sixteenth_s = 15 / score.tempo_bpm
        return [abs(note.start_s / sixteenth_s - round(note.start_s / sixteenth_s)) for note in score.tracks[0].notes]

    assert max(misses_s("chiptune")) < 1e-6
    assert statistics.fmean(misses_s("rock")) > 1e-3


def test_swing_puts_the_off_beats_late() -> None:
    score = compose(plan_of("jazz", 20.0, mood=(0.5, 0.9)))
    beat_s = 60 / score.tempo_bpm
    off = [note.start_s / beat_s % 1 for note in notes_of(score, "melody") if 0.4 < note.start_s / beat_s % 1 < 0.8]
    assert statistics.fmean(off) > 0.55


_IN_ANOTHER_PROCESS = """
import sys
sys.path[:0] = [{root!r}, {tests!r}]
from scores import plan_of
from app.engines.composer.score import compose
print(repr(compose(plan_of("pop", 20.0, theme=2**63 + 5, seed=2**64 - 1))))
"""


@pytest.mark.parametrize("hash_seed", ["0", "4242"])
def test_the_same_plan_gets_the_same_score_in_another_process(hash_seed: str) -> None:
    root = Path(__file__).parents[4]
    answer = subprocess.run(
        [sys.executable, "-c", _IN_ANOTHER_PROCESS.format(root=str(root), tests=str(root / "tests"))],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.strip() == repr(compose(plan_of("pop", 20.0, theme=2**63 + 5, seed=2**64 - 1)))


def test_other_seeds_make_other_pieces() -> None:
    tunes = {tuple(note.pitch for note in notes_of(compose(plan_of(theme=theme)), "melody")) for theme in range(12)}
    assert len(tunes) == 12


def test_every_instrument_of_a_cast_can_play_its_role() -> None:
    for style, row in STYLES.items():
        for role, names in row.cast.items():
            for name in names:
                score = compose(plan_of(style, 12.0, players=[("chords", "piano"), (role, name)][role == "chords" :]))
                assert_playable(score)
                assert notes_of(score, role), (style, role, name)
