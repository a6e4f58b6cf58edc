"""From a score to samples: hand-made scores for each promise, and a few composed ones for the whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyloudnorm
import pytest

from app.engines.composer.instruments import INSTRUMENTS, Role
from app.engines.composer.plan import Plan, Player
from app.engines.composer.render import CHANNELS, RATE_HZ, render, render_stems
from app.engines.composer.render.sampler import Sampler
from app.engines.composer.render.strip import WINDOW_FRAMES, strips, window_count
from app.engines.composer.score import Note, Score, Track, compose
from app.engines.composer.styles import STYLES

Pcm = npt.NDArray[np.float64]
"""Shape (frames, 2); full scale is 1."""

KICK, SNARE, CLOSED_HAT, PEDAL_HAT, OPEN_HAT = 36, 38, 42, 44, 46

PLAN = Plan(
    duration_s=6.0, style="pop", tempo_bpm=120.0, tonic=0, mode="major", valence=0.2, arousal=0.2, players=(),
    unknown_instruments=(), theme=1, seed=1,
)  # fmt: skip


@pytest.fixture(scope="module")
def sampler() -> Sampler:
    return Sampler()


def track(role: Role, instrument: str, notes: Iterable[tuple[float, float, int, int]]) -> Track:
    return Track(role, instrument, tuple(Note(*note) for note in sorted(notes)))


def score_of(*tracks: Track, plan: Plan = PLAN) -> Score:
    return Score(plan.duration_s, plan.tempo_bpm, 4, 0, "major", (), (), tracks)


def band(plan: Plan = PLAN) -> Score:
    """Return a tune, chords, a bass and drums in half notes; nothing is asked of its beauty."""
    times_s = [0.5 * beat for beat in range(int(plan.duration_s / 0.5))]
    return score_of(
        track("melody", "flute", ((at_s, 0.45, 72 + index % 5, 90) for index, at_s in enumerate(times_s))),
        track("chords", "piano", ((at_s, 0.4, pitch, 70) for at_s in times_s for pitch in (60, 64, 67))),
        track("bass", "electric bass", ((at_s, 0.4, 36, 90) for at_s in times_s)),
        track("drums", "drums", ((at_s, 0.1, (KICK, SNARE)[index % 2], 100) for index, at_s in enumerate(times_s))),
        plan=plan,
    )


def keep_on(share: float) -> None:
    assert 0 <= share <= 1


def sound(plan: Plan, score: Score, sampler: Sampler) -> Pcm:
    return as_pcm(render(plan, score, sampler, checkpoint=keep_on))


def as_pcm(content: bytes) -> Pcm:
    return np.frombuffer(content, "<i2").reshape(-1, CHANNELS) / 32_768


def dry(track: Track, sampler: Sampler, *, plan: Plan = PLAN, others: Sequence[Track] = ()) -> Pcm:
    """Return a track as it leaves its strip, without room and master."""
    strip = strips(plan, score_of(track, *others, plan=plan), sampler)[0]
    return np.concatenate([strip.play()[0] for _ in range(window_count(plan))], axis=1).T.astype(np.float64)


def level_db(pcm: Pcm) -> float:
    return float(10 * np.log10(np.mean(pcm**2) + 1e-20))


def width(pcm: Pcm) -> float:
    left, right = pcm.T
    return float(np.sqrt(np.mean((left - right) ** 2) / np.mean((left + right) ** 2)))


def centroid_hz(pcm: Pcm) -> float:
    power = np.abs(np.fft.rfft(pcm.mean(axis=1))) ** 2
    return float(np.sum(power * np.fft.rfftfreq(len(pcm), 1 / RATE_HZ)) / np.sum(power))


def at(start_s: float, end_s: float, pcm: Pcm) -> Pcm:
    return pcm[round(start_s * RATE_HZ) : round(end_s * RATE_HZ)]


# ---------------------------------------------------------------------- the whole


@pytest.mark.parametrize("duration_s", [3.0, 5.37, 6.0, 1.5 * 3])
def test_it_has_exactly_the_frames_that_were_asked_for(duration_s: float, sampler: Sampler) -> None:
    plan = replace(PLAN, duration_s=duration_s)

    assert len(sound(plan, band(plan), sampler)) == round(duration_s * RATE_HZ)


def test_it_is_as_loud_as_music_is_played_back_and_never_clips(sampler: Sampler) -> None:
    pcm = sound(PLAN, band(), sampler)

    assert pyloudnorm.Meter(RATE_HZ).integrated_loudness(pcm) == pytest.approx(-15, abs=0.5)
    assert np.abs(pcm).max() <= 0.9


@pytest.mark.parametrize("instrument", ["flute", "music box", "piano", "church organ"])
def test_one_player_alone_is_as_loud_and_is_wide(instrument: str, sampler: Sampler) -> None:
    pitches = range(INSTRUMENTS[instrument].lowest + 12, INSTRUMENTS[instrument].highest - 4, 2)
    notes = ((0.4 * index, 0.4, pitch, 60) for index, pitch in enumerate(list(pitches)[:14]))
    pcm = sound(PLAN, score_of(track("melody", instrument, notes)), sampler)

    assert pyloudnorm.Meter(RATE_HZ).integrated_loudness(pcm) == pytest.approx(-15, abs=0.5)
    assert np.abs(pcm).max() <= 0.9
    assert width(pcm) >= 0.14


@pytest.mark.parametrize("style", ["piano", "rock", "orchestral", "edm"])
def test_composed_pieces_keep_the_promises(style: str, sampler: Sampler) -> None:
    row = STYLES[style]
    players = tuple(Player(role, names[0]) for role, names in row.cast.items())
    plan = replace(PLAN, style=style, mode=row.modes[0], players=players, duration_s=8.0, arousal=row.mood[1])
    pcm = sound(plan, compose(plan), sampler)

    assert pyloudnorm.Meter(RATE_HZ).integrated_loudness(pcm) == pytest.approx(-15, abs=0.5)
    assert np.abs(pcm).max() <= 0.9
    assert width(pcm) >= 0.14
    assert np.abs(pcm.mean(axis=0)).max() < 1e-3, "no direct current"
    assert np.abs(pcm[[0, -1]]).max() < 0.01, "no click at either end"


def test_the_same_score_gives_the_same_bytes(sampler: Sampler) -> None:
    cold = render(PLAN, band(), Sampler(), checkpoint=keep_on)

    assert cold == render(PLAN, band(), sampler, checkpoint=keep_on)


def test_a_score_without_notes_is_silence(sampler: Sampler) -> None:
    assert not sound(PLAN, score_of(track("melody", "flute", ())), sampler).any()
    assert not sound(PLAN, score_of(), sampler).any()


def test_a_piece_that_closes_fades_and_one_that_leads_on_does_not(sampler: Sampler) -> None:
    held = track("pad", "organ", [(0.0, 6.0, pitch, 90) for pitch in (48, 60, 64, 67)])
    closing = sound(PLAN, score_of(held), sampler)
    leading = sound(replace(PLAN, ending="lead on"), score_of(held), sampler)

    assert level_db(at(5.9, 6.0, closing)) < level_db(at(4.0, 4.5, closing)) - 12
    assert level_db(at(5.9, 5.99, leading)) > level_db(at(4.0, 4.5, leading)) - 2


def test_the_caller_may_end_the_work(sampler: Sampler) -> None:
    class Enough(Exception):
        pass

    def stop(share: float) -> None:
        if share > 0.3:
            raise Enough

    with pytest.raises(Enough):
        render(PLAN, band(), sampler, checkpoint=stop)


def test_progress_never_goes_back(sampler: Sampler) -> None:
    rendered: list[float] = []
    render(PLAN, band(), sampler, checkpoint=rendered.append)
    stems: list[float] = []
    list(render_stems(PLAN, band(), sampler, checkpoint=stems.append))

    for shares in (rendered, stems):
        assert shares == sorted(shares)
        assert 0 <= shares[0] <= shares[-1] <= 1
    assert len(rendered) >= PLAN.duration_s * RATE_HZ / WINDOW_FRAMES * 4


def test_moods_are_heard_without_another_note(sampler: Sampler) -> None:
    """The plan of a sad piece and that of a lively one, on the same notes: darker, and with more of the room."""
    moods = [replace(PLAN, valence=-0.7, arousal=-0.6), PLAN, replace(PLAN, valence=0.6, arousal=0.8)]
    stab = track("chords", "piano", [(at_s, 0.2, pitch, 80) for at_s in (0.0, 2.0, 4.0) for pitch in (60, 64, 67)])
    sad, even, lively = (sound(plan, score_of(stab), sampler) for plan in moods)

    assert centroid_hz(sad) * 1.1 < centroid_hz(even) < centroid_hz(lively) / 1.1
    tails = [level_db(at(3.0, 3.5, pcm)) - level_db(at(2.0, 2.2, pcm)) for pcm in (sad, even, lively)]
    assert tails[0] > tails[1] > tails[2]


# ---------------------------------------------------------------------- stems


def test_stems_add_up_to_the_mix(sampler: Sampler) -> None:
    mix = np.frombuffer(render(PLAN, band(), sampler, checkpoint=keep_on), "<i2").astype(int)
    stems = dict(render_stems(PLAN, band(), sampler, checkpoint=keep_on))

    assert list(stems) == ["01-melody-flute", "02-chords-piano", "03-bass-electric-bass", "04-drums-drums"]
    total = sum(np.frombuffer(stem, "<i2").astype(int) for stem in stems.values())
    assert np.abs(total - mix).max() <= len(stems)


def test_stems_are_heard_each_by_itself(sampler: Sampler) -> None:
    stems = [as_pcm(stem) for _, stem in render_stems(PLAN, band(), sampler, checkpoint=keep_on)]

    assert all(len(stem) == round(PLAN.duration_s * RATE_HZ) for stem in stems)
    assert all(level_db(stem) > -40 for stem in stems)
    assert centroid_hz(stems[2]) < 250 < centroid_hz(stems[0])


# ---------------------------------------------------------------------- strips


def test_a_note_sounds_when_it_is_played_and_no_longer(sampler: Sampler) -> None:
    pcm = dry(track("chords", "organ", [(2.0, 1.0, 60, 90)]), sampler)

    assert not at(0.0, 1.99, pcm).any()
    assert level_db(at(2.2, 3.0, pcm)) > -35
    release_s = sampler.zone("organ", 60).release_s or 0.0
    assert not at(3.0 + release_s + 0.05, 6.0, pcm).any()


def test_a_note_may_last_over_many_windows(sampler: Sampler) -> None:
    """A seam between two windows would be a step of the wave."""
    pcm = dry(track("bass", "synth bass", [(0.2, 5.5, 36, 90)]), sampler)[:, 0]
    steps = np.abs(np.diff(pcm))
    seams = [steps[seam - 2 : seam + 2].max() for seam in range(WINDOW_FRAMES, len(pcm) - 1, WINDOW_FRAMES)]

    assert max(seams) <= np.percentile(steps[RATE_HZ:-RATE_HZ], 99.9)


def test_louder_strokes_are_louder_and_brighter(sampler: Sampler) -> None:
    notes = [(0.0, 1.0, 60, 40), (2.0, 1.0, 60, 80), (4.0, 1.0, 60, 120)]
    pcm = dry(track("chords", "piano", notes), sampler)
    soft, middle, hard = (at(start_s, start_s + 1.0, pcm) for start_s in (0.0, 2.0, 4.0))

    assert level_db(soft) + 5 < level_db(middle) < level_db(hard) - 3
    assert level_db(hard) - level_db(soft) < 20
    assert centroid_hz(soft) < centroid_hz(middle) < centroid_hz(hard)


@pytest.mark.parametrize(
    ("role", "instrument", "pitch"), [("chords", "piano", 60), ("melody", "flute", 72), ("drums", "drums", CLOSED_HAT)]
)
def test_repeated_notes_are_not_copies(role: Role, instrument: str, pitch: int, sampler: Sampler) -> None:
    pcm = dry(track(role, instrument, [(0.0, 0.4, pitch, 90), (1.5, 0.4, pitch, 90)]), sampler)
    first, second = at(0.0, 0.4, pcm).sum(axis=1), at(1.5, 1.9, pcm).sum(axis=1)

    difference_db = level_db(second - first) - level_db(first)
    assert -40 < difference_db < 6
    assert abs(level_db(second) - level_db(first)) < 1


@pytest.mark.parametrize("choking", [CLOSED_HAT, PEDAL_HAT])
def test_a_closed_hat_ends_an_open_one(choking: int, sampler: Sampler) -> None:
    open_hat = dry(track("drums", "drums", [(0.0, 0.1, OPEN_HAT, 100)]), sampler)
    choked = dry(track("drums", "drums", [(0.0, 0.1, OPEN_HAT, 100), (0.25, 0.1, choking, 1)]), sampler)

    assert level_db(at(0.4, 0.6, choked)) < level_db(at(0.4, 0.6, open_hat)) - 20
    assert level_db(at(0.05, 0.2, choked)) == pytest.approx(level_db(at(0.05, 0.2, open_hat)), abs=0.1)


def test_drums_ring_however_short_the_stroke_is(sampler: Sampler) -> None:
    pcm = dry(track("drums", "drums", [(0.0, 0.01, 49, 100)]), sampler)

    assert level_db(at(0.5, 1.0, pcm)) > -60


def test_many_notes_are_no_louder_than_one_in_the_mix(sampler: Sampler) -> None:
    chord = dry(track("pad", "organ", [(0.0, 5.0, pitch, 70) for pitch in (48, 55, 60, 64, 67)]), sampler)
    single = dry(track("pad", "organ", [(0.0, 5.0, 60, 110)]), sampler)

    assert level_db(at(1, 4, chord)) == pytest.approx(level_db(at(1, 4, single)), abs=3)


def test_the_tune_stands_in_front(sampler: Sampler) -> None:
    levels = {
        role: level_db(at(1, 4, dry(track(role, "strings", [(0.0, 5.0, 60, 90)]), sampler)))
        for role in ("melody", "counter", "chords", "arpeggio", "pad")
    }

    assert all(levels["melody"] > level + 2 for role, level in levels.items() if role != "melody")


def test_low_notes_of_a_piano_are_left_and_high_ones_right(sampler: Sampler) -> None:
    low, high = (dry(track("melody", "piano", [(0.0, 2.0, pitch, 90)]), sampler) for pitch in (40, 88))

    assert level_db(low[:, 0]) > level_db(low[:, 1]) + 2
    assert level_db(high[:, 0]) < level_db(high[:, 1]) - 2


def test_what_makes_a_track_wide_cancels_in_mono(sampler: Sampler) -> None:
    """Played in mono, the middle is left: no comb, no loss."""
    wide = dry(track("pad", "strings", [(0.0, 5.0, 60, 90)]), sampler)

    assert width(wide) > 0.3
    power_of_middle = level_db(wide) - 10 * np.log10(1 + width(wide) ** 2)
    assert level_db(wide.mean(axis=1)) == pytest.approx(power_of_middle, abs=0.1)


def test_the_bass_is_in_the_middle(sampler: Sampler) -> None:
    assert width(dry(track("bass", "electric bass", [(0.0, 5.0, 36, 90)]), sampler)) < 1e-6


def test_the_kick_of_a_drum_machine_makes_room_for_itself(sampler: Sampler) -> None:
    pad = track("pad", "organ", [(0.0, 6.0, 60, 90)])
    kicks = [(1.0, 0.1, KICK, 110), (3.0, 0.1, KICK, 110)]
    straight, pumping = (
        dry(pad, sampler, others=[track("drums", kit, kicks)]) for kit in ("drums", "electronic drums")
    )

    def duck_db(start_s: float) -> float:
        return level_db(at(start_s, start_s + 0.05, pumping)) - level_db(at(start_s, start_s + 0.05, straight))

    assert duck_db(1.01) < -3
    assert duck_db(3.01) < -3
    assert duck_db(0.8) == pytest.approx(0.0, abs=0.1)
    assert duck_db(2.9) == pytest.approx(0.0, abs=0.1)


def test_chords_make_room_for_the_tune(sampler: Sampler) -> None:
    chords = track("chords", "organ", [(0.0, 6.0, 60, 90)])
    tune = track("melody", "flute", [(2.0, 2.0, 72, 90)])
    alone, under = dry(chords, sampler), dry(chords, sampler, others=[tune])

    assert level_db(at(2.5, 3.9, under)) - level_db(at(2.5, 3.9, alone)) == pytest.approx(-1.5, abs=0.1)
    assert level_db(at(0.5, 1.9, under)) == pytest.approx(level_db(at(0.5, 1.9, alone)), abs=0.01)


def test_memory_of_the_sampler_stays_bounded_over_a_piece() -> None:
    small = Sampler(cache_bytes=3_000_000)
    sound(PLAN, band(), small)

    assert small.cached_bytes <= 3_000_000
