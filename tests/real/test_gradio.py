"""The service in front of real Gradio servers, 3.50 to 6.31: every way to answer, every way to fail.

What each function of the application does is written in `gradio_app.py`. Every test runs
once for each version; the servers are started when the first test of a version needs them.
"""

from __future__ import annotations

import base64
import hashlib
import io
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Final

import pytest
import soundfile
from flask.testing import FlaskClient
from real.gradio_servers import Gradio, PlaceName, get_json, post_json, wait_until
from werkzeug.test import TestResponse

from app import create_app
from app.engines import huggingface
from app.engines.engine import Brief, Engine, Progress
from app.errors import Cancelled
from app.retry import Deadline
from app.settings import Settings

pytestmark = [pytest.mark.real, pytest.mark.gradio]

PROMPT: Final = "lofi beat"


def settings_for(url: str, function: str | None = None, **more: object) -> Settings:
    """Return settings that call one function, once, with a limit no test should reach."""
    return Settings.model_validate(
        {
            "engine": "huggingface",
            "hf_api_url": url,
            "hf_api_name": function,
            "hf_attempts": 1,
            "hf_backoff_s": 0,
            "hf_timeout_s": 20,
            "log_level": "ERROR",
            **more,
        }
    )


def client_for(url: str, function: str | None = None, **more: object) -> FlaskClient:
    return create_app(settings_for(url, function, **more)).test_client()


def generate(client: FlaskClient, prompt: str = PROMPT, /, **fields: object) -> TestResponse:
    return client.post("/studio-generate", json={"prompt": prompt, "duration": 5, **fields})


@dataclass(frozen=True, slots=True)
class Clip:
    """What must come back: length in seconds, give or take `tolerance_s`, and channels."""

    seconds: float
    channels: int = 1
    tolerance_s: float = 0.002


def assert_plays(response: TestResponse, expected: Clip) -> None:
    """Check that the answer is a WAV of the right length, and that its headers tell the truth."""
    assert response.status_code == 200, response.get_data(as_text=True)[:1_000]
    with soundfile.SoundFile(io.BytesIO(response.data)) as file:
        assert file.format in ("WAV", "WAVEX")
        assert file.channels == expected.channels
        samples = file.read()
        seconds = len(samples) / file.samplerate
    assert seconds == pytest.approx(expected.seconds, abs=expected.tolerance_s)
    assert abs(samples).max() > 0.01
    headers = response.headers
    assert headers["Content-Type"] == "audio/wav"
    assert headers["Content-Length"] == str(len(response.data))
    assert headers["Cache-Control"] == "no-store"
    assert headers["Studio-Engine"] == "huggingface"
    assert headers["Studio-Duration"] == f"{seconds:.2f}"
    digest = base64.b64encode(hashlib.sha256(response.data).digest()).decode()
    assert headers["Repr-Digest"] == f"sha-256=:{digest}:"


@dataclass(frozen=True, slots=True)
class Failure:
    """What must come back instead of audio.

    Attributes:
        code: The row of the error catalogue.
        status: Its HTTP status.
        retryable: Whether the caller is told to try again.
        detail: The exact detail, where the upstream's words are meant for people.
        retry_after_s: The wait that the upstream named.
    """

    code: str
    status: int
    retryable: bool
    detail: str | None = None
    retry_after_s: int | None = None


BAD_RESPONSE: Final = Failure("upstream-bad-response", 502, retryable=True)
BROKEN: Final = Failure("upstream-error", 502, retryable=True)
REJECTED: Final = Failure("upstream-rejected", 502, retryable=False)
UNAVAILABLE: Final = Failure("upstream-unavailable", 503, retryable=True)
TOO_SLOW: Final = Failure("upstream-timeout", 504, retryable=True)
REFUSED: Final = Failure("prompt-refused", 400, retryable=False, detail="The prompt is not acceptable: no drums")


