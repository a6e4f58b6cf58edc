"""Diagnoses: of an error that is sent, of a job, and of training runs elsewhere."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from api_keys import BOB, KEYS, NINA
from fakes import FakeEngine, MakeClient
from flask.testing import FlaskClient
from flask_openapi3 import OpenAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from job_service import JobService, MakeService

from app.errors import (
    EngineError,
    EngineNotConfigured,
    InternalError,
    JobStoreUnavailable,
    PromptRefused,
    ResultLost,
    StudioError,
    UpstreamBadResponse,
    UpstreamError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from app.failures import Diagnosis, Evidence
from app.failures.text import MAX_TEXT_CHARS
from app.logs import Scrubber
from app.web import callers, failures, guard, problems
from app.web.body import LARGE_BODIES, MAX_BODY_BYTES, MAX_TEXT_BODY_BYTES
from app.web.schemas import MAX_CONFIG_BYTES, MAX_CONFIG_DEPTH, MAX_HEADERS

ANALYZE = "/api/analyze-failure"
RUN = "/api/training/local/run-1"
OOM = {"error": "CUDA out of memory", "config": {"per_device_train_batch_size": 8}}
NO_JOB = "0" * 32
NO_MP3 = "An MP3 cannot hold 96000 Hz in 2 channels; ask for another format."


def diagnosis(client: FlaskClient, **fields: Any) -> dict[str, Any]:
    response = client.post(ANALYZE, json={"error": "x", **fields})
    assert response.status_code == 200, response.text
    told: dict[str, Any] = response.get_json()
    return told


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    assert response.content_type == problems.MEDIA_TYPE
    told: dict[str, Any] = json.loads(response.data)
    assert (response.status_code, told["code"]) == (status, code), told
    return told


def field_errors(response: Any) -> dict[str, str]:
    return {each["field"]: each["message"] for each in problem(response, 400, "invalid-request")["errors"]}


# ---------------------------------------------------------------------- an error that is sent


def test_the_answer_is_the_contracts(client: FlaskClient) -> None:
    told = diagnosis(client, job_id="test", **OOM)

    assert list(told) == [
        *("job_id", "error_type", "error_phase", "description", "confidence", "suggestions", "retryable")
    ]
    assert (told["job_id"], told["error_type"], told["error_phase"], told["confidence"], told["retryable"]) == (
        *("test", "oom_training", "training", "high", False),
    )
    assert "per_device_train_batch_size (now 8) to 4" in told["suggestions"][0]


def test_what_is_not_recognised_is_unknown(client: FlaskClient) -> None:
    told = diagnosis(client, error="The kettle is on.")

    assert (told["job_id"], told["error_type"], told["confidence"]) == (None, "unknown", "low")
    assert told["suggestions"]


def test_what_came_beside_the_error_is_used(client: FlaskClient) -> None:
    told = diagnosis(client, error="no", status=429, headers={"Retry-After": "40"}, elapsed=3.5, config=None)

    assert told["error_type"] == "rate_limited"
    assert "Wait 40 s (Retry-After), then retry" in told["suggestions"]


def test_our_own_problems_are_understood(client: FlaskClient, make_client: MakeClient) -> None:
    """Whoever has one at hand sends it as it is."""
    problem = make_client(FakeEngine(UpstreamTimeout())).post("/studio-generate", json={"prompt": "rain"}).text

    assert diagnosis(client, error=problem)["error_type"] == "read_timeout"


def test_a_long_text_is_cut_in_its_middle(client: FlaskClient) -> None:
    """Each character takes six bytes as JSON."""
    error = "No space left on device\n" + "\x1b" * MAX_TEXT_CHARS + "\nthe end"
    content = json.dumps({"error": error})
    assert len(content) > 6 * MAX_TEXT_CHARS

    for text in (error, "x" * (MAX_TEXT_BODY_BYTES - 100) + "\nNo space left on device"):
        assert diagnosis(client, error=text)["error_type"] == "disk_full"


@pytest.mark.parametrize("path", [ANALYZE, RUN])
def test_a_body_beyond_the_limit_is_refused(client: FlaskClient, path: str) -> None:
    ask = client.post if path == ANALYZE else client.put
    content = b'{"error": "x"}'.ljust(MAX_TEXT_BODY_BYTES + 1)

    told = problem(ask(path, data=content, content_type="application/json"), 413, "payload-too-large")

    assert told["detail"] == "At most 2,097,152 bytes are read here."


def test_other_routes_take_as_little_as_before(client: FlaskClient) -> None:
    content = b'{"prompt": "rain"}'.ljust(MAX_BODY_BYTES + 1)

    response = client.post("/studio-generate", data=content, content_type="application/json")

    assert problem(response, 413, "payload-too-large")["detail"] == "At most 65,536 bytes are read here."


def test_a_server_that_collects_bodies_knows_the_routes() -> None:
    assert {f"POST {failures.ANALYZE}".encode(), f"PUT {failures.TRAINING}".encode()} == set(LARGE_BODIES)


@pytest.mark.parametrize(
    "content",
    [
        b'{"error": "x", "config": {"a": [' + b"[]," * 500_000 + b"0]}}",
        b'{"error": "x", "config": {"a": [' + b"{}," * 500_000 + b"0]}}",
        b'{"error": "x", "config": {"a": [' + b'"",' * 500_000 + b"0]}}",
        b'{"error": "x"}' + b" " * 1_000_000,
    ],
    ids=["lists", "objects", "strings", "spaces"],
)
def test_a_large_body_must_be_text(client: FlaskClient, content: bytes) -> None:
    """A million empty lists would take a second and 60 MB."""
    started_s = time.process_time()

    response = client.post(ANALYZE, data=content, content_type="application/json")

    assert field_errors(response) == {"body": "must be at most 64 KiB without what its texts say"}
    assert time.process_time() - started_s < 1


@pytest.mark.parametrize(
    "text",
    [
        "$(touch pwned) `id` \"x\" 'y'; DROP TABLE studio_jobs; -- ",
        "\ud800 \udfff \0 \x1b[31m \u202e \ufeff",
        "🎵" * 50_000,
        "(" * 100_000,
        '\\"' * 100_000,
        "a" * 200_000 + "!",
        "error: " * 30_000,
        "\n" * 200_000 + "x",
        "{{config}} {0} %s ${HOME} <script>alert(1)</script>",
    ],
)
def test_any_text_is_data(client: FlaskClient, text: str) -> None:
    told = diagnosis(client, error=text, job_id="<b>$(id)</b>", config={text[:60]: text[:1_000]})

    assert told["job_id"] == "<b>$(id)</b>"
    assert told["confidence"] in ("high", "medium", "low")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    error=st.text(min_size=1, max_size=200),
    config=st.dictionaries(
        st.sampled_from(["learning_rate", "duration", "fp16", "gradient_accumulation_steps", "batch_size", "\ud800"]),
        st.recursive(
            st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.floats(allow_nan=False) | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            max_leaves=10,
        ),
    ),
)
def test_any_configuration_is_data(described: FlaskClient, error: str, config: dict[str, Any]) -> None:
    text = f"{error}\nCUDA out of memory\nloss is nan"
    response = described.post(
        ANALYZE, data=json.dumps({"error": text, "config": config}), content_type="application/json"
    )

    assert response.status_code in (200, 400), response.text


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Any:
    service = JobService(tmp_path_factory.mktemp("failures"))
    yield service.client
    service.close()


def nested(depth: int) -> dict[str, Any]:
    return {"a": nested(depth - 1)} if depth > 1 else {}


@pytest.mark.parametrize(
    ("sent", "field", "message"),
    [
        ({"error": None}, "error", "is required"),
        ({"error": ""}, "error", "must not be empty"),
        ({"error": " \n"}, "error", "must not be empty"),
        ({"error": 5}, "error", "must be a string"),
        ({"error": ["x"]}, "error", "must be a string"),
        ({"job_id": 5}, "job_id", "must be a string"),
        ({"job_id": "x" * 129}, "job_id", "must be at most 128 characters"),
        ({"job_id": "a\0"}, "job_id", "must not hold control characters or broken Unicode"),
        ({"config": "{}"}, "config", "must be a JSON object"),
        ({"config": [1]}, "config", "must be a JSON object"),
        ({"config": nested(MAX_CONFIG_DEPTH + 1)}, "config", "must be nested at most 20 deep"),
        ({"config": {"a": "x" * MAX_CONFIG_BYTES}}, "config", "must be at most 65536 bytes of ASCII JSON"),
        ({"status": 99}, "status", "must be at least 100"),
        ({"status": 600}, "status", "must be at most 599"),
        ({"status": "500"}, "status", "must be a whole number"),
        ({"headers": {"Retry-After": 5}}, "headers", "must hold strings alone"),
        ({"headers": ["a"]}, "headers", "must be a JSON object"),
        ({"headers": {str(n): "" for n in range(MAX_HEADERS + 1)}}, "headers", "must have at most 100 entries"),
        ({"elapsed": -1}, "elapsed", "must be at least 0"),
        ({"elapsed": "1"}, "elapsed", "must be a number"),
        ({"text": "x"}, "text", "is not a field of this request"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(
    client: FlaskClient, sent: dict[str, Any], field: str, message: str
) -> None:
    assert field_errors(client.post(ANALYZE, json={"error": "x", **sent})) == {field: message}


def test_a_number_beyond_floating_point_is_named(client: FlaskClient) -> None:
    content = b'{"error": "x", "config": {"a": [1e999]}}'

    response = client.post(ANALYZE, data=content, content_type="application/json")

    assert field_errors(response) == {"config": "must hold no number beyond floating point"}


def test_an_analyser_that_fails_is_told_with_details_and_id(service: JobService) -> None:
    def broken(_: Evidence) -> Diagnosis:
        raise KeyError("/etc/passwd")

    app = OpenAPI(__name__)
    guard.protect(app, deadline_s=10)
    problems.register(app, scrub=Scrubber())
    callers.identify(app, (), is_exposed=False)
    app.register_api(failures.blueprint(lambda: service.jobs, lambda: service.training, analyse=broken))
    client = app.test_client()
    job_id = service.submit()
    service.start(job_id)
    service.fail(job_id, UpstreamError())
    client.put(RUN, json={"status": "failed", "error": "x"})

    for response in (
        client.post(ANALYZE, json={"error": "x"}, headers={"X-Request-ID": "my-id"}),
        client.get(f"/api/jobs/{job_id}/analyze-failure", headers={"X-Request-ID": "my-id"}),
        client.get(f"{RUN}/analyze-failure", headers={"X-Request-ID": "my-id"}),
    ):
        told = problem(response, 500, "analysis-failed")
        assert told["error"] == "The failure could not be analysed."
        assert told["details"] == told["detail"] == "The analyser stopped with KeyError."
        assert told["request_id"] == "my-id"


# ---------------------------------------------------------------------- a job


def failed(service: JobService, error: StudioError, **request: object) -> str:
    job_id = service.submit(key=None, **{"duration": 30, **request})
    service.start(job_id)
    service.fail(job_id, error)
    return job_id


def job_diagnosis(service: JobService, error: StudioError, **request: object) -> dict[str, Any]:
    job_id = failed(service, error, **request)
    analysis = service.status(job_id)["links"]["analysis"]
    assert analysis == f"/api/jobs/{job_id}/analyze-failure"
    response = service.client.get(analysis)
    assert response.status_code == 200, response.text
    told: dict[str, Any] = response.get_json()
    assert told["job_id"] == job_id
    return told


def test_a_failed_job_is_analysed(service: JobService) -> None:
    told = job_diagnosis(service, UpstreamTimeout("2 attempts of 60 s each got no answer.", retry_after_s=40))

    assert (told["error_type"], told["confidence"], told["retryable"]) == ("read_timeout", "high", True)
    assert (told["fault"], told["code"], told["attempts"]) == ("upstream", "upstream-timeout", 1)
    assert 0 <= told["elapsed"] < 5
    assert told["suggestions"][:2] == ["Ask for a shorter duration (now 30)", "Wait 40 s (Retry-After), then retry"]


@pytest.mark.parametrize(
    ("error", "kind", "fault"),
    [
        (UpstreamTimeout(), "read_timeout", "upstream"),
        (UpstreamTimeout("The engine's gateway gave up waiting."), "gateway_timeout", "upstream"),
        (UpstreamUnavailable("The engine is asleep, starting, paused or full."), "space_unavailable", "upstream"),
        (UpstreamUnavailable("The engine's host name is not known."), "dns_failure", "upstream"),
        (UpstreamUnavailable("The model is loading."), "model_loading", "upstream"),
        (UpstreamUnavailable(), "space_unavailable", "upstream"),
        (UpstreamError("CUDA out of memory. Tried to allocate 2.00 GiB"), "oom_generation", "upstream"),
        (UpstreamError("The engine could not do this."), "upstream_error", "upstream"),
        (UpstreamError(), "upstream_error", "upstream"),
        (UpstreamBadResponse("There is no audio in the answer."), "missing_data", "upstream"),
        (UpstreamBadResponse("The audio is truncated: 5 of 10 bytes."), "corrupt_audio", "upstream"),
        (UpstreamBadResponse("The audio in the answer is not valid base64."), "invalid_base64", "upstream"),
        (UpstreamBadResponse("The answer is not JSON."), "invalid_json", "upstream"),
        (UpstreamRejected("Our credentials are not sufficient for the engine."), "auth_failed", "service"),
        (UpstreamRejected("The engine's address is no longer in use."), "not_found", "service"),
        (UpstreamRejected(), "invalid_config", "service"),
        (EngineNotConfigured(), "invalid_config", "service"),
        (PromptRefused(), "content_policy", "request"),
        (UpstreamBadResponse(NO_MP3), "unsupported_format", "request"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_the_cause_and_whose_fault_it_is_are_told(
    service: JobService, error: EngineError, kind: str, fault: str
) -> None:
    told = job_diagnosis(service, error)

    assert (told["error_type"], told["fault"]) == (kind, fault)
    assert told["confidence"] != "low"


def test_a_mistake_of_ours_is_not_blamed_on_others(service: JobService) -> None:
    told = job_diagnosis(service, InternalError())

    assert (told["error_type"], told["fault"], told["code"]) == ("unknown", "service", "internal-error")


def operator(service: JobService, told: dict[str, Any]) -> str:
    return f"Tell the operator of this service the request_id {service.status(told['job_id'])['error']['request_id']}"


@pytest.mark.parametrize(
    ("error", "hinted"),
    [
        (InternalError(), False),
        (JobStoreUnavailable("The job database is locked."), True),
        (ResultLost(), True),
        (EngineNotConfigured(), True),
        (UpstreamRejected("The upstream redirects to another host."), True),
    ],
)
def test_what_only_the_operator_can_mend_is_told_to_the_operator(
    service: JobService, error: StudioError, *, hinted: bool
) -> None:
    told = job_diagnosis(service, error)

    assert told["fault"] == "service"
    assert told["suggestions"] == [*([error.hint.rstrip(".")] if hinted else []), operator(service, told)]


def test_what_the_error_itself_advises_comes_first(service: JobService) -> None:
    told = job_diagnosis(service, UpstreamError("CUDA out of memory. Tried to allocate 2.00 GiB"))

    assert told["suggestions"][:2] == ["Try again in a moment", "Ask for a shorter duration (now 30)"]


def test_advice_for_those_who_wait_for_an_answer_is_not_for_jobs(service: JobService) -> None:
    for error in (UpstreamTimeout(), UpstreamUnavailable("The model is loading.")):
        assert error.hint.rstrip(".") not in job_diagnosis(service, error)["suggestions"]


def test_the_embedded_engine_has_no_upstream_to_blame(make_service: MakeService) -> None:
    engine = FakeEngine()
    engine.name = "composer"
    service = make_service(engine)

    told = job_diagnosis(service, UpstreamTimeout("The piece was not finished in time."))

    assert (told["fault"], told["retryable"]) == ("service", True)
    assert told["suggestions"] == [operator(service, told), "Ask for a shorter duration (now 30)"]


def test_a_format_that_cannot_hold_the_piece_is_the_requests(service: JobService) -> None:
    told = job_diagnosis(service, UpstreamBadResponse(NO_MP3), format="mp3")

    assert told["suggestions"] == ["Ask for another format than mp3"]


@pytest.mark.parametrize(
    ("error", "retryable", "unwanted"),
    [
        (UpstreamUnavailable("The credits for the engine are used up."), True, "do not retry"),
        (UpstreamRejected("The engine's gateway gave up waiting."), False, "retry"),
    ],
)
def test_advice_and_retryable_agree(service: JobService, error: EngineError, *, retryable: bool, unwanted: str) -> None:
    told = job_diagnosis(service, error)

    assert told["retryable"] is retryable
    assert told["suggestions"]
    assert unwanted not in "\n".join(told["suggestions"]).lower()


def test_the_time_that_the_job_took_is_used(service: JobService) -> None:
    job_id = failed(service, UpstreamTimeout("The engine's gateway gave up waiting."))
    with service.database.writing() as connection:
        connection.exec_driver_sql("UPDATE studio_jobs SET started_at_s = finished_at_s - 61")

    told = service.client.get(f"/api/jobs/{job_id}/analyze-failure").get_json()

    assert told["elapsed"] == 61
    assert "it failed after 61 s" in "\n".join(told["suggestions"])


def test_a_wait_that_is_over_is_not_advised(service: JobService) -> None:
    job_id = failed(service, UpstreamUnavailable("The model is loading.", retry_after_s=5))
    with service.database.writing() as connection:
        connection.exec_driver_sql("UPDATE studio_jobs SET finished_at_s = finished_at_s - 60")

    told = service.client.get(f"/api/jobs/{job_id}/analyze-failure").get_json()

    assert not [each for each in told["suggestions"] if "Retry-After" in each]


def test_only_failures_are_analysed(service: JobService) -> None:
    queued, done, cancelled = service.submit(), service.finished(), service.submit()
    service.client.delete(f"/api/jobs/{cancelled}")

    for job_id, status in ((queued, "queued"), (done, "succeeded"), (cancelled, "cancelled")):
        told = problem(service.client.get(f"/api/jobs/{job_id}/analyze-failure"), 409, "job-not-failed")
        assert told["detail"] == f"The job is {status}."
        assert service.status(job_id)["links"]["analysis"] is None


def test_a_job_that_is_not_there_is_not_analysed(service: JobService) -> None:
    gone = failed(service, UpstreamError())
    service.client.delete(f"/api/jobs/{gone}")

    problem(service.client.get(f"/api/jobs/{NO_JOB}/analyze-failure"), 404, "not-found")
    problem(service.client.get("/api/jobs/x/analyze-failure"), 404, "not-found")
    problem(service.client.get(f"/api/jobs/{gone}/analyze-failure"), 410, "gone")


# ---------------------------------------------------------------------- training runs elsewhere


def test_a_training_run_is_told_and_analysed(service: JobService) -> None:
    response = service.client.put(RUN, json={"status": "failed", **OOM})

    told = response.get_json()
    assert response.status_code == 201
    assert told == {
        "id": "run-1",
        "status": "failed",
        "updated_at": told["updated_at"],
        "expires_at": told["expires_at"],
        "links": {"analysis": f"{RUN}/analyze-failure"},
    }
    analysis = service.client.get(told["links"]["analysis"]).get_json()
    assert (analysis["job_id"], analysis["error_type"], analysis["confidence"]) == ("run-1", "oom_training", "high")
    assert "now 8" in analysis["suggestions"][0]


def test_it_is_told_again_as_it_goes_on(service: JobService) -> None:
    assert service.client.put(RUN, json={"status": "running"}).status_code == 201
    problem(service.client.get(f"{RUN}/analyze-failure"), 409, "job-not-failed")

    again = service.client.put(RUN, json={"status": "failed", "error_message": "No space left on device"})

    assert again.status_code == 200
    assert service.client.get(f"{RUN}/analyze-failure").get_json()["error_type"] == "disk_full"


def test_it_is_kept_for_its_time_and_across_restarts(make_service: MakeService) -> None:
    make_service().client.put(RUN, json={"status": "failed", **OOM})

    after = make_service()
    assert after.client.get(f"{RUN}/analyze-failure").status_code == 200
    after.clock.ahead_s = 100_000
    problem(after.client.get(f"{RUN}/analyze-failure"), 404, "not-found")


def test_the_service_itself_keeps_them(make_client: MakeClient) -> None:
    """With the parts that the settings name, and none of a test."""
    client = make_client(FakeEngine())

    assert client.put(RUN, json={"status": "failed", **OOM}).status_code == 201
    assert client.get(f"{RUN}/analyze-failure").get_json()["error_type"] == "oom_training"


def test_callers_do_not_see_each_others_runs(make_service: MakeService) -> None:
    client = make_service(**KEYS).client
    problem(client.put(RUN, json={"status": "failed", **OOM}), 401, "unauthorized")
    problem(client.post(ANALYZE, json=OOM), 401, "unauthorized")
    assert client.put(RUN, json={"status": "failed", **OOM}, headers=NINA).status_code == 201

    problem(client.get(f"{RUN}/analyze-failure", headers=BOB), 404, "not-found")
    assert client.get(f"{RUN}/analyze-failure", headers=NINA).status_code == 200


@pytest.mark.parametrize("error", ["\0 \ud800 $(id) 🎵", "x" * (MAX_TEXT_BODY_BYTES - 200), "\x1b" * MAX_TEXT_CHARS])
def test_any_text_can_be_kept(service: JobService, error: str) -> None:
    sent = {"status": "failed", "error": f"No space left on device\n{error}", "config": {"a\ud800": "\0\ud800"}}

    assert service.client.put(RUN, json=sent).status_code == 201
    assert service.client.get(f"{RUN}/analyze-failure").get_json()["error_type"] == "disk_full"


@pytest.mark.parametrize(
    ("sent", "field", "message"),
    [
        ({}, "status", "is required"),
        ({"status": "done"}, "status", "must be one of 'queued', 'running', 'succeeded', 'failed' or 'cancelled'"),
        ({"status": "failed"}, "error", "is required of a run that has failed"),
        ({"status": "failed", "error": ""}, "error", "must not be empty"),
        ({"status": "failed", "error": 5}, "error", "must be a string"),
        ({"status": "running", "config": 5}, "config", "must be a JSON object"),
        ({"status": "running", "loss": 5}, "loss", "is not a field of this request"),
    ],
)
def test_a_field_of_a_run_that_cannot_be_used_is_named(
    service: JobService, sent: dict[str, Any], field: str, message: str
) -> None:
    assert field_errors(service.client.put(RUN, json=sent)) == {field: message}


@pytest.mark.parametrize("id", ["-x", ".", "a b", "a" * 129, "é", "a%00", "$(id)", "a%0A"])
def test_an_id_that_cannot_be_used_is_named(service: JobService, id: str) -> None:
    for response in (
        service.client.put(f"/api/training/local/{id}", json={"status": "running"}),
        service.client.get(f"/api/training/local/{id}/analyze-failure"),
    ):
        assert list(field_errors(response)) == ["id"]


def test_a_run_that_nobody_told_of_is_not_there(service: JobService) -> None:
    problem(service.client.get(f"{RUN}/analyze-failure"), 404, "not-found")


# ---------------------------------------------------------------------- limits


def test_asking_is_limited_as_all_of_the_api_is(make_client: MakeClient) -> None:
    client = make_client(FakeEngine(), STUDIO_RATE_LIMIT="1/minute", STUDIO_READ_LIMIT="1/minute")

    assert client.post(ANALYZE, json=OOM).headers["RateLimit-Remaining"] == "0"
    problem(client.post(ANALYZE, json=OOM), 429, "rate-limited")
    assert client.put(RUN, json={"status": "running"}).headers["RateLimit-Remaining"] == "0"
    problem(client.get(f"{RUN}/analyze-failure"), 429, "rate-limited")
