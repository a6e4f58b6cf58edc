"""What every engine owes its callers; each entry of `ENGINES` is held to it, the wire of remote ones faked."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from fakes import tone
from unit.engines.huggingface.hf_wire import Exchange, Routes, completed, gradio_config, serve, status

from app.audio import AUDIO_FORMATS, Audio, prove
from app.engines import ENGINES
from app.engines.engine import MAX_CLIP_S, MAX_TICKET_CHARS, MIN_CLIP_S, Brief, Document, Engine, Format, Progress, Take
from app.errors import Cancelled, EngineError, UpstreamTimeout
from app.retry import Deadline, RetryPolicy
from app.settings import Settings

BRIEF = Brief("a quiet morning by the sea", 5.0, 7, mood="calm", tempo_bpm=70, instruments=("piano",))
ALL = pytest.mark.parametrize("name", sorted(ENGINES))


def endless(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    while True:
        exchange.send(b'data: {"msg": "heartbeat"}\n\n')
        time.sleep(0.02)


ROUTES: dict[str, object] = {
    "/config": gradio_config(),
    "/gradio_api/queue/join": {"event_id": "e1"},
    "/gradio_api/queue/data": completed({"path": "/a.wav"}),
    "/gradio_api/file=/a.wav": status(200, tone(5.0).content),
    "/gradio_api/cancel": {"success": True},
}


@contextlib.contextmanager
def remote(routes: dict[str, object]) -> Iterator[Settings]:
    with serve(Routes(routes)) as server:
        yield Settings.model_validate({"hf_api_url": server.url})


@contextlib.contextmanager
def local(_routes: dict[str, object]) -> Iterator[Settings]:
    yield Settings.model_validate({})


# An engine that asks somebody else needs its row here; every other one is taken as it is.
WIRES: dict[str, Callable[[dict[str, object]], contextlib.AbstractContextManager[Settings]]] = {"huggingface": remote}


@contextlib.contextmanager
def engine_called(name: str, **routes: object) -> Iterator[Engine]:
    with WIRES.get(name, local)(ROUTES | routes) as settings:
        engine = ENGINES[name].build(settings)
        assert engine is not None, "the settings above configure it"
        yield engine


@ALL
def test_an_engine_has_the_name_it_is_listed_under_and_a_policy(name: str) -> None:
    with engine_called(name) as engine:
        assert engine.name == name
        assert isinstance(engine.policy, RetryPolicy)
        assert engine.policy.attempts >= 1
        assert engine.policy.timeout_s > 0
        assert engine.policy.backoff_s >= 0


@ALL
def test_what_can_be_asked_of_an_engine_is_known_without_it_and_makes_sense(name: str) -> None:
    with engine_called(name) as engine:
        abilities = engine.abilities
    assert abilities == ENGINES[name].abilities
    assert set(AUDIO_FORMATS) <= set(abilities.formats)
    assert abilities.min_duration_s <= MIN_CLIP_S < MAX_CLIP_S <= abilities.max_duration_s
    for offered in (abilities.formats, abilities.styles, abilities.moods, tuple(abilities.instruments)):
        assert len(set(offered)) == len(offered)
        assert all(offered)


@pytest.mark.parametrize(
    ("name", "format"), [(name, each) for name, entry in ENGINES.items() for each in entry.abilities.formats]
)
def test_every_format_is_delivered_or_audio_to_make_it_from(name: str, format: Format) -> None:
    with engine_called(name) as engine:
        file = engine.generate(replace(BRIEF, format=format), deadline=Deadline.after(30)).file
    if format in AUDIO_FORMATS:
        assert isinstance(file, Audio)
    else:
        assert isinstance(file, Document)
        assert file.format == format
        assert file.content
    assert file.duration_s == pytest.approx(BRIEF.duration_s, abs=0.1)


@ALL
def test_a_take_plays_and_is_what_it_says(name: str) -> None:
    told: list[Progress] = []
    with engine_called(name) as engine:
        take = engine.generate(BRIEF, deadline=Deadline.after(30), report=told.append)
    assert isinstance(take, Take)
    assert isinstance(take.file, Audio)
    assert take.file.format in AUDIO_FORMATS
    assert prove(take.file.content) == take.file
    assert take.file.duration_s == pytest.approx(BRIEF.duration_s, abs=0.1)
    assert 0 <= take.decode_s < 30
    assert all(progress.message for progress in told)
    assert all(progress.fraction is None or 0 <= progress.fraction <= 1 for progress in told)


@ALL
def test_progress_need_not_be_listened_to(name: str) -> None:
    with engine_called(name) as engine:
        assert engine.generate(BRIEF, deadline=Deadline.after(30)).file.content


@ALL
@pytest.mark.parametrize("seconds", [-1.0, 0.0, 0.15])
def test_the_deadline_is_kept_within_a_second(name: str, seconds: float) -> None:
    long = Brief(BRIEF.prompt, 30.0, 7, tempo_bpm=180)
    with engine_called(name, **{"/gradio_api/queue/data": endless}) as engine:
        started_s = time.monotonic()
        with pytest.raises(UpstreamTimeout):
            engine.generate(long, deadline=Deadline.after(seconds))
        assert time.monotonic() - started_s < max(seconds, 0) + 1


@ALL
@pytest.mark.parametrize("after_s", [0.0, 0.15])
def test_cancelled_work_ends_within_two_seconds_and_is_not_repeated(name: str, after_s: float) -> None:
    long = Brief(BRIEF.prompt, 30.0, 7, tempo_bpm=180)
    cancelled = threading.Event()
    with engine_called(name, **{"/gradio_api/queue/data": endless}) as engine:
        threading.Timer(after_s, cancelled.set).start()
        started_s = time.monotonic()
        with pytest.raises(Cancelled) as raised:
            engine.generate(long, deadline=Deadline.after(60, cancelled=cancelled))
        assert time.monotonic() - started_s < after_s + 2
    assert not raised.value.repeat


@ALL
@pytest.mark.parametrize("ticket", ["", "nothing that anybody wrote", "{}", "null"])
def test_a_ticket_that_says_nothing_is_ignored(name: str, ticket: str) -> None:
    with engine_called(name) as engine:
        assert engine.generate(BRIEF, deadline=Deadline.after(30), resume=ticket).file.content


@ALL
def test_a_ticket_is_short_enough_to_be_kept_and_can_be_used(name: str) -> None:
    told: list[Progress] = []
    with engine_called(name) as engine:
        engine.generate(BRIEF, deadline=Deadline.after(30), report=told.append)
        for ticket in filter(None, (progress.ticket for progress in told)):
            assert len(ticket) <= MAX_TICKET_CHARS
            assert isinstance(json.loads(ticket), dict)
            assert engine.generate(BRIEF, deadline=Deadline.after(30), resume=ticket).file.content


@ALL
@pytest.mark.parametrize(
    "brief",
    [
        Brief("x", 5.0, 0),
        Brief("\u202e🎹" * 500, 5.0, 2**32 - 1, mood="", instruments=("", "🥁")),
        Brief("{seed} %s <script>", 5.5, 1, mood="'", tempo_bpm=220, instruments=tuple("abcdefghijkl")),
    ],
    ids=["plain", "odd characters", "code"],
)
@pytest.mark.parametrize("broken", [False, True])
def test_nothing_but_engine_errors_comes_instead_of_a_take(name: str, brief: Brief, broken: bool) -> None:
    routes: dict[str, object] = {"/config": status(500, b"\xff<")} if broken else {}
    with engine_called(name, **routes) as engine, contextlib.suppress(EngineError):
        take = engine.generate(brief, deadline=Deadline.after(30))
        assert prove(take.file.content).duration_s >= 0.5