def assert_fails(response: TestResponse, expected: Failure) -> Mapping[str, object]:
    """Check that the answer is that problem, complete and without anything private; return it."""
    text = response.get_data(as_text=True)
    assert response.status_code == expected.status, text[:1_000]
    assert response.headers["Content-Type"] == "application/problem+json"
    problem: Mapping[str, object] = response.get_json()
    assert problem["code"] == expected.code, problem
    assert problem["status"] == expected.status
    assert problem["retryable"] is expected.retryable
    assert problem["error"] == problem["title"]
    assert problem["request_id"] == response.headers["X-Request-ID"]
    if expected.detail is not None:
        assert problem["detail"] == expected.detail
    assert problem.get("retry_after") == expected.retry_after_s
    wait = None if expected.retry_after_s is None else str(expected.retry_after_s)
    assert response.headers.get("Retry-After") == wait
    for private in ("Traceback", "/srv/model", "hf_abc", "<b>", "/gradio/"):
        assert private not in text
    return problem


needs_ffmpeg: Final = pytest.mark.skipif(not shutil.which("ffmpeg"), reason="needs ffmpeg")
NEED_FFMPEG: Final = ("mp3_audio", "flac_audio", "predict_full", "video_out")


def functions(names: Iterable[str]) -> list[object]:
    """Return parameters for a test, of which those that need ffmpeg are skipped without it."""
    return [pytest.param(name, marks=needs_ffmpeg) if name in NEED_FFMPEG else name for name in names]


# ---------------------------------------------------------------------- ways to answer

GOOD: Final[Mapping[str, Clip]] = {
    "predict": Clip(5.0),
    "numpy_float": Clip(1.0),
    "numpy_stereo": Clip(1.25, channels=2),
    "path_audio": Clip(1.5),
    "odd_path_audio": Clip(1.5),
    "mp3_audio": Clip(2.0, tolerance_s=0.12),
    "flac_audio": Clip(2.0),
    "file_out": Clip(1.5),
    "files_out": Clip(1.25),
    "update_audio": Clip(1.5),
    "b64_text": Clip(1.5),
    "dataurl_text": Clip(1.5),
    "big_b64": Clip(30.0, channels=2),
    "json_b64": Clip(1.5),
    "json_list": Clip(1.5),
    "html_audio": Clip(1.5),
    "multi_out": Clip(1.75),
    "multi_audio": Clip(1.25),
    "gen_audio": Clip(2.0),
    "gen_status_audio": Clip(1.5),
    "gen_text": Clip(1.75),
    "stream_audio": Clip(1.5, tolerance_s=0.3),
    "warn_info": Clip(1.0),
    "with_state": Clip(1.5),
    "predict_batched": Clip(1.5),
    "unqueued": Clip(1.5),
    "musicgen8": Clip(5.0),
    "predict_full": Clip(5.0),
    "with_parameters": Clip(5.0),
    "with_words": Clip(5.0),
    "progress_fn": Clip(1.5),
    "progress_tqdm": Clip(1.5),
}


@pytest.mark.parametrize("function", functions(GOOD))
def test_every_way_to_answer_ends_in_a_wav_that_plays(gradio: Gradio, function: str) -> None:
    if function == "progress_tqdm" and gradio.major == 3:  # which never answers such a function over HTTP
        assert_fails(generate(client_for(gradio.url("plain"), function, hf_timeout_s=1)), TOO_SLOW)
        return
    assert_plays(generate(client_for(gradio.url("plain"), function)), GOOD[function])


@pytest.mark.parametrize(
    "function", ["predict", "gen_status_audio", "big_b64", "predict_batched", "unqueued", "with_state", "progress_fn"]
)
def test_a_space_answers_although_its_synchronous_routes_are_closed(gradio: Gradio, function: str) -> None:
    assert_plays(generate(client_for(gradio.url("space"), function)), GOOD[function])


@needs_ffmpeg
def test_the_caller_gets_the_format_that_was_asked_for(gradio: Gradio) -> None:
    response = generate(client_for(gradio.url("plain"), "mp3_audio"), format="flac")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "audio/flac"
    assert response.data.startswith(b"fLaC")


# ---------------------------------------------------------------------- ways to fail

