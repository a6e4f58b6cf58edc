"""`studio probe`: what an operator sees, on which stream, with which exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fakes import tone
from unit.engines.huggingface.hf_wire import (
    Exchange,
    Routes,
    completed,
    component,
    dependency,
    gradio_config,
    queue_events,
    serve,
    status,
)

from app.audio import prove
from app.cli import main

WAV = tone(0.6).content
MUSIC = gradio_config(
    components=[
        component(1, "textbox", label="Describe your music"),
        component(2, "slider", label="Duration", value=10, minimum=1, maximum=30, step=1),
        component(3, "number", label="Top-k", value=250),
        component(4, "audio"),
    ],
    dependencies=[dependency([1, 2, 3], [4], "make_music"), dependency([1], [1], "tag")],
)


def plays(exchange: Exchange) -> None:
    exchange.answer(WAV, Content_Type="audio/wav")


def routes(**more: Any) -> Routes:
    return Routes(
        {
            "/config": MUSIC,
            "/gradio_api/queue/join": {"event_id": "e1"},
            "/gradio_api/queue/data": completed({"path": "/files/a.wav"}),
            "/gradio_api/file=/files/a.wav": plays,
            **more,
        }
    )


def probe(*options: str, **environment: str) -> Result:
    return CliRunner(env=environment).invoke(main, ["probe", *options])


def test_a_probe_shows_function_and_mapping_and_generates_nothing() -> None:
    with serve(routes()) as server:
        result = probe("--prompt", "slow waltz", "--duration", "12", HF_API_URL=server.url)
        asked = server.paths()
    assert result.exit_code == 0, result.output
    assert "Gradio" in result.stdout
    assert "/make_music, /tag" in result.stdout
    assert "would call /make_music" in result.stdout
    lines = {
        line.split("←")[0].strip(): line.split("←")[1].split() for line in result.stdout.splitlines() if "←" in line
    }
    assert lines == {
        "Describe your music (textbox)": ["prompt", '"slow', 'waltz"'],
        "Duration (slider)": ["duration", "12"],
        "Top-k (number)": ["default", "250"],
    }
    assert all(each.startswith("GET ") for each in asked)


def test_a_probe_of_a_plain_server_shows_the_body() -> None:
    with serve(Routes({"/config": status(404)})) as server:
        result = probe(HF_API_URL=f"{server.url}/run/anything")
    assert result.exit_code == 0
    assert "server without a signature" in result.stdout
    assert '{"data":["calm piano",10]}' in result.stdout


def test_on_demand_the_piece_is_made_and_written(tmp_path: Path) -> None:
    file = tmp_path / "piece.wav"
    with serve(routes()) as server:
        result = probe("--generate", str(file), HF_API_URL=server.url)
    assert result.exit_code == 0, result.output
    assert prove(file.read_bytes()).duration_s == pytest.approx(0.6)
    assert "0.60 s of WAV" in result.stdout
    assert "Fetching the audio" in result.stderr


def test_a_long_value_is_shortened() -> None:
    with serve(routes()) as server:
        result = probe("--prompt", "x" * 900, HF_API_URL=server.url)
    assert max(map(len, result.stdout.splitlines())) < 200


def test_a_failure_is_told_on_standard_error_with_what_the_upstream_said() -> None:
    failed = queue_events({"msg": "process_completed", "success": False, "output": {"error": "CUDA out of memory"}})
    with serve(routes(**{"/gradio_api/queue/data": failed})) as server:
        result = probe("--generate", "unwritten.wav", HF_API_URL=server.url)
    assert result.exit_code == 1
    assert "The music engine had a problem." in result.stderr
    assert "CUDA out of memory" in result.stderr
    assert not Path("unwritten.wav").exists()


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, "The music engine is not set up."),
        ({"HF_API_URL": "http://127.0.0.1:1"}, "refuses connections"),
        ({"HF_API_UR": "x"}, "HF_API_UR: no such setting; did you mean HF_API_URL?"),
    ],
)
def test_what_keeps_it_from_probing_is_told(environment: dict[str, str], told: str) -> None:
    result = probe(**environment)
    assert result.exit_code == 1
    assert told in result.stderr
    assert not result.stdout


def test_a_duration_out_of_bounds_is_a_usage_error() -> None:
    assert probe("--duration", "3").exit_code == 2
