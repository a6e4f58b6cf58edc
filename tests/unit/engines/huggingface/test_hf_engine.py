"""The engine as a whole: what it looks at, what it sends where, what it makes of the answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from fakes import FakeClock, tone
from unit.engines.huggingface.hf_wire import (
    BRIEF,
    TEXT,
    Exchange,
    Routes,
    Server,
    completed,
    component,
    dependency,
    gradio_config,
    queue_events,
    serve,
    status,
)

from app.engines import huggingface
from app.engines.engine import Progress, Report, Take, ignore
from app.engines.huggingface import DETECTION_HOLDS_S, MAX_CANDIDATES, HuggingFace
from app.errors import (
    EngineError,
    PromptRefused,
    UpstreamBadResponse,
    UpstreamError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from app.retry import Deadline
from app.settings import Settings

WAV = tone(0.6).content
TOKEN = "hf_token/of+ours"
FILE = {"path": "/files/a.wav"}
FILE_ROUTE = "/gradio_api/file=/files/a.wav"
JOIN, DATA, CANCEL = "/gradio_api/queue/join", "/gradio_api/queue/data", "/gradio_api/cancel"
INFO = "/gradio_api/info"


def plays(exchange: Exchange) -> None:
    exchange.answer(WAV, Content_Type="application/octet-stream")


def gradio(**more: Any) -> dict[str, Any]:
    """Return the routes of an app with one function that makes a file."""
    return {
        "/config": gradio_config(),
        INFO: status(404),
        JOIN: {"event_id": "e1"},
        DATA: completed(FILE),
        FILE_ROUTE: plays,
        CANCEL: {"success": True},
        **more,
    }


def engine_for(url: str, *, clock: FakeClock | None = None, **more: object) -> HuggingFace:
    settings = Settings.model_validate({"hf_api_url": url, "hf_timeout_s": 3, **more})
    return HuggingFace(settings, clock=clock) if clock else HuggingFace(settings)


def generate(engine: HuggingFace, report: Report = ignore) -> Take:
    return engine.generate(BRIEF, deadline=Deadline.after(3), report=report)


def failure_of(engine: HuggingFace) -> EngineError:
    with pytest.raises(EngineError) as failure:
        generate(engine)
    return failure.value


# ---------------------------------------------------------------------- a Gradio app


def test_a_gradio_app_is_called_with_the_brief_and_its_file_is_fetched() -> None:
    told: list[Progress] = []
    with serve(Routes(gradio())) as server:
        take = generate(engine_for(server.url), told.append)
        paths = [each.partition("?")[0] for each in server.paths()]
        assert paths == ["GET /config", f"GET {INFO}", f"POST {JOIN}", f"GET {DATA}", f"GET {FILE_ROUTE}"]
        assert server.requests[2].json()["data"] == [TEXT, 10]
    assert take.file.content == WAV
    assert take.file.duration_s == pytest.approx(0.6)
    assert 0 <= take.decode_s < 1
    handed_in, fetching = told
    assert handed_in.ticket
    assert fetching == Progress("Fetching the audio…", fraction=1.0)


def test_the_function_of_the_url_is_called_and_the_setting_overrides_it() -> None:
    two = [dependency([1, 2], [3], "one"), dependency([1, 2], [3], "two"), dependency([1], [3], "three")]
    with serve(Routes(gradio(**{"/config": gradio_config(dependencies=two)}))) as server:
        generate(engine_for(f"{server.url}/gradio_api/call/two"))
        generate(engine_for(f"{server.url}/gradio_api/call/two", hf_api_name="/three"))
        calls = [each.json()["fn_index"] for each in server.requests if each.path == JOIN]
    assert calls == [1, 2]


def test_explicit_inputs_go_out_instead() -> None:
    with serve(Routes(gradio())) as server:
        generate(engine_for(server.url, hf_inputs=["{prompt}!", "{seed}"]))
        generate(engine_for(server.url, hf_inputs={"Duration": 3}))
        sent = [each.json()["data"] for each in server.requests if each.path == JOIN]
    assert sent == [["lofi beat!", 42], [TEXT, 3]]


def test_audio_outputs_are_looked_at_before_the_others() -> None:
    components = [
        component(1, "textbox", label="Prompt"),
        *(component(3, "video"), component(4, "file"), component(5, "audio")),
    ]
    config = gradio_config(components=components, dependencies=[dependency([1], [3, 4, 5])])
    outputs = completed({"video": {"path": "/files/v.mp4"}}, {"path": "/files/f.txt"}, FILE)
    with serve(Routes(gradio(**{"/config": config, DATA: outputs}))) as server:
        assert generate(engine_for(server.url)).file.content == WAV
        assert not any("v.mp4" in each or "f.txt" in each for each in server.paths())


def test_the_first_thing_that_plays_counts() -> None:
    outputs = completed([{"path": "/files/v.mp4"}, {"path": "/files/gone"}, FILE])
    routes = gradio(**{DATA: outputs, "/gradio_api/file=/files/v.mp4": status(200, b"\0\0\0 ftypisom")})
    with serve(Routes(routes)) as server:
        assert generate(engine_for(server.url)).file.content == WAV


def test_something_damaged_does_not_hide_what_comes_after_it() -> None:
    with serve(Routes(gradio(**{DATA: completed(["UklGRiQAAABXQVZFZm10I!!!", FILE])}))) as server:
        assert generate(engine_for(server.url)).file.content == WAV
    with serve(Routes(gradio(**{DATA: completed(["UklGRiQAAABXQVZFZm10I!!!", 3])}))) as server:
        assert isinstance(failure_of(engine_for(server.url)), UpstreamBadResponse)


def test_the_first_failure_counts_when_nothing_plays_and_not_everything_is_fetched() -> None:
    files = [{"path": f"/files/{number}"} for number in range(10)]
    routes = gradio(**{DATA: completed(files), "/gradio_api/file=/files/0": status(200, b"\0\0\0 ftypisom")})
    with serve(Routes(routes)) as server:
        error = failure_of(engine_for(server.url))
        fetched = [each for each in server.paths() if "file=" in each]
    assert isinstance(error, UpstreamBadResponse)
    assert "MP4" in error.detail
    assert len(fetched) == MAX_CANDIDATES


@pytest.mark.parametrize(("code", "repeat"), [(403, False), (404, False), (500, True), (503, True)])
def test_a_file_that_cannot_be_fetched_is_a_bad_response(code: int, repeat: bool) -> None:
    with serve(Routes(gradio(**{FILE_ROUTE: status(code, {"detail": "File not allowed"})}))) as server:
        error = failure_of(engine_for(server.url))
    assert (type(error), error.repeat) == (UpstreamBadResponse, repeat)
    assert str(code) in error.detail


def test_samples_and_texts_need_no_fetching() -> None:
    with serve(Routes(gradio(**{DATA: completed([8_000, [0.1, -0.1] * 4_000])}))) as server:
        assert generate(engine_for(server.url)).file.duration_s == 1.0
        assert len(server.requests) == 4


def test_a_refusal_is_quoted() -> None:
    output = {"error": "The prompt is not acceptable: <b>drums</b>"}
    said = {"msg": "process_completed", "success": False, "output": output}
    with serve(Routes(gradio(**{DATA: queue_events(said)}))) as server:
        error = failure_of(engine_for(server.url))
    assert (type(error), error.detail) == (PromptRefused, "The prompt is not acceptable: drums")


def test_audio_larger_than_allowed_is_refused() -> None:
    with serve(Routes(gradio(**{FILE_ROUTE: status(200, tone(6.0).content)}))) as server:
        error = failure_of(engine_for(server.url, max_audio_bytes=65_536))
    assert "larger than 65536 bytes" in error.detail


# ---------------------------------------------------------------------- other hosts and the token


def test_the_token_goes_to_our_host_and_nowhere_else() -> None:
    with serve(status(200, WAV)) as other:
        routes = gradio(**{DATA: completed(f"{other.url}/a.wav"), FILE_ROUTE: plays})
        with serve(Routes(routes)) as server:
            error = failure_of(engine_for(server.url, hf_token=TOKEN))
            assert {each.headers["authorization"] for each in server.requests} == {f"Bearer {TOKEN}"}
        assert other.requests == []
    assert "another host" in error.detail


@pytest.mark.parametrize("location", ["{other}/config", "//{netloc}/x", "http://127.0.0.1:1\\@{netloc}/"])
def test_a_redirect_does_not_carry_the_token_away(location: str) -> None:
    with serve(status(200, gradio_config())) as other:
        place = location.format(other=other.url, netloc=other.url.removeprefix("http://"))
        with serve(Routes({"/config": status(302, {}, Location=place)})) as server:
            failure_of(engine_for(server.url, hf_token=TOKEN))
        assert other.requests == []


def test_without_a_token_no_header_is_sent() -> None:
    with serve(Routes(gradio())) as server:
        generate(engine_for(server.url))
        assert not any("authorization" in name for each in server.requests for name in each.headers)


@pytest.mark.parametrize(
    ("url", "header"),
    [
        ("owner/space", "X-HF-Authorization"),
        ("https://owner-space.hf.space/run/x", "X-HF-Authorization"),
        ("https://owner-space.HF.space", "X-HF-Authorization"),
        ("https://x.endpoints.huggingface.cloud", "Authorization"),
        ("https://router.huggingface.co/m", "Authorization"),
        ("https://hf.space.example.com", "Authorization"),
        ("https://x.hf.space.example.com", "Authorization"),
        ("https://example.com/x.hf.space", "Authorization"),
        ("http://localhost:7860", "Authorization"),
    ],
)
def test_a_spaces_proxy_gets_a_header_that_it_takes_away(url: str, header: str) -> None:
    sent = engine_for(url, hf_token=TOKEN)._conversation()._headers
    assert sent[header] == f"Bearer {TOKEN}"
    assert {"X-HF-Authorization", "Authorization"} & set(sent) == {header}


def test_a_token_that_the_upstream_echoes_is_taken_out_of_everything() -> None:
    said = {"error": f"Please provide another prompt than {TOKEN}, Authorization was {TOKEN}"}
    with serve(Routes({"/config": status(404), "/": status(500, said)})) as server:
        error = failure_of(engine_for(server.url, hf_token=TOKEN))
    assert isinstance(error, PromptRefused)
    for text in (error.detail, error.log_text, str(error), repr(error.args)):
        assert TOKEN not in text
    assert "***" in error.log_text


def test_a_token_in_a_progress_message_is_taken_out_too() -> None:
    heard: list[Progress] = []
    log = {"msg": "log", "log": f"calling with {TOKEN}", "level": "info"}
    done = {"msg": "process_completed", "output": {"data": [FILE]}, "success": True}
    with serve(Routes(gradio(**{DATA: queue_events(log, done)}))) as server:
        generate(engine_for(server.url, hf_token=TOKEN), report=heard.append)
    assert heard[1].message == "calling with ***"


# ---------------------------------------------------------------------- finding out what is there


def test_the_upstream_is_looked_at_once() -> None:
    with serve(Routes(gradio())) as server:
        engine = engine_for(server.url)
        for _ in range(3):
            generate(engine)
        assert server.paths().count("GET /config") == 1


def test_threads_that_come_together_look_together() -> None:
    with serve(Routes(gradio())) as server:
        engine = engine_for(server.url)
        threads = [threading.Thread(target=generate, args=(engine,)) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        assert server.paths().count("GET /config") == 1
        assert server.paths().count(f"POST {JOIN}") == 5


def test_waiting_for_another_threads_look_is_limited_too() -> None:
    engine = engine_for("http://127.0.0.1:1")
    with engine._looking, pytest.raises(UpstreamTimeout):
        engine.generate(BRIEF, deadline=Deadline.after(0.05))


def test_a_failed_look_is_not_remembered() -> None:
    config = [status(503, {}), gradio_config()]
    with serve(Routes(gradio(**{"/config": config}))) as server:
        engine = engine_for(server.url)
        assert isinstance(failure_of(engine), UpstreamUnavailable)
        assert generate(engine).file.content == WAV


def test_an_upstream_that_changed_is_looked_at_again_and_called_anew() -> None:
    older, newer = gradio_config("4.44.1"), gradio_config("6.31.0")
    routes = gradio(**{"/config": [older, newer]})
    routes |= {"/queue/join": {"event_id": "e1"}, "/queue/data": completed(FILE), "/file=/files/a.wav": plays}
    clock = FakeClock()
    with serve(Routes(routes)) as server:
        engine = engine_for(server.url, clock=clock)
        generate(engine)
        for route in ("/queue/join", "/queue/data", "/file=/files/a.wav"):
            del routes[route]
        assert isinstance(failure_of(engine), UpstreamRejected), "too soon to have changed"
        assert server.paths().count("GET /config") == 1
        clock.now_s += DETECTION_HOLDS_S
        assert generate(engine).file.content == WAV
        assert server.paths().count("GET /config") == 2


def test_an_upstream_that_did_not_change_is_not_called_twice() -> None:
    clock = FakeClock()
    with serve(Routes(gradio(**{DATA: completed(None)}))) as server:
        engine = engine_for(server.url, clock=clock)
        failure_of(engine)
        clock.now_s += DETECTION_HOLDS_S
        assert isinstance(failure_of(engine), UpstreamBadResponse)
        assert server.paths().count("GET /config") == 2
        assert server.paths().count(f"POST {JOIN}") == 2


def test_a_plain_server_is_not_called_twice_for_an_answer_without_audio() -> None:
    clock = FakeClock()
    with serve(Routes({"/config": status(404), "/": [plays, {"no": "audio"}]})) as server:
        engine = engine_for(server.url, clock=clock)
        generate(engine)
        clock.now_s += DETECTION_HOLDS_S
        assert isinstance(failure_of(engine), UpstreamBadResponse)
        assert server.paths() == ["GET /config", "POST /", "POST /", "GET /config"]


def test_that_there_is_no_gradio_app_is_remembered_once_a_call_has_proved_it() -> None:
    with serve(Routes({"/config": status(404), "/": [{"no": "audio"}, plays]})) as server:
        engine = engine_for(server.url)
        failure_of(engine)
        generate(engine)
        generate(engine)
        assert server.paths() == ["GET /config", "POST /", "POST /", "POST /"]


def test_a_doubtful_verdict_holds_for_a_while() -> None:
    clock = FakeClock()
    with serve(Routes({"/config": status(404), "/": {"no": "audio"}})) as server:
        engine = engine_for(server.url, clock=clock)
        for _ in range(3):
            failure_of(engine)
        clock.now_s += DETECTION_HOLDS_S
        failure_of(engine)
        assert server.paths() == ["GET /config", "POST /", "POST /", "POST /", "GET /config", "POST /"]


def test_an_app_that_was_too_busy_to_describe_itself_is_asked_again() -> None:
    clock = FakeClock()
    with serve(Routes(gradio(**{INFO: [status(503), {"named_endpoints": {}}]}))) as server:
        engine = engine_for(server.url, clock=clock)
        for _ in range(2):
            generate(engine)
        assert server.paths().count(f"GET {INFO}") == 1
        for _ in range(2):
            clock.now_s += DETECTION_HOLDS_S
            generate(engine)
        assert server.paths().count(f"GET {INFO}") == 2


def test_a_space_that_was_booting_is_called_as_soon_as_it_is_up() -> None:
    config = [status(200, b"<html>Building</html>", Content_Type="text/html"), gradio_config()]
    with serve(Routes(gradio(**{"/config": config, "/": status(405)}))) as server:
        engine = engine_for(server.url)
        assert isinstance(failure_of(engine), UpstreamRejected)
        assert generate(engine).file.content == WAV


def test_a_failure_that_is_no_sign_of_change_is_no_reason_to_look() -> None:
    clock = FakeClock()
    crash = queue_events({"msg": "process_completed", "success": False, "output": {"error": None}})
    with serve(Routes(gradio(**{DATA: crash}))) as server:
        engine = engine_for(server.url, clock=clock)
        failure_of(engine)
        clock.now_s += DETECTION_HOLDS_S
        assert isinstance(failure_of(engine), UpstreamError)
        assert server.paths().count("GET /config") == 1


# ---------------------------------------------------------------------- servers without a signature


def plain(handle: Callable[[Any], Any]) -> Callable[[Exchange], None]:
    """Return a plain server: `handle` maps a body to (status, value)."""

    def answer(exchange: Exchange) -> None:
        if exchange.method == "GET":
            exchange.answer_json({"detail": "Not Found"}, 404)
        else:
            code, value = handle(exchange.json())
            exchange.answer_json(value, code) if not isinstance(value, bytes) else exchange.answer(value, code)

    return answer


MISSING = {"detail": [{"type": "missing", "loc": ["body", "inputs"], "msg": "Field required"}]}
UNEXPECTED = {"error": "TextToAudioPipeline._sanitize_parameters() got an unexpected keyword argument 'x'"}
NOT_USED = {"error": "The following `model_kwargs` are not used by the model: ['generate_kwargs']"}


def bodies(server: Server) -> list[Any]:
    return [each.json() for each in server.requests if each.method == "POST"]


def test_a_server_like_gradios_gets_data() -> None:
    with serve(plain(lambda _: (200, WAV))) as server:
        assert generate(engine_for(f"{server.url}/generate")).file.content == WAV
        assert bodies(server) == [{"data": [TEXT, 10]}]
        assert [each.path for each in server.requests] == ["/generate/config", "/generate"]


def test_a_server_that_wants_inputs_gets_the_bodies_one_by_one_and_the_right_one_is_remembered() -> None:
    def handle(body: Any) -> tuple[int, object]:
        if "inputs" not in body:
            return 422, MISSING
        if "generate_kwargs" in body.get("parameters", {}):
            return 400, NOT_USED
        return (400, UNEXPECTED) if "parameters" in body else (200, WAV)

    with serve(plain(handle)) as server:
        engine = engine_for(server.url)
        generate(engine)
        generate(engine)
        assert bodies(server) == [
            {"data": [TEXT, 10]},
            {"inputs": TEXT, "parameters": {"generate_kwargs": {"max_new_tokens": 500}}},
            {"inputs": TEXT, "parameters": {"max_new_tokens": 500}},
            {"inputs": TEXT},
            {"inputs": TEXT},
        ]


def test_a_server_that_takes_nothing_is_told_with_its_first_complaint() -> None:
    with serve(plain(lambda body: (422, MISSING) if "data" in body else (400, UNEXPECTED))) as server:
        error = failure_of(engine_for(server.url))
        assert len(bodies(server)) == 4
    assert isinstance(error, UpstreamRejected)
    assert "Field required" in error.log_text


@pytest.mark.parametrize(
    ("code", "value", "row"),
    [
        (400, {"error": "CUDA out of memory"}, UpstreamError),
        (401, {"error": "inputs need a token"}, UpstreamRejected),
        (422, {"detail": [{"msg": "Field required", "loc": ["body", "text"]}]}, UpstreamRejected),
        (500, {"error": "The inputs are not acceptable"}, PromptRefused),
        (503, {"error": "inputs: is loading", "estimated_time": 7}, UpstreamUnavailable),
    ],
)
def test_other_complaints_are_no_reason_for_another_body(code: int, value: object, row: type[EngineError]) -> None:
    with serve(plain(lambda _: (code, value))) as server:
        assert type(failure_of(engine_for(server.url))) is row
        assert len(bodies(server)) == 1


@pytest.mark.parametrize(
    ("explicit", "body"),
    [
        ({"text": "{prompt}", "s": "{duration}"}, {"text": "lofi beat", "s": 10}),
        (["{text}", "{seed}"], {"data": [TEXT, 42]}),
    ],
)
def test_explicit_inputs_are_the_whole_body(explicit: object, body: object) -> None:
    with serve(plain(lambda _: (200, WAV))) as server:
        generate(engine_for(server.url, hf_inputs=explicit))
        assert bodies(server) == [body]
    with serve(plain(lambda _: (422, MISSING))) as server:
        assert isinstance(failure_of(engine_for(server.url, hf_inputs=explicit)), UpstreamRejected)
        assert len(bodies(server)) == 1


def test_a_plain_servers_file_is_fetched_from_it() -> None:
    routes: dict[str, object] = {"/config": status(404), "/a.wav": plays}
    with serve(Routes(routes)) as server:
        routes["/"] = {"audio_url": f"{server.url}/a.wav"}
        assert generate(engine_for(server.url)).file.content == WAV


def test_an_inference_host_is_not_asked_for_a_config_nor_sent_data() -> None:
    engine = engine_for("https://x.endpoints.huggingface.cloud/")
    probe = engine.probe(BRIEF, deadline=Deadline.after(1))
    assert probe.kind == "server without a signature"
    assert probe.sent == {"inputs": TEXT, "parameters": {"generate_kwargs": {"max_new_tokens": 500}}}


# ---------------------------------------------------------------------- probe and build


def test_a_probe_tells_what_would_be_sent_without_sending_it() -> None:
    dependencies = [dependency([1, 2], [3]), dependency([1], [3], False)]
    with serve(Routes(gradio(**{"/config": gradio_config(dependencies=dependencies)}))) as server:
        probe = engine_for(server.url).probe(BRIEF, deadline=Deadline.after(2))
        assert server.paths() == ["GET /config", f"GET {INFO}"]
        assert probe.url == f"{server.url}/gradio_api"
    assert (probe.kind, probe.function, probe.functions) == ("Gradio 6.31.0", "/predict", ("/predict", "number 1"))
    assert probe.mapping == (("Prompt (textbox)", "prompt"), ("Duration (slider)", "duration"))
    assert probe.sent == [TEXT, 10]


def test_a_probe_names_what_gets_its_default() -> None:
    components = [component(1, "textbox", label="Prompt"), component(2, "state"), component(3, "audio")]
    config = gradio_config(components=components, dependencies=[dependency([1, 2], [3])])
    with serve(Routes(gradio(**{"/config": config}))) as server:
        probe = engine_for(server.url).probe(BRIEF, deadline=Deadline.after(2))
    assert probe.mapping[1] == ("input (state)", "default")


def test_a_probe_fails_as_a_generation_would_and_hides_the_token_too() -> None:
    with (
        serve(Routes({"/config": status(500, {"error": f"boom {TOKEN}"})})) as server,
        pytest.raises(UpstreamError) as failure,
    ):
        engine_for(server.url, hf_token=TOKEN).probe(BRIEF, deadline=Deadline.after(2))
    assert TOKEN not in failure.value.log_text + failure.value.detail + str(failure.value)


def test_the_engine_is_built_only_where_there_is_an_address() -> None:
    assert huggingface.build(Settings.model_validate({})) is None
    engine = huggingface.build(
        Settings.model_validate({"hf_api_url": "owner/space", "hf_attempts": 3, "hf_timeout_s": 7, "hf_backoff_s": 1})
    )
    assert engine is not None
    assert (engine.policy.attempts, engine.policy.timeout_s, engine.policy.backoff_s) == (3, 7, 1)
    assert engine.name == "huggingface"