BAD: Final[Mapping[str, Failure]] = {
    "none_audio": BAD_RESPONSE,
    "silent_audio": BAD_RESPONSE,
    "tiny_audio": BAD_RESPONSE,
    "not_audio_file": BAD_RESPONSE,
    "chat": BAD_RESPONSE,
    "video_out": BAD_RESPONSE,
    "url_text": BAD_RESPONSE,
    "url_json": BAD_RESPONSE,
    "err_gr": REFUSED,
    "gen_fail": REFUSED,
    "err_quota": Failure("upstream-unavailable", 503, retryable=True, retry_after_s=5_025),
    "err_value": BROKEN,
    "gen_raise": BROKEN,
    "no_such_function": REJECTED,
    "9999": REJECTED,
}


@pytest.mark.parametrize("function", functions(BAD))
def test_every_way_to_fail_gets_the_error_that_tells_it(gradio: Gradio, function: str) -> None:
    assert_fails(generate(client_for(gradio.url("plain"), function)), BAD[function])


@pytest.mark.parametrize("function", ["err_gr", "err_quota", "err_value", "none_audio", "no_such_function"])
def test_a_space_fails_like_any_other_server(gradio: Gradio, function: str) -> None:
    assert_fails(generate(client_for(gradio.url("space"), function)), BAD[function])


def test_audio_on_another_host_is_not_passed_on(gradio: Gradio) -> None:
    """Gradio 3 hands the address to us; later versions fetch it themselves, and fail here."""
    expected = BAD_RESPONSE if gradio.major == 3 else BROKEN
    assert_fails(generate(client_for(gradio.url("plain"), "url_audio")), expected)


@pytest.fixture
def foreign_host() -> Iterator[tuple[str, list[str]]]:
    """Return the URL of a server that the upstream does not own, and the requests it gets."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            requests.append(self.path)
            self.send_response(404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/music.wav", requests
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("function", ["url_text", "url_json"])
def test_nothing_is_fetched_from_a_host_that_the_upstream_names(
    gradio: Gradio, foreign_host: tuple[str, list[str]], function: str
) -> None:
    """Whoever controls the upstream's text must not be able to send us to other machines."""
    url, requests = foreign_host
    assert_fails(generate(client_for(gradio.url("plain"), function), f"music as in {url}"), BAD_RESPONSE)
    assert requests == []


def test_an_exceptions_paths_and_keys_stay_private_even_where_the_server_shows_them(gradio: Gradio) -> None:
    problem = assert_fails(generate(client_for(gradio.url("verbose"), "err_value")), BROKEN)
    assert str(problem["detail"]).startswith("boom")


def test_a_refusal_is_told_as_one_where_the_server_shows_all_errors(gradio: Gradio) -> None:
    assert_fails(generate(client_for(gradio.url("verbose"), "err_gr")), REFUSED)


def test_a_server_behind_a_login_rejects_us(gradio: Gradio) -> None:
    assert_fails(generate(client_for(gradio.url("auth"), "make_music")), REJECTED)


def test_a_validator_refuses_the_prompt(gradio: Gradio) -> None:
    if gradio.major < 6:
        pytest.skip("validators came with Gradio 6")
    client = client_for(gradio.url("plain"), "validated")
    assert_plays(generate(client, "short"), Clip(1.5))
    problem = assert_fails(generate(client, "much too long " * 5), Failure("prompt-refused", 400, retryable=False))
    assert problem["detail"] == "prompt too long"


@pytest.mark.parametrize(("function", "attempts"), [("err_value", 2), ("err_gr", 1), ("err_quota", 1)])
def test_only_what_may_pass_by_itself_is_tried_again(gradio: Gradio, function: str, attempts: int) -> None:
    client = client_for(gradio.url("plain"), function, hf_attempts=2)
    before = len(gradio.calls("plain", function))
    assert_fails(generate(client), BAD[function])
    assert len(gradio.calls("plain", function)) - before == attempts


# ---------------------------------------------------------------------- which function

