"""Draw what the composer wrote over what is heard: `python -m tools.draw_pieces [PROMPT]`.

Without a prompt, the pictures of `docs/composer.md` are drawn. With one, any piece:

    python -m tools.draw_pieces "slow blues" --duration 30 --out blues.png

Needs the development dependencies (matplotlib).
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from app.engines.composer.instruments import Role
from app.engines.composer.plan import Plan, make_plan
from app.engines.composer.render import CHANNELS, RATE_HZ, render
from app.engines.composer.render.sampler import Sampler
from app.engines.composer.score import Score, Track, compose
from app.engines.engine import Brief

DOCS: Final = Path(__file__).parents[1] / "docs" / "composer"
PICTURES: Final[Mapping[str, Brief]] = {
    "calm-piano.png": Brief("calm piano", 30.0, seed=1),
    "epic-battle.png": Brief("epic battle", 30.0, seed=1),
}

COLOURS: Final[Mapping[Role, str]] = {
    "melody": "#d62728", "counter": "#e58606", "chords": "#1f77b4", "arpeggio": "#17a2a2", "pad": "#8fa8d8",
    "bass": "#2c6e2c", "drums": "#444444",
}  # fmt: skip

_DRUMS: Final[Mapping[int, str]] = {
    35: "kick", 36: "kick", 37: "rim", 38: "snare", 39: "clap", 40: "snare", 42: "hat", 44: "hat", 46: "open hat",
    49: "crash", 57: "crash", 51: "ride", 53: "ride", 59: "ride",
}  # fmt: skip
_DRUM_ROWS: Final = ("kick", "snare", "rim", "clap", "other", "hat", "open hat", "ride", "crash")

_LOWEST_HZ, _HIGHEST_HZ = 40.0, 16_000.0
_FFT_SIZE: Final = 4096
_BANDS: Final = 120
_COLUMNS: Final = 400
_FLOOR_DB: Final = -75.0


def draw(plan: Plan, score: Score, samples: NDArray[np.float64], title: str) -> Figure:
    """Return the picture: chords and notes, drums, spectrogram on one axis of time.

    Args:
        plan: What the score was made from.
        score: The notes.
        samples: What is heard, of shape (frames, 2), from -1 to 1.
        title: Stands above.
    """
    heights = (10, 2.4, 6) if any(track.role == "drums" for track in score.tracks) else (12.4, 6)
    figure, (roll, *beat, spectrum) = plt.subplots(
        len(heights), 1, figsize=(12, 7.6), sharex=True, height_ratios=heights, layout="constrained"
    )
    mood = f"valence {plan.valence:+.2f}, arousal {plan.arousal:+.2f}"
    figure.suptitle(f"{title}\n{plan.style}, {score.mode}, {score.tempo_bpm:.1f} bpm, {mood}", fontsize=10)
    _draw_roll(roll, score)
    for axes in beat:
        _draw_drums(axes, score)
    _draw_spectrogram(spectrum, samples.mean(axis=1))
    spectrum.set_xlim(0, score.duration_s)
    spectrum.set_xlabel("seconds")
    return figure


def _draw_roll(axes: Axes, score: Score) -> None:
    pitched = [track for track in score.tracks if track.role != "drums" and track.notes]
    # The harmony lies behind, the tune in front.
    for track in sorted(pitched, key=lambda track: [*COLOURS].index(track.role), reverse=True):
        _draw_track(axes, track)
    pitches = [note.pitch for track in pitched for note in track.notes] or [60]
    lowest, highest = min(pitches) - 2, max(pitches) + 2
    axes.set_ylim(lowest, highest + 6)
    octaves = range(-(-lowest // 12) * 12, highest + 1, 12)
    axes.set_yticks([*octaves], [f"C{pitch // 12 - 1}" for pitch in octaves])
    axes.grid(axis="y", linewidth=0.4)
    for number, part in enumerate(score.form):
        end_s = score.form[number + 1].start_s if number + 1 < len(score.form) else score.chords[-1].start_s
        axes.axvspan(part.start_s, end_s, color="#f2f2ee" if number % 2 else "#ffffff", zorder=-2)
        axes.axvline(part.start_s, color="#999999", linewidth=0.8, zorder=-1)
        axes.text(part.start_s, highest + 4, f" {part.name}", fontsize=9, weight="bold")
    for chord in score.chords:
        axes.text(chord.start_s, highest + 1.5, f" {chord.name}", fontsize=6.5, clip_on=True)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=7, frameon=False)


def _draw_track(axes: Axes, track: Track) -> None:
    boxes = [Rectangle((note.start_s, note.pitch - 0.45), note.duration_s, 0.9) for note in track.notes]
    strengths = [0.25 + 0.75 * note.velocity / 127 for note in track.notes]
    axes.add_collection(PatchCollection(boxes, facecolor=COLOURS[track.role], alpha=strengths, linewidth=0))
    axes.plot([], [], color=COLOURS[track.role], linewidth=5, label=f"{track.role}: {track.instrument}")


def _draw_drums(axes: Axes, score: Score) -> None:
    strokes = [note for track in score.tracks if track.role == "drums" for note in track.notes]
    rows = [_DRUM_ROWS.index(_DRUMS.get(note.pitch, "other")) for note in strokes]
    sizes = [note.velocity / 127 * 18 for note in strokes]
    axes.scatter([note.start_s for note in strokes], rows, s=sizes, c=COLOURS["drums"], marker="|")
    axes.set_yticks(range(len(_DRUM_ROWS)), _DRUM_ROWS, fontsize=5.5)
    axes.set_ylim(-0.7, len(_DRUM_ROWS) - 0.3)


def _draw_spectrogram(axes: Axes, mono: NDArray[np.float64]) -> None:
    hop = len(mono) // _COLUMNS
    padded = np.pad(mono, _FFT_SIZE // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT_SIZE)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(_FFT_SIZE), axis=1)) ** 2
    edges_hz = np.geomspace(_LOWEST_HZ, _HIGHEST_HZ, _BANDS + 1)
    # A band narrower than a bin shows the bin that it lies in.
    bins = np.round(edges_hz / (RATE_HZ / _FFT_SIZE)).astype(int)
    bands = np.stack([power[:, low : max(high, low + 1)].max(axis=1) for low, high in itertools.pairwise(bins)])
    level_db = 10 * np.log10(bands / bands.max() + 1e-12)
    extent = (0.0, len(mono) / RATE_HZ, 0.0, float(_BANDS))
    axes.imshow(
        np.round(level_db / 5) * 5, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=_FLOOR_DB, vmax=0
    )
    ticks_hz = (50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000)
    places = np.interp(np.log(ticks_hz), np.log(edges_hz), np.arange(_BANDS + 1))
    axes.set_yticks(places, [f"{hz / 1000:g} kHz" if hz >= 1000 else f"{hz} Hz" for hz in ticks_hz], fontsize=7)


def picture_of(brief: Brief, path: Path) -> None:
    """Compose, render and draw a piece into a PNG; the same brief gives the same bytes on one installation."""
    plan = make_plan(brief)
    score = compose(plan)
    pcm = render(plan, score, Sampler(), checkpoint=lambda _: None)
    samples = np.frombuffer(pcm, "<i2").reshape(-1, CHANNELS) / 32768
    title = f"“{brief.prompt}”{f', {brief.mood}' if brief.mood else ''}, {brief.duration_s:g} s, seed {brief.seed}"
    figure = draw(plan, score, samples, title)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without the version of matplotlib, which would make an unchanged picture a different file.
    figure.savefig(path, dpi=84, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    mpl.use("Agg")
    arguments = argparse.ArgumentParser(description="Draw a piece, or the pictures of docs/composer.md.")
    arguments.add_argument("prompt", nargs="?")
    arguments.add_argument("--mood")
    arguments.add_argument("--duration", type=float, default=20.0, help="seconds")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--instruments", nargs="*", default=())
    arguments.add_argument("--out", type=Path, default=Path("piece.png"))
    asked = arguments.parse_args()
    if asked.prompt is None:
        for name, brief in PICTURES.items():
            picture_of(brief, DOCS / name)
        return
    brief = Brief(asked.prompt, asked.duration, asked.seed, mood=asked.mood, instruments=tuple(asked.instruments))
    picture_of(brief, asked.out)


if __name__ == "__main__":
    main()
