"""Scores that must not change unnoticed; `tests/fixtures/scores/README.md` says how they are renewed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

import pytest
from scores import plan_of

from app.engines.composer.plan import Plan
from app.engines.composer.score import Score, compose

FOLDER: Final = Path(__file__).parents[3] / "fixtures" / "scores"
GOLDEN: Final = {
    "pop-8s": plan_of("pop", 8.0),
    "jazz-10s": plan_of("jazz", 10.0, theme=3, tonic=5),
    "sad-waltz-9s": plan_of("waltz", 9.0, mood=(-0.6, -0.4), theme=4, tonic=9),
    "lead-on-6s": plan_of("rock", 6.0, tempo_bpm=120.0, theme=5, opening="continue", ending="lead on"),
}


def written(score: Score) -> dict[str, object]:
    return {
        "tempo_bpm": round(score.tempo_bpm, 4),
        "form": [f"{part.start_s:.4f} {part.name} {part.bars}" for part in score.form],
        "chords": [f"{chord.start_s:.4f} {chord.name}" for chord in score.chords],
        "tracks": {
            f"{track.role}: {track.instrument}": [
                f"{note.start_s:.4f} {note.duration_s:.4f} {note.pitch} {note.velocity}" for note in track.notes
            ]
            for track in score.tracks
        },
    }


@pytest.mark.parametrize(("name", "plan"), GOLDEN.items(), ids=GOLDEN)
def test_the_score_is_the_one_on_file(name: str, plan: Plan) -> None:
    path = FOLDER / f"{name}.json"
    score = written(compose(plan))
    if os.environ.get("RENEW_SCORES"):
        path.write_text(json.dumps(score, indent=1) + "\n", encoding="utf-8")
    assert score == json.loads(path.read_text(encoding="utf-8"))


def test_no_file_is_left_over() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == set(GOLDEN)