URL_FORMS: Final = (
    "{base}/run/{name}",
    "{base}/api/{name}/",
    "{base}/call/{name}",
    "{base}{prefix}/run/{name}",
    "{base}{prefix}/call/{name}",
)


@pytest.mark.parametrize("place", ["plain", "mounted", "space"])
def test_the_url_may_name_the_function_in_any_of_gradios_ways(gradio: Gradio, place: PlaceName) -> None:
    base = gradio.url(place)
    for form in dict.fromkeys(form.format(base=base, prefix=gradio.prefix, name="path_audio") for form in URL_FORMS):
        assert_plays(generate(client_for(form)), GOOD["path_audio"])


@pytest.mark.parametrize("place", ["plain", "mounted"])
def test_the_name_may_stand_beside_the_url(gradio: Gradio, place: PlaceName) -> None:
    base = gradio.url(place)
    assert_plays(generate(client_for(base, "path_audio")), GOOD["path_audio"])
    assert_plays(generate(client_for(f"{base}/", "/path_audio")), GOOD["path_audio"])


def test_the_api_prefix_alone_is_the_app_too(gradio: Gradio) -> None:
    assert_plays(generate(client_for(gradio.url("plain") + gradio.prefix, "path_audio")), GOOD["path_audio"])


def test_a_name_beside_the_url_wins_over_the_one_in_it(gradio: Gradio) -> None:
    url = f"{gradio.url('plain')}/run/none_audio"
    assert_plays(generate(client_for(url, "path_audio")), GOOD["path_audio"])


@pytest.mark.parametrize("place", ["small", "interface"])
def test_without_a_name_the_function_that_makes_audio_is_found(gradio: Gradio, place: PlaceName) -> None:
    client = client_for(gradio.url(place))
    before = len(gradio.calls(place, "make_music"))
    assert_plays(generate(client, duration=7), Clip(7.0))
    received = gradio.calls(place, "make_music")[before:]
    assert [call.inputs for call in received] == [{"prompt": PROMPT, "duration": 7}]


@pytest.mark.parametrize("place", ["small", "interface"])
def test_predict_means_the_function_that_makes_audio_where_none_has_that_name(gradio: Gradio, place: PlaceName) -> None:
    """It is the name in every example; Gradio 6 gives an Interface its function's name instead."""
    assert_plays(generate(client_for(f"{gradio.url(place)}/run/predict")), Clip(5.0))


def test_a_function_kept_from_the_api_is_rejected_by_name_and_called_by_number(gradio: Gradio) -> None:
    base = gradio.url("plain")
    number = number_of(base, "unqueued") + 2  # it is attached two functions later
    assert_plays(generate(client_for(base, str(number))), Clip(1.5))
    if gradio.major < 6:  # which keeps the name of such a function
        assert_fails(generate(client_for(base, "hidden")), REJECTED)


def number_of(base: str, function: str) -> int:
    config = get_json(f"{base}/config")
    assert isinstance(config, dict)
    names = [each["api_name"] for each in config["dependencies"]]
    return names.index(function)


def test_functions_without_names_are_found(gradio: Gradio) -> None:
    assert_plays(generate(client_for(gradio.url("unnamed"))), Clip(1.75))


def test_a_function_is_called_by_its_number(gradio: Gradio) -> None:
    assert_plays(generate(client_for(gradio.url("unnamed"), "1")), Clip(1.75))
    assert_plays(generate(client_for(gradio.url("small"), "2")), Clip(5.0))


# ---------------------------------------------------------------------- what the function receives

FULL_REQUEST: Final[Mapping[str, object]] = {
    "duration": 5,
    "tempo": 90,
    "mood": "calm",
    "instruments": ["piano", "Strings"],
    "seed": 42,
}
IN_WORDS: Final = f"{PROMPT}, calm mood, 90 BPM, with piano and Strings"

