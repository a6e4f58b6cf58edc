"""Several engines: when one cannot serve, the next makes the music, and everybody is told."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace

import pytest
from fakes import NOTES, TONE, FakeClock, FakeEngine, Outcome, tone
from structlog.testing import capture_logs

from app.audio import AUDIO_FORMATS
from app.breaker import Breaker, Limits
from app.engines.engine import Abilities, Brief
from app.errors import (
    Cancelled,
    EngineNotConfigured,
    InvalidRequest,
    JobStoreUnavailable,
    PromptRefused,
    StudioError,
    UpstreamBadResponse,
    UpstreamError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from app.retry import Deadline
from app.settings import Settings
from app.studio import LONGEST_RESERVE_S, StandIn, Studio, open_studio

BRIEF = Brief("rain", 10.0, seed=7)
OTHER_TONE = tone(2.0)

CANNOT_SERVE = [
    UpstreamBadResponse(),
    UpstreamRejected(),
    UpstreamError(),
    UpstreamUnavailable(),
    UpstreamTimeout(),
    EngineNotConfigured(),
]


def named(name: str, *outcomes: Outcome, **fields: object) -> FakeEngine:
    engine = FakeEngine(*outcomes, **fields)  # type: ignore[arg-type]
    engine.name = name
    return engine


class Noting:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.attempts: list[tuple[str, str]] = []
        self.elapsed_s: list[float] = []
        self.pieces: list[tuple[str, float, int, str]] = []
        self.fallbacks: list[tuple[str, str]] = []
        self.refusals = 0

    def attempt(self, engine: str, outcome: str, elapsed_s: float) -> None:
        self.attempts.append((engine, outcome))
        self.elapsed_s.append(elapsed_s)

    def piece(self, engine: str, *, duration_s: float, size_bytes: int, decode_s: float, format: str) -> None:
        self.pieces.append((engine, duration_s, size_bytes, format))

    def fallback(self, engine: str, reason: str) -> None:
        self.fallbacks.append((engine, reason))

    def refused(self) -> None:
        self.refusals += 1


def a_minute() -> Deadline:
    return Deadline.after(60)


# ---------------------------------------------------------------------- callers who wait


@pytest.mark.parametrize("error", CANNOT_SERVE, ids=lambda error: error.code())
def test_when_an_engine_cannot_serve_the_next_makes_the_music_and_the_piece_says_so(error: StudioError) -> None:
    observer = Noting()
    first, second = named("first", error), named("second", OTHER_TONE)

    with capture_logs() as lines:
        piece = Studio([first, second], max_active=1, observer=observer).generate(BRIEF, deadline=a_minute())

    assert piece.file == OTHER_TONE
    assert (piece.engine, piece.fallback_reason, piece.attempts) == ("second", error.code(), 2)
    assert observer.attempts == [("first", error.code()), ("second", "ok")]
    assert observer.pieces == [("second", 2.0, len(OTHER_TONE.content), "wav")]
    assert observer.fallbacks == [("second", error.code())]
    takeover = {"event": "another engine takes over", "of": "first", "engine": "second", "reason": error.code()}
    assert takeover.items() <= next(line for line in lines if "takes over" in line["event"]).items()


def test_as_long_as_the_first_engine_serves_nobody_else_is_asked() -> None:
    observer, second = Noting(), named("second")

    piece = Studio([named("first"), second], max_active=1, observer=observer).generate(BRIEF, deadline=a_minute())

    assert (piece.engine, piece.fallback_reason) == ("first", None)
    assert second.briefs == []
    assert observer.fallbacks == []


@pytest.mark.parametrize(
    "error", [PromptRefused("Too loud."), Cancelled(), ZeroDivisionError()], ids=["refused", "cancelled", "mistake"]
)
def test_nobody_takes_over_after_a_refusal_a_cancellation_or_a_mistake_of_ours(error: BaseException) -> None:
    second = named("second")

    with pytest.raises(type(error)) as raised:
        Studio([named("first", error), second], max_active=1).generate(BRIEF, deadline=a_minute())

    assert raised.value is error
    assert second.briefs == []


def test_the_first_engine_has_all_its_attempts_before() -> None:
    clock = FakeClock()
    first = named("first", UpstreamError("one"), UpstreamTimeout("two"), attempts=2, backoff_s=2)

    piece = Studio([first, named("second")], max_active=1, sleep=clock.sleep).generate(
        BRIEF, deadline=Deadline.after(125, clock=clock)
    )

    assert len(first.briefs) == 2
    assert (piece.attempts, piece.fallback_reason) == (3, "upstream-timeout")


def test_when_all_fail_the_error_of_the_first_goes_out() -> None:
    error = UpstreamTimeout("first")
    engines = [named("first", error), named("second", UpstreamError("second")), named("third", UpstreamRejected("3"))]

    with pytest.raises(UpstreamTimeout) as raised:
        Studio(engines, max_active=1).generate(BRIEF, deadline=a_minute())

    assert raised.value is error
    assert [len(each.briefs) for each in engines] == [1, 1, 1]


def test_what_a_stand_in_refuses_is_refused() -> None:
    third = named("third")

    with pytest.raises(PromptRefused):
        Studio([named("first", UpstreamError()), named("second", PromptRefused()), third], max_active=1).generate(
            BRIEF, deadline=a_minute()
        )

    assert third.briefs == []


def test_audio_that_cannot_be_had_in_the_format_is_a_failure_of_the_engine() -> None:
    odd = named("first", tone(rate_hz=9_999))

    piece = Studio([odd, named("second")], max_active=1).generate(replace(BRIEF, format="mp3"), deadline=a_minute())

    assert (piece.engine, piece.fallback_reason) == ("second", "upstream-bad-response")


# ---------------------------------------------------------------------- time


@pytest.mark.parametrize(
    ("deadline_s", "first_s"), [(125, 125 - LONGEST_RESERVE_S), (60, 45), (20, 15), (2, 1.5)], ids=str
)
def test_an_engine_leaves_time_for_the_next(deadline_s: float, first_s: float) -> None:
    clock = FakeClock()

    def hang() -> None:
        clock.sleep(first.deadlines[-1].remaining_s())

    first, second = named("first", UpstreamTimeout(), timeout_s=600, while_working=hang), named("second", timeout_s=600)
    Studio([first, second], max_active=1).generate(BRIEF, deadline=Deadline.after(deadline_s, clock=clock))

    assert first.deadlines[0].at_s - 1_000 == pytest.approx(first_s)
    assert second.deadlines[0].at_s - 1_000 == deadline_s


def test_the_last_engine_has_all_the_time_there_is() -> None:
    engine = named("first", timeout_s=600)

    Studio([engine], max_active=1).generate(BRIEF, deadline=Deadline.after(125, clock=FakeClock()))

    assert engine.deadlines[0].remaining_s() == 125


def test_a_cancelled_deadline_is_cancelled_for_every_engine() -> None:
    event = threading.Event()
    second = named("second", while_working=event.set)

    with pytest.raises(Cancelled):
        Studio([named("first", UpstreamError()), second], max_active=1).generate(
            BRIEF, deadline=Deadline.after(60, cancelled=event)
        )


# ---------------------------------------------------------------------- formats


def test_the_formats_are_those_of_the_first_engine() -> None:
    """Or else what can be asked for would change with the health of an upstream."""
    first, second = named("first"), named("second", abilities=Abilities(formats=(*AUDIO_FORMATS, "mid")))
    studio = Studio([first, second], max_active=1)

    assert studio.formats == AUDIO_FORMATS
    with pytest.raises(InvalidRequest):
        studio.generate(replace(BRIEF, format="mid"), deadline=a_minute())
    assert first.briefs == second.briefs == []


def test_who_cannot_deliver_the_format_is_passed_over() -> None:
    can = Abilities(formats=("wav", "mid"))
    engines = [named("first", UpstreamError(), abilities=can), named("second"), named("third", NOTES, abilities=can)]

    piece = Studio(engines, max_active=1).generate(replace(BRIEF, format="mid"), deadline=a_minute())

    assert piece.engine == "third"
    assert engines[1].briefs == []


# ---------------------------------------------------------------------- an engine that is not configured


def test_without_the_first_engine_the_others_work_and_say_so() -> None:
    observer = Noting()
    engine = named("second", abilities=Abilities(formats=("wav", "mid")))
    studio = Studio([engine], first="first", max_active=1, observer=observer)

    piece = studio.generate(BRIEF, deadline=a_minute())

    assert studio.is_configured
    assert studio.formats == ("wav", "mid")
    assert studio.stand_in == StandIn("second", "engine-not-configured")
    assert (piece.engine, piece.fallback_reason) == ("second", "engine-not-configured")
    assert observer.fallbacks == [("second", "engine-not-configured")]


def test_without_any_engine_there_is_nobody_to_take_over() -> None:
    studio = Studio([], first="first", max_active=1)

    assert not studio.is_configured
    assert studio.stand_in is None
    assert studio.successor(BRIEF, None) is None
    with pytest.raises(EngineNotConfigured):
        studio.attempt(BRIEF, deadline=a_minute())


# ---------------------------------------------------------------------- jobs


def test_an_attempt_can_be_made_by_a_stand_in() -> None:
    observer, first, second = Noting(), named("first"), named("second", OTHER_TONE)
    studio = Studio([first, second], max_active=1, observer=observer)

    piece = studio.attempt(BRIEF, deadline=a_minute(), stand_in=StandIn("second", "upstream-timeout"))

    assert first.briefs == []
    assert (piece.engine, piece.fallback_reason, piece.attempts) == ("second", "upstream-timeout", 1)
    assert observer.fallbacks == [("second", "upstream-timeout")]


def test_a_stand_in_that_is_not_configured_any_more_leaves_the_work_to_the_first() -> None:
    piece = Studio([named("first")], max_active=1).attempt(
        BRIEF, deadline=a_minute(), stand_in=StandIn("gone", "upstream-timeout")
    )

    assert (piece.engine, piece.fallback_reason) == ("first", None)


def test_who_takes_over_from_whom_and_why() -> None:
    studio = Studio([named("first"), named("second"), named("third")], max_active=1)
    second = StandIn("second", "upstream-timeout")

    assert studio.successor(BRIEF, None, UpstreamTimeout()) == second
    assert studio.successor(BRIEF, second, UpstreamError()) == StandIn("third", "upstream-timeout")
    assert studio.successor(BRIEF, StandIn("third", "upstream-timeout"), UpstreamError()) is None
    assert studio.successor(BRIEF, None) is not None
    for error in (PromptRefused(), Cancelled(), JobStoreUnavailable(), InvalidRequest()):
        assert studio.successor(BRIEF, None, error) is None


def test_who_stands_in_for_an_engine_that_is_missing_has_a_successor_too() -> None:
    studio = Studio([named("second"), named("third")], first="first", max_active=1)

    assert studio.successor(BRIEF, None, UpstreamError()) == StandIn("third", "engine-not-configured")


# ---------------------------------------------------------------------- places


def test_places_are_counted_and_refusals_observed() -> None:
    observer = Noting()
    studio = Studio([named("first")], max_active=2, observer=observer)

    with studio.place(), studio.place():
        assert (studio.active, studio.max_active) == (2, 2)
        for _ in range(3):
            with pytest.raises(StudioError):
                studio.generate(BRIEF, deadline=a_minute())

    assert studio.active == 0
    assert observer.refusals == 3
    assert observer.attempts == []


def test_a_mistake_of_ours_is_observed_as_what_callers_see() -> None:
    observer = Noting()

    with pytest.raises(ZeroDivisionError):
        Studio([named("first", ZeroDivisionError())], max_active=1, observer=observer).generate(
            BRIEF, deadline=a_minute()
        )

    assert observer.attempts == [("first", "internal-error")]


def test_the_time_of_an_attempt_is_observed() -> None:
    clock, observer = FakeClock(), Noting()
    engine = named("first", TONE, while_working=lambda: clock.sleep(12))

    Studio([engine], max_active=1, observer=observer).generate(BRIEF, deadline=Deadline.after(60, clock=clock))

    assert observer.elapsed_s == [12]


# ---------------------------------------------------------------------- from the settings


def test_an_engine_with_an_upstream_gets_a_breaker_and_the_composer_none() -> None:
    settings = Settings.model_validate({"HF_API_URL": "owner/space", "STUDIO_FALLBACK": "composer"})

    studio = open_studio(settings, named("huggingface"), [named("composer")])

    assert studio.breakers == {"huggingface": "closed"}
    assert [name for name, _ in studio.outlooks()] == ["huggingface", "composer"]
    assert studio.retry_tokens > 1


def test_the_breaker_keeps_to_the_settings() -> None:
    settings = Settings.model_validate(
        {"HF_API_URL": "owner/space", "STUDIO_BREAKER_FAILURES": 2, "STUDIO_BREAKER_OPEN_S": 7}
    )
    studio = open_studio(settings, named("huggingface", UpstreamError()))

    for _ in range(2):
        assert studio.breakers == {"huggingface": "closed"}
        with pytest.raises(UpstreamError):
            studio.generate(BRIEF, deadline=a_minute())

    ((_, outlook),) = studio.outlooks()
    assert outlook.phase == "open"
    assert outlook.blocked_s == pytest.approx(7, abs=1)


def test_a_breaker_whose_redis_is_not_there_works() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        url = f"redis://127.0.0.1:{probe.getsockname()[1]}/0"
    settings = Settings.model_validate(
        {"HF_API_URL": "owner/space", "STUDIO_REDIS_URL": url, "STUDIO_BREAKER_FAILURES": 1}
    )
    studio = open_studio(settings, named("huggingface", UpstreamError()))

    with pytest.raises(UpstreamError):
        studio.generate(BRIEF, deadline=a_minute())

    assert studio.breakers == {"huggingface": "open"}


def test_a_fallback_that_is_not_configured_is_warned_of() -> None:
    settings = Settings.model_validate({"STUDIO_ENGINE": "composer", "STUDIO_FALLBACK": "huggingface"})

    with capture_logs() as lines:
        studio = open_studio(settings, named("composer", UpstreamTimeout()), [None])

    assert [(line["log_level"], line["engine"]) for line in lines] == [("warning", "huggingface")]
    with pytest.raises(UpstreamTimeout):
        studio.generate(BRIEF, deadline=a_minute())


def test_while_the_breaker_is_open_the_next_engine_takes_over_at_once() -> None:
    observer, first = Noting(), named("first", UpstreamError())
    breaker = Breaker("first", limits=Limits(failures=1, open_s=15))
    studio = Studio([first, named("second")], max_active=1, breakers={"first": breaker}, observer=observer)

    pieces = [studio.generate(BRIEF, deadline=a_minute()) for _ in range(3)]

    assert [piece.fallback_reason for piece in pieces] == ["upstream-error"] + ["upstream-unavailable"] * 2
    assert [piece.attempts for piece in pieces] == [2, 1, 1]
    assert len(first.briefs) == 1
    assert observer.attempts == [("first", "upstream-error")] + [("second", "ok")] * 3
