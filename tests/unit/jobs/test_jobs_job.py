"""What a job is, without a database."""

from __future__ import annotations

import dataclasses
import json
from typing import get_args

from job_samples import REQUEST, TTL_S, result_of

from app.engines.engine import Brief
from app.jobs.job import FINAL, Change, Job, JobRequest, Result, Status, new_id, retrying, waiting

JOB = Job.queued(REQUEST, owner="ann", engine="fake", max_attempts=3, request_id="r", now_s=100.0, ttl_s=TTL_S)


def test_a_new_job_waits_for_its_first_attempt() -> None:
    assert (JOB.status, JOB.attempt, JOB.change) == ("queued", 0, 1)
    assert not JOB.is_final
    assert JOB.expires_at_s == 100.0 + TTL_S


def test_an_id_cannot_be_guessed() -> None:
    ids = {new_id() for _ in range(1_000)}

    assert len(ids) == 1_000
    assert all(len(bytes.fromhex(each)) == 16 for each in ids)
    ones = [sum(int(each, 16) >> bit & 1 for each in ids) for bit in range(128)]
    assert all(300 < count < 700 for count in ones), "every bit is as often set as not"


def test_a_request_speaks_the_words_of_the_api_and_survives_them() -> None:
    written = json.loads(json.dumps(REQUEST.to_json()))

    assert written == {
        "prompt": "calm piano",
        "duration": 10.5,
        "mood": "calm",
        "tempo": 90,
        "instruments": ["piano", "cello"],
        "seed": 7,
        "format": "mp3",
        "username": "ann",
    }
    assert JobRequest.from_json(written) == REQUEST


def test_what_a_request_leaves_open_stays_open() -> None:
    request = JobRequest(Brief("x", 5.0, seed=2**32 - 1))

    assert JobRequest.from_json(json.loads(json.dumps(request.to_json()))) == request


def test_a_result_survives_json() -> None:
    result = result_of(JOB)

    assert Result.from_json(json.loads(json.dumps(result.to_json()))) == result


def test_three_states_are_final() -> None:
    assert set(get_args(Status)) - FINAL == {"queued", "running"}


def test_the_past_of_a_job_does_not_tell_how_it_ended() -> None:
    done = dataclasses.replace(
        JOB, status="failed", retryable=False, started_at_s=101.0, finished_at_s=102.0, error={"code": "x"}, change=3
    )
    change = Change(2, 101.0, "running", "Composing…", 0.5, 4, 1)

    then = done.as_of(change)

    assert (then.status, then.message, then.progress, then.queue_position) == ("running", "Composing…", 0.5, 4)
    assert (then.attempt, then.change, then.started_at_s) == (1, 2, 101.0)
    assert (then.error, then.finished_at_s, then.retryable) == (None, None, True)


def test_a_job_that_waited_had_not_started() -> None:
    done = dataclasses.replace(JOB, status="succeeded", started_at_s=101.0, finished_at_s=102.0, result=result_of(JOB))

    then = done.as_of(Change(1, 100.0, "queued", waiting(0), None, None, 0))

    assert (then.started_at_s, then.result) == (None, None)


def test_the_last_change_is_the_job_itself() -> None:
    done = dataclasses.replace(
        JOB, status="succeeded", retryable=False, finished_at_s=102.0, result=result_of(JOB), change=2
    )

    assert done.as_of(Change(2, 102.0, "succeeded", done.message, None, None, 0)) == done


def test_the_sentences_for_people() -> None:
    assert waiting(0) == "Waiting for a free slot"
    assert waiting(3) == "Waiting for a free slot, 3 ahead"
    assert retrying(2, 3) == "The music engine had a problem, retrying… (2/3)"