MAPPED: Final[Mapping[str, Mapping[str, object]]] = {
    "with_parameters": {
        "prompt": PROMPT,
        "duration": 5,
        "tempo": 90,
        "mood": "Calm",
        "instruments": ["Piano", "Strings"],
        "seed": 42,
        "randomize": False,
    },
    "with_words": {
        "negative_prompt": "noise",
        "description": PROMPT,
        "genre": "calm",
        "instruments": "piano, Strings",
        "bpm": 90,
        "seconds": 5,
    },
    "musicgen8": {
        "model": "facebook/musicgen-melody",
        "text": IN_WORDS,
        "melody": None,
        "duration": 5,
        "topk": 250,
        "topp": 0,
        "temperature": 1,
        "cfg_coef": 3,
    },
    "predict_full": {
        "model": "facebook/musicgen-melody",
        "model_path": "",
        "decoder": "Default",
        "text": IN_WORDS,
        "melody": None,
        "duration": 5,
        "topk": 250,
        "topp": 0,
        "temperature": 1,
        "cfg_coef": 3,
    },
}


def received_by(
    gradio: Gradio, function: str, request: Mapping[str, object], **settings: object
) -> Mapping[str, object]:
    """Return what the function received for a request that was answered with audio."""
    client = client_for(gradio.url("plain"), function, **settings)
    before = len(gradio.calls("plain", function))
    response = generate(client, **request)
    assert response.status_code == 200, response.get_data(as_text=True)
    (call,) = gradio.calls("plain", function)[before:]
    return call.inputs


@pytest.mark.parametrize("function", functions(MAPPED))
def test_every_field_reaches_its_parameter_or_the_prompt(gradio: Gradio, function: str) -> None:
    assert received_by(gradio, function, FULL_REQUEST) == MAPPED[function]


def test_a_prompt_arrives_as_it_was_written(gradio: Gradio) -> None:
    prompt = """"música" ñ 🎹 {duration} {seed} \\n %s </script> 'x'"""
    client = client_for(gradio.url("plain"), "predict")
    before = len(gradio.calls("plain", "predict"))
    assert_plays(generate(client, prompt), Clip(5.0))
    (call,) = gradio.calls("plain", "predict")[before:]
    assert call.inputs["prompt"] == prompt


def test_what_was_not_asked_for_keeps_the_functions_defaults(gradio: Gradio) -> None:
    received = dict(received_by(gradio, "with_parameters", {"seed": 7}))
    assert received == {
        "prompt": PROMPT,
        "duration": 5,
        "tempo": 120,
        "mood": "Happy",
        "instruments": [],
        "seed": 7,
        "randomize": False,
    }


def test_a_mood_that_is_no_choice_goes_into_the_prompt(gradio: Gradio) -> None:
    received = received_by(gradio, "with_parameters", {"mood": "melancholic"})
    assert (received["mood"], received["prompt"]) == ("Happy", f"{PROMPT}, melancholic mood")


def test_a_duration_beyond_the_sliders_end_is_cut_to_it(gradio: Gradio) -> None:
    response = generate(client_for(gradio.url("plain"), "predict"), duration=30)
    assert_plays(response, Clip(20.0))


def test_the_operator_can_give_all_inputs_as_a_list(gradio: Gradio) -> None:
    received = received_by(gradio, "predict", {}, hf_inputs=["{prompt} in C", "{duration}"])
    assert received == {"prompt": f"{PROMPT} in C", "duration": 5}


def test_the_operator_can_set_single_inputs_by_label(gradio: Gradio) -> None:
    received = received_by(gradio, "with_parameters", {"tempo": 90}, hf_inputs={"Tempo (BPM)": 77, "mood": "Sad"})
    assert (received["tempo"], received["mood"]) == (77, "Sad")


def test_an_input_that_the_function_does_not_have_is_the_operators_mistake(gradio: Gradio) -> None:
    client = client_for(gradio.url("plain"), "predict", hf_inputs={"Colour": "blue"})
    assert_fails(generate(client), REJECTED)


def test_the_token_travels_with_the_request(gradio: Gradio) -> None:
    token = "hf_" + "t" * 20
    received = received_by(gradio, "echo_headers", {}, hf_token=token)
    headers = received["headers"]
    assert isinstance(headers, dict)
    assert headers["authorization"] == f"Bearer {token}"


