"""Studio: one engine, one deadline, a bounded number of places."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from fakes import NOTES, TONE, FakeClock, FakeEngine, Outcome, tone
from structlog.testing import capture_logs

from app.audio import AUDIO_FORMATS
from app.engines.engine import Abilities, Brief, Progress, ignore
from app.errors import (
    EngineNotConfigured,
    FieldError,
    InvalidRequest,
    Overloaded,
    PromptRefused,
    UpstreamBadResponse,
    UpstreamError,
)
from app.retry import Deadline
from app.studio import RETRY_WHEN_FULL_S, Studio

BRIEF = Brief("rain", 10.0, seed=7)


def test_a_piece_says_how_it_was_made() -> None:
    piece = Studio([FakeEngine()], max_active=1).generate(BRIEF, deadline=Deadline.after(60))

    assert piece.file == TONE
    assert (piece.engine, piece.seed, piece.attempts) == ("fake", 7, 1)
    assert piece.upstream_s >= 0
    assert piece.decode_s >= 0


def test_the_time_with_the_engine_and_the_time_decoding_are_told_apart() -> None:
    clock = FakeClock()
    engine = FakeEngine(while_working=lambda: clock.sleep(12))

    piece = Studio([engine], max_active=1).generate(BRIEF, deadline=Deadline.after(60, clock=clock))

    assert piece.upstream_s == 12
    assert piece.decode_s == 0


def test_the_audio_comes_in_the_format_that_was_asked_for() -> None:
    piece = Studio([FakeEngine()], max_active=1).generate(replace(BRIEF, format="flac"), deadline=Deadline.after(60))

    assert piece.file.format == "flac"
    assert piece.file.duration_s == pytest.approx(TONE.duration_s)


def test_a_document_comes_as_the_engine_made_it() -> None:
    engine = FakeEngine(NOTES, abilities=Abilities(formats=("wav", "mid")))

    piece = Studio([engine], max_active=1).generate(replace(BRIEF, format="mid"), deadline=Deadline.after(60))

    assert piece.file is NOTES
    assert engine.briefs[0].format == "mid"


def test_a_format_that_the_engine_cannot_deliver_takes_no_place_and_is_refused_by_name() -> None:
    engine = FakeEngine(while_working=lambda: pytest.fail("it was asked all the same"))
    studio = Studio([engine], max_active=1)

    with pytest.raises(InvalidRequest) as refused:
        studio.generate(replace(BRIEF, format="mid"), deadline=Deadline.after(60))

    assert refused.value.fields == (
        FieldError("format", "must be one of 'wav', 'flac', 'ogg' or 'mp3' with this engine"),
    )


def test_what_the_engine_remarks_comes_with_the_piece_and_is_only_counted_in_the_log() -> None:
    remarks = ('Nobody here plays "kazoo".',)

    with capture_logs() as lines:
        piece = Studio([FakeEngine(remarks=remarks)], max_active=1).generate(BRIEF, deadline=Deadline.after(60))

    assert piece.remarks == remarks
    assert lines[-1]["remarks"] == 1
    assert "kazoo" not in str(lines)


def test_without_an_engine_there_is_nothing_to_ask() -> None:
    studio = Studio([], max_active=1)

    assert not studio.is_configured
    assert studio.formats == AUDIO_FORMATS
    with pytest.raises(EngineNotConfigured):
        studio.generate(BRIEF, deadline=Deadline.after(60))


def test_when_all_places_are_taken_the_next_is_refused_at_once() -> None:
    refusals: list[Overloaded] = []

    def ask_for_another() -> None:
        started_s = time.monotonic()
        with pytest.raises(Overloaded) as refused:
            studio.generate(BRIEF, deadline=Deadline.after(60))
        assert time.monotonic() - started_s < 0.1
        refusals.append(refused.value)

    studio = Studio([FakeEngine(while_working=ask_for_another)], max_active=1)

    studio.generate(BRIEF, deadline=Deadline.after(60))

    (refusal,) = refusals
    assert refusal.retry_after_s == RETRY_WHEN_FULL_S


@pytest.mark.parametrize("outcome", [TONE, PromptRefused("no"), ZeroDivisionError(), KeyboardInterrupt()])
def test_a_place_is_free_again_however_the_work_ended(outcome: Outcome) -> None:
    studio = Studio([FakeEngine(outcome)], max_active=1)

    for _ in range(3):
        try:
            studio.generate(BRIEF, deadline=Deadline.after(60))
        except Overloaded:
            pytest.fail("the place was not given back")
        except BaseException as error:  # noqa: BLE001
            assert error is outcome  # noqa: PT017


def test_failed_attempts_are_repeated_and_counted() -> None:
    clock = FakeClock()
    engine = FakeEngine(UpstreamError("one"), TONE, attempts=2, backoff_s=2)
    studio = Studio([engine], max_active=1, sleep=clock.sleep)

    piece = studio.generate(BRIEF, deadline=Deadline.after(125, clock=clock))

    assert piece.attempts == 2
    assert len(clock.sleeps_s) == 1


def test_an_attempt_may_not_outlast_the_deadline() -> None:
    engine = FakeEngine(timeout_s=60)

    Studio([engine], max_active=1).generate(BRIEF, deadline=Deadline.after(20, clock=FakeClock()))

    assert engine.deadlines[0].remaining_s() == 20


def test_the_log_keeps_what_the_upstream_said_and_nothing_of_the_brief() -> None:
    engine = FakeEngine(UpstreamError("It failed.", log_text="all its words"), TONE, attempts=2, backoff_s=0)
    secret_brief = Brief("a private prompt", 10.0, seed=7, mood="private mood", instruments=("private",))

    with capture_logs() as lines:
        Studio([engine], max_active=1).generate(secret_brief, deadline=Deadline.after(60))

    assert [line["event"] for line in lines] == ["attempt failed", "finished piece"]
    assert lines[0]["upstream_text"] == "all its words"
    assert lines[0]["error"] == "upstream-error"
    assert "private" not in str(lines)


def test_a_format_that_cannot_hold_the_audio_is_an_error_of_the_upstream() -> None:
    studio = Studio([FakeEngine(tone(rate_hz=9_999))], max_active=1)

    with pytest.raises(UpstreamBadResponse):
        studio.generate(replace(BRIEF, format="mp3"), deadline=Deadline.after(60))


def test_who_does_not_ask_for_progress_gets_none() -> None:
    ignore(Progress("working"))
