"""A score as a Standard MIDI File: its notes, chords and form, for whoever wants to go on working with them."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mido import Message, MetaMessage, MidiFile, MidiTrack, bpm2tempo

from app.engines.composer.instruments import INSTRUMENTS
from app.engines.composer.score import Note, Score, Track
from app.engines.composer.score.harmony import Key

TICKS_PER_BEAT: Final = 960
"""Half a millisecond at 120 beats a minute: fine enough for the small delays that make players human."""

_DRUM_CHANNEL: Final = 9
_OTHER_CHANNELS: Final = tuple(channel for channel in range(16) if channel != _DRUM_CHANNEL)

_MAJOR_KEYS: Final = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
_MINOR_KEYS: Final = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")
"""The tonics by pitch class, each spelled the way that needs the fewer accidentals."""


def to_midi(score: Score) -> bytes:
    """Return the file: format 1, first a track with tempo, metre, key, form and chords, then one for each player.

    Notes lie within a tick of the score's, as long as no player strikes a note that still sounds;
    each track ends when the piece does.
    """
    # The file counts in whole microseconds a beat; ticks are measured by those, so that nothing drifts.
    beat_us = bpm2tempo(score.tempo_bpm)
    ticks_per_s = TICKS_PER_BEAT * 1e6 / beat_us
    end = max(round(score.duration_s * ticks_per_s), 1)
    channels = itertools.cycle(_OTHER_CHANNELS)

    file = MidiFile(type=1, ticks_per_beat=TICKS_PER_BEAT)
    file.tracks.append(_conductor(score, beat_us, ticks_per_s, end))
    for track in score.tracks:
        channel = _DRUM_CHANNEL if track.role == "drums" else next(channels)
        file.tracks.append(_player(track, channel, ticks_per_s, end))
    out = io.BytesIO()
    file.save(file=out)
    return out.getvalue()


def _conductor(score: Score, beat_us: int, ticks_per_s: float, end: int) -> MidiTrack:
    is_minor = Key(score.tonic, score.mode).is_minor
    tonic = (_MINOR_KEYS if is_minor else _MAJOR_KEYS)[score.tonic]
    opening = (
        MetaMessage("track_name", name=f"{tonic} {score.mode}"),
        MetaMessage("set_tempo", tempo=beat_us),
        MetaMessage("time_signature", numerator=score.beats_per_bar, denominator=4),
        MetaMessage("key_signature", key=f"{tonic}m" if is_minor else tonic),
    )
    markers = ((part.start_s, MetaMessage("marker", text=part.name)) for part in score.form)
    chords = ((chord.start_s, MetaMessage("text", text=chord.name)) for chord in score.chords)
    events = [(min(round(at_s * ticks_per_s), end), event) for at_s, event in (*markers, *chords)]
    return _track([*((0, event) for event in opening), *sorted(events, key=lambda each: each[0])], end)


def _player(track: Track, channel: int, ticks_per_s: float, end: int) -> MidiTrack:
    opening = (
        MetaMessage("track_name", name=f"{track.role}: {track.instrument}"),
        Message("program_change", channel=channel, program=INSTRUMENTS[track.instrument].program),
    )
    strokes = _strokes(track.notes, ticks_per_s, end)
    ons = ((each.on, 1, "note_on", each.pitch, each.velocity) for each in strokes)
    offs = ((each.off, 0, "note_off", each.pitch, 0) for each in strokes)
    # What ends at a tick ends before anything begins there: a repeated note would else be cut off at once.
    events = [
        (tick, Message(kind, channel=channel, note=pitch, velocity=velocity))
        for tick, _, kind, pitch, velocity in sorted((*ons, *offs))
    ]
    return _track([*((0, event) for event in opening), *events], end)


def _track(events: Iterable[tuple[int, Message | MetaMessage]], end: int) -> MidiTrack:
    """Return a track of events that are given in their order, each with its tick."""
    track, now = MidiTrack(), 0
    for tick, event in (*events, (end, MetaMessage("end_of_track"))):
        event.time, now = tick - now, tick
        track.append(event)
    return track


@dataclass(slots=True)
class _Stroke:
    """A note in ticks."""

    on: int
    off: int
    pitch: int
    velocity: int


def _strokes(notes: Iterable[Note], ticks_per_s: float, end: int) -> list[_Stroke]:
    """Return the notes in ticks, none empty and at most one at a time on each pitch.

    A channel has one key for each pitch: who strikes it again lets it go first, and two
    strokes in the same tick are one.
    """
    strokes: list[_Stroke] = []
    last: dict[int, _Stroke] = {}
    for note in sorted(notes, key=lambda each: each.start_s):
        on = min(round(note.start_s * ticks_per_s), end - 1)
        off = min(max(round((note.start_s + note.duration_s) * ticks_per_s), on + 1), end)
        before = last.get(note.pitch)
        if before and before.on == on:
            before.off, before.velocity = max(before.off, off), max(before.velocity, note.velocity)
            continue
        if before:
            before.off = min(before.off, on)
        last[note.pitch] = _Stroke(on, off, note.pitch, note.velocity)
        strokes.append(last[note.pitch])
    return strokes