# ---------------------------------------------------------------------- time


def timed(action: Callable[[], TestResponse]) -> tuple[TestResponse, float]:
    started_s = time.monotonic()
    response = action()
    return response, time.monotonic() - started_s


def is_running(gradio: Gradio, place: PlaceName, function: str, prompt: str) -> Callable[[], bool]:
    return lambda: any(call.inputs["prompt"] == prompt for call in gradio.calls(place, function))


@pytest.mark.parametrize("function", ["slow", "slow_unqueued", "slow_generator"])
def test_a_slow_function_is_given_up_in_time_and_its_place_is_free_again(gradio: Gradio, function: str) -> None:
    client = client_for(gradio.url("plain"), function, hf_timeout_s=2)
    response, elapsed_s = timed(lambda: generate(client, "sleep 15"))
    assert_fails(response, TOO_SLOW)
    assert 1.5 < elapsed_s < 3.0
    response, elapsed_s = timed(lambda: generate(client_for(gradio.url("plain"), function), "sleep 0"))
    assert_plays(response, Clip(1.5))
    assert elapsed_s < 5.0


def test_a_function_without_end_is_given_up_in_time(gradio: Gradio) -> None:
    """The function floods its machine, which is ours, for as long as it runs."""
    response, elapsed_s = timed(lambda: generate(client_for(gradio.url("plain"), "endless", hf_timeout_s=1.5)))
    assert_fails(response, TOO_SLOW)
    assert elapsed_s < 5.0


def test_two_at_once_wait_for_each_other_and_both_succeed(gradio: Gradio) -> None:
    client = client_for(gradio.url("plain"), "slow")
    with ThreadPoolExecutor(2) as pool:
        started_s = time.monotonic()
        both = [pool.submit(generate, client.application.test_client(), "sleep 0.5") for _ in range(2)]
        for each in both:
            assert_plays(each.result(), Clip(1.5))
        elapsed_s = time.monotonic() - started_s
    if gradio.major >= 4:  # Gradio 3 queues only what comes over its websocket
        assert elapsed_s >= 1.0


def test_many_at_once_get_each_what_they_asked_for(gradio: Gradio) -> None:
    client = client_for(gradio.url("plain"), "predict")
    lengths = [5 + step / 2 for step in range(12)]

    def ask(length: float) -> TestResponse:
        return generate(client.application.test_client(), f"piece of {length}", duration=length)

    with ThreadPoolExecutor(len(lengths)) as pool:
        answers = [pool.submit(ask, length) for length in lengths]
    for length, answer in zip(lengths, answers, strict=True):
        assert_plays(answer.result(), Clip(length))


def occupy(gradio: Gradio, place: PlaceName, prompt: str) -> str:
    """Give the server a job of `slow` for which nobody waits, and return its id."""
    url = f"{gradio.url(place)}{gradio.prefix}/call/slow"
    accepted: list[object] = []

    def is_accepted() -> bool:
        status, answer = post_json(url, {"data": [prompt]})
        accepted.append(answer)
        return status == 200

    wait_until(is_accepted)
    event = accepted[-1]
    assert isinstance(event, dict)
    return str(event["event_id"])


def release(gradio: Gradio, place: PlaceName, event_id: str, *, number: int) -> None:
    body = {"event_id": event_id, "session_hash": event_id, "fn_index": number}
    status, _ = post_json(f"{gradio.url(place)}{gradio.prefix}/cancel", body)
    assert status == 200


SLOW_IN_SMALL: Final = 5
"""The number of `slow` in the small application."""


