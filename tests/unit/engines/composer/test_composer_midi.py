"""MIDI files: what is read back is the score."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mido import MidiFile, MidiTrack, tick2second

from app.engines.composer.instruments import INSTRUMENTS
from app.engines.composer.midi import TICKS_PER_BEAT, to_midi
from app.engines.composer.score import Chord, Note, Part, Score, Track
from app.engines.composer.score.harmony import MODES

DRUMS = 9

SCORE = Score(
    duration_s=8.25,
    tempo_bpm=93.3,
    beats_per_bar=3,
    tonic=9,
    mode="dorian",
    form=(Part("intro", 0.0, 1), Part("A", 1.929, 2)),
    chords=(Chord(0.0, 1.929, "Am7", (9, 0, 4, 7), ()), Chord(1.929, 6.321, "D9", (2, 6, 9, 0, 4), ())),
    tracks=(
        Track("melody", "flute", (Note(0.013, 0.9, 72, 80), Note(1.0, 0.5, 74, 81), Note(7.9, 0.35, 76, 82))),
        Track("bass", "double bass", (Note(0.0, 3.0, 40, 90), Note(3.0, 3.0, 40, 91))),
        Track("drums", "brushes", (Note(0.5, 0.1, 38, 60), Note(0.5, 0.1, 42, 61))),
    ),
)


def read(score: Score) -> MidiFile:
    return MidiFile(file=io.BytesIO(to_midi(score)))


def tick_s(file: MidiFile) -> float:
    """Return how long a tick of the file lasts, in seconds."""
    (beat_us,) = (event.tempo for event in file.tracks[0] if event.type == "set_tempo")
    seconds: float = tick2second(1, file.ticks_per_beat, beat_us)
    return seconds


def notes_of(track: MidiTrack, seconds_per_tick: float) -> list[Note]:
    """Return what sounds; a stroke on a key that is down, or the release of one that is not, is an error."""
    now, down, notes = 0, dict[int, tuple[int, int]](), []
    for event in track:
        now += event.time
        if event.type == "note_on":
            assert event.note not in down
            down[event.note] = now, event.velocity
        elif event.type == "note_off":
            start, velocity = down.pop(event.note)
            assert now > start
            notes.append(Note(start * seconds_per_tick, (now - start) * seconds_per_tick, event.note, velocity))
    assert not down
    return sorted(notes, key=lambda each: (each.start_s, each.pitch))


def timed(track: MidiTrack, kind: str) -> list[tuple[int, str]]:
    ticks = itertools.accumulate(event.time for event in track)
    return [(tick, event.text) for tick, event in zip(ticks, track, strict=True) if event.type == kind]


def test_the_file_is_of_format_1_with_a_track_for_the_whole_and_one_for_each_player() -> None:
    file = read(SCORE)

    assert file.type == 1
    assert file.ticks_per_beat == TICKS_PER_BEAT >= 480
    assert [track.name for track in file.tracks] == ["A dorian", "melody: flute", "bass: double bass", "drums: brushes"]


def test_the_notes_lie_within_a_tick_of_the_score() -> None:
    file = read(SCORE)
    tick = tick_s(file)

    for track, written in zip(SCORE.tracks, file.tracks[1:], strict=True):
        for note, found in zip(track.notes, notes_of(written, tick), strict=True):
            assert (found.pitch, found.velocity) == (note.pitch, note.velocity)
            assert found.start_s == pytest.approx(note.start_s, abs=tick)
            assert found.start_s + found.duration_s == pytest.approx(note.start_s + note.duration_s, abs=tick)


def test_every_track_ends_when_the_piece_does() -> None:
    file = read(SCORE)

    for track in file.tracks:
        assert track[-1].type == "end_of_track"
        assert sum(event.time for event in track) * tick_s(file) == pytest.approx(8.25, abs=tick_s(file))
    assert file.length == pytest.approx(8.25, abs=tick_s(file))


def test_tempo_metre_form_and_chords_stand_in_the_first_track() -> None:
    first = read(SCORE).tracks[0]
    (tempo,) = (event for event in first if event.type == "set_tempo")
    (metre,) = (event for event in first if event.type == "time_signature")
    second_part = round(1.929 / 60 * 93.3 * TICKS_PER_BEAT)

    assert 60e6 / tempo.tempo == pytest.approx(93.3, rel=1e-5)
    assert (metre.numerator, metre.denominator) == (3, 4)
    assert timed(first, "marker") == [(0, "intro"), (second_part, "A")]
    assert timed(first, "text") == [(0, "Am7"), (second_part, "D9")]


@pytest.mark.parametrize(
    ("tonic", "mode", "name", "signature"),
    [
        (0, "major", "C major", "C"),
        (9, "minor", "A minor", "Am"),
        (2, "dorian", "D dorian", "Dm"),
        (6, "lydian", "Gb lydian", "Gb"),
        (3, "harmonic minor", "Eb harmonic minor", "Ebm"),
        (4, "phrygian dominant", "E phrygian dominant", "E"),
    ],
)
def test_the_key_is_told_by_name_and_as_the_major_or_minor_key_on_its_tonic(
    tonic: int, mode: str, name: str, signature: str
) -> None:
    first = read(Score(5.0, 100.0, 4, tonic, mode, (), (), ())).tracks[0]

    assert first.name == name
    assert [event.key for event in first if event.type == "key_signature"] == [signature]


def test_every_key_can_be_written() -> None:
    for tonic, mode in itertools.product(range(12), MODES):
        assert read(Score(5.0, 100.0, 4, tonic, mode, (), (), ())).length == pytest.approx(5.0, abs=0.001)


def test_the_drums_have_their_channel_and_every_other_player_one_of_its_own() -> None:
    file = read(SCORE)
    programs = [next(event for event in track if event.type == "program_change") for track in file.tracks[1:]]

    assert [(event.channel, event.program) for event in programs] == [
        (0, INSTRUMENTS["flute"].program),
        (1, INSTRUMENTS["double bass"].program),
        (DRUMS, INSTRUMENTS["brushes"].program),
    ]
    for track, program in zip(file.tracks[1:], programs, strict=True):
        assert {event.channel for event in track if not event.is_meta} == {program.channel}


def test_there_are_never_more_than_sixteen_channels() -> None:
    note = (Note(0.0, 1.0, 60, 80),)
    file = read(Score(5.0, 100.0, 4, 0, "major", (), (), (Track("melody", "flute", note),) * 40))

    channels = [event.channel for track in file.tracks for event in track if event.type == "note_on"]
    assert len(set(channels[:15])) == 15
    assert DRUMS not in channels


def played(*notes: Note) -> list[tuple[float, float, int]]:
    file = read(Score(5.0, 60.0, 4, 0, "major", (), (), (Track("melody", "flute", notes),)))
    return [
        (round(each.start_s, 3), round(each.start_s + each.duration_s, 3), each.velocity)
        for each in notes_of(file.tracks[1], tick_s(file))
    ]


def test_a_note_that_is_struck_while_it_sounds_is_let_go_first() -> None:
    assert played(Note(0.0, 2.0, 60, 80), Note(1.0, 2.0, 60, 90)) == [(0, 1, 80), (1, 3, 90)]


def test_a_note_that_is_repeated_without_a_gap_is_not_cut_off() -> None:
    assert played(Note(0.0, 1.0, 60, 80), Note(1.0, 1.0, 60, 90)) == [(0, 1, 80), (1, 2, 90)]


def test_two_strokes_at_once_are_one_as_long_and_loud_as_either() -> None:
    assert played(Note(1.0, 2.0, 60, 80), Note(1.0, 1.0, 60, 90)) == [(1, 3, 90)]


def test_the_same_score_gives_the_same_bytes() -> None:
    assert to_midi(SCORE) == to_midi(SCORE)


# ---------------------------------------------------------------------- any score


@st.composite
def scores(draw: st.DrawFn) -> Score:
    duration_s = draw(st.floats(3, 600))

    def notes() -> Iterator[Note]:
        for _ in range(draw(st.integers(0, 8))):
            start_s = draw(st.floats(0, duration_s, exclude_max=True))
            length_s = draw(st.floats(1e-6, max(duration_s - start_s, 1e-6)))
            yield Note(start_s, length_s, draw(st.integers(0, 127)), draw(st.integers(1, 127)))

    return Score(
        duration_s=duration_s,
        tempo_bpm=draw(st.floats(30, 300)),
        beats_per_bar=draw(st.sampled_from([3, 4])),
        tonic=draw(st.integers(0, 11)),
        mode=draw(st.sampled_from(sorted(MODES))),
        form=(Part("A", draw(st.floats(0, duration_s)), 4), Part("intro", 0.0, 4)),
        chords=(Chord(draw(st.floats(0, duration_s)), 1.0, "C", (0, 4, 7), ()),),
        tracks=tuple(
            Track(draw(st.sampled_from(INSTRUMENTS[name].roles)), name, tuple(notes()))
            for name in draw(st.lists(st.sampled_from(sorted(INSTRUMENTS)), max_size=4))
        ),
    )


def by_pitch(notes: Iterable[Note]) -> list[Note]:
    return sorted(notes, key=lambda each: (each.pitch, each.start_s))


def is_apart(notes: tuple[Note, ...], tick: float) -> bool:
    """Tell whether no note begins while its pitch sounds, or within a tick of that."""
    return all(
        a.pitch != b.pitch or a.start_s + max(a.duration_s, tick) + tick < b.start_s
        for a, b in itertools.pairwise(by_pitch(notes))
    )


@settings(deadline=None, max_examples=150)
@given(score=scores())
@example(score=Score(3.0, 30.0, 4, 0, "major", (), (), (Track("bass", "tuba", (Note(2.9999999, 1e-7, 0, 1),)),)))
def test_any_score_can_be_read_back(score: Score) -> None:
    file = read(score)
    tick = tick_s(file)

    assert file.length == pytest.approx(score.duration_s, abs=tick)
    for track, written in zip(score.tracks, file.tracks[1:], strict=True):
        found = notes_of(written, tick)
        assert {note.pitch for note in found} == {note.pitch for note in track.notes}
        if is_apart(track.notes, tick):
            for note, each in zip(by_pitch(track.notes), by_pitch(found), strict=True):
                # Half a tick more: what begins in the last half tick of the piece is moved to where it can sound.
                assert each.start_s == pytest.approx(note.start_s, abs=1.5 * tick)
                assert each.duration_s == pytest.approx(note.duration_s, abs=1.5 * tick)