def test_a_full_queue_is_told_as_unavailable(gradio: Gradio) -> None:
    if gradio.major == 3:
        pytest.skip("Gradio 3 queues only what comes over its websocket")
    client = client_for(gradio.url("full"), "make_music")
    running = occupy(gradio, "full", "sleep 20 first")
    wait_until(is_running(gradio, "full", "slow", "sleep 20 first"))
    waiting = occupy(gradio, "full", "sleep 20 second")
    try:
        assert_fails(generate(client), UNAVAILABLE)
    finally:
        release(gradio, "full", waiting, number=SLOW_IN_SMALL)
        release(gradio, "full", running, number=SLOW_IN_SMALL)
    # A cancelled job that was still waiting is counted until the queue comes to its turn.
    wait_until(lambda: generate(client).status_code == 200)


def test_a_job_that_waited_in_vain_is_never_started(gradio: Gradio) -> None:
    if gradio.major == 3:
        pytest.skip("Gradio 3 queues only what comes over its websocket")
    client = client_for(gradio.url("small"), "slow", hf_timeout_s=0.7)
    prompt = "sleep 2 so that others wait"
    occupy(gradio, "small", prompt)
    wait_until(is_running(gradio, "small", "slow", prompt))
    assert_fails(generate(client, "in vain"), TOO_SLOW)
    assert_plays(generate(client_for(gradio.url("small"), "slow"), "the next one"), Clip(1.5))
    received = [call.inputs["prompt"] for call in gradio.calls("small", "slow")]
    assert "in vain" not in received


def test_a_server_that_dies_and_comes_back(gradio: Gradio) -> None:
    """One story: killed in mid-job, then nobody there, then started again while a request waits."""
    url = gradio.url("mortal")
    response, elapsed_s = timed(lambda: generate(client_for(url, "crash")))
    assert response.status_code in (502, 503), response.get_data(as_text=True)
    assert response.get_json()["retryable"] is True
    assert elapsed_s < 3.0
    assert_fails(generate(client_for(url, "numpy_float")), UNAVAILABLE)
    response = generate(client_for(url, "numpy_float", hf_attempts=10, hf_backoff_s=1))
    assert_plays(response, Clip(1.0))
    assert int(response.headers["Studio-Attempts"]) >= 2


# ---------------------------------------------------------------------- progress


def engine_for(url: str, function: str) -> Engine:
    engine = huggingface.build(settings_for(url, function))
    assert engine is not None
    return engine


def reports_of(engine: Engine, prompt: str = PROMPT) -> list[Progress]:
    reports: list[Progress] = []
    engine.generate(Brief(prompt, 5.0, seed=1), deadline=Deadline.after(20), report=reports.append)
    return reports


def test_the_functions_own_progress_is_reported(gradio: Gradio) -> None:
    reports = reports_of(engine_for(gradio.url("plain"), "progress_fn"))
    assert reports
    if gradio.major >= 4:
        told = [(each.message, each.fraction) for each in reports]
        assert ("Loading the model", 0.25) in told
        assert ("Composing", 0.75) in told


def test_a_tqdm_bar_is_reported_as_progress(gradio: Gradio) -> None:
    if gradio.major == 3:
        pytest.skip("Gradio 3 never answers such a function over HTTP")
    reports = reports_of(engine_for(gradio.url("plain"), "progress_tqdm"))
    fractions = [each.fraction for each in reports if each.fraction is not None]
    assert len(fractions) >= 2
    assert fractions == sorted(fractions)


def test_the_position_in_the_queue_is_reported(gradio: Gradio) -> None:
    if gradio.major == 3:
        pytest.skip("Gradio 3 queues only what comes over its websocket")
    engine = engine_for(gradio.url("small"), "slow")
    reports_of(engine, "sleep 0")  # finds out what answers there, which takes time that counts below
    occupy(gradio, "small", "sleep 1 running")
    wait_until(is_running(gradio, "small", "slow", "sleep 1 running"))
    occupy(gradio, "small", "sleep 0.1 waiting")
    assert 1 in [each.queue_position for each in reports_of(engine, "sleep 0")]


# ---------------------------------------------------------------------- cancelling, and going on after a crash


class Killed(BaseException):
    """What ends the engine as SIGKILL would: without a word to the upstream."""


def kill_at(gradio: Gradio, function: str, prompt: str, *, at: str) -> str:
    """Begin a piece, die when the progress `at` is told, and return the ticket."""
    tickets: list[str] = []

    def report(progress: Progress) -> None:
        if progress.ticket:
            tickets.append(progress.ticket)
        if progress.message == at:
            raise Killed

    with pytest.raises(Killed):
        engine_for(gradio.url("small"), function).generate(
            Brief(prompt, 5.0, seed=1), deadline=Deadline.after(20), report=report
        )
    return tickets[0]


def go_on(gradio: Gradio, function: str, prompt: str, ticket: str) -> float:
    """Take the piece up again in a new engine, and return how many seconds that took."""
    engine = engine_for(gradio.url("small"), function)
    started_s = time.monotonic()
    take = engine.generate(Brief(prompt, 5.0, seed=1), deadline=Deadline.after(20), resume=ticket)
    assert take.file.duration_s == pytest.approx(1.5, abs=0.01)
    return time.monotonic() - started_s


def test_a_job_that_was_handed_in_before_a_crash_is_not_done_twice(gradio: Gradio) -> None:
    if gradio.major == 3:
        pytest.skip("Gradio 3 queues only what comes over its websocket")
    prompt = "sleep 1 before a crash"
    ticket = kill_at(gradio, "slow", prompt, at="Waiting for a free slot.")
    wait_until(is_running(gradio, "small", "slow", prompt))
    assert go_on(gradio, "slow", prompt, ticket) < 2.5
    assert [call.inputs["prompt"] for call in gradio.calls("small", "slow")].count(prompt) == 1


def test_a_job_whose_result_came_before_anybody_was_back_is_not_lost(gradio: Gradio) -> None:
    if gradio.major == 3:
        pytest.skip("Gradio 3 queues only what comes over its websocket")
    prompt = "sleep 0 and then a crash"
    ticket = kill_at(gradio, "slow", prompt, at="Waiting for a free slot.")
    wait_until(is_running(gradio, "small", "slow", prompt))
    time.sleep(1)  # the server writes the file and is done
    assert go_on(gradio, "slow", prompt, ticket) < 1.5
    assert [call.inputs["prompt"] for call in gradio.calls("small", "slow")].count(prompt) == 1


@pytest.mark.parametrize("away_s", [0.0, 1.5], ids=["back at once", "back later"])
def test_a_job_that_a_crash_lost_gives_its_place_to_the_next(gradio: Gradio, away_s: float) -> None:
    if gradio.major == 3:
        pytest.skip("Gradio 3 queues only what comes over its websocket")
    ticket = kill_at(gradio, "slow", "sleep 15 until a crash", at="Composing…")
    time.sleep(away_s)
    assert go_on(gradio, "slow", "sleep 0", ticket) < 5.0


def test_a_ticket_of_a_server_that_started_anew_is_worth_nothing(gradio: Gradio) -> None:
    if gradio.major == 3:
        pytest.skip("Gradio 3 queues only what comes over its websocket")
    ticket = kill_at(gradio, "slow", "sleep 0", at="Waiting for a free slot.")
    other = ticket.replace('session_hash":"', 'session_hash":"x').replace('event_id":"', 'event_id":"x')
    assert go_on(gradio, "slow", "sleep 0", other) < 5.0


def test_a_piece_is_cancelled_within_two_seconds_and_its_place_is_free_again(gradio: Gradio) -> None:
    engine, cancelled, prompt = engine_for(gradio.url("small"), "slow"), threading.Event(), "sleep 15 if not cancelled"
    piece = Brief(prompt, 5.0, seed=1)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(engine.generate, piece, deadline=Deadline.after(20, cancelled=cancelled))
        wait_until(is_running(gradio, "small", "slow", prompt))
        started_s = time.monotonic()
        cancelled.set()
        with pytest.raises(Cancelled):
            running.result()
        assert time.monotonic() - started_s < 2.0
    response, elapsed_s = timed(lambda: generate(client_for(gradio.url("small"), "slow"), "sleep 0"))
    assert_plays(response, Clip(1.5))
    assert elapsed_s < 5.0
