"""What a Gradio app offers, and how its functions are called: every route, every way to end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.engines.huggingface.hf_wire import (
    LIMIT_BYTES,
    SIMPLE_COMPONENTS,
    Exchange,
    Handler,
    Routes,
    Server,
    call_events,
    completed,
    component,
    converse,
    dependency,
    event_stream,
    expectations,
    gradio_config,
    names,
    queue_events,
    recorded,
    serve,
    status,
)

from app.engines.engine import MAX_TICKET_CHARS, Progress
from app.engines.huggingface.gradio.app import App, Function, number_or_none, read_app
from app.engines.huggingface.gradio.call import Call, Ticket, _Outputs, file_url
from app.engines.huggingface.responses import RemoteFile, find_audio
from app.errors import (
    Cancelled,
    EngineError,
    PromptRefused,
    UpstreamBadResponse,
    UpstreamError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from app.retry import Deadline

FILE = {"path": "/files/a.wav", "meta": {"_type": "gradio.FileData"}}
JOIN, DATA, CANCEL = "/gradio_api/queue/join", "/gradio_api/queue/data", "/gradio_api/cancel"
CALL, RUN = "/gradio_api/call/predict", "/gradio_api/run/predict"
JOINED = {"event_id": "e1"}


def read(table: dict[str, object], path: str = "") -> App | None:
    with serve(Routes(table)) as server:
        return read_app(converse(server), server.url + path, deadline=Deadline.after(2))


def app_of(config: dict[str, object], info: object = None) -> App:
    prefix = config.get("api_prefix", "")
    app = read({"/config": config, f"{prefix}/info": info if info is not None else status(404)})
    assert app is not None
    return app


def info_of(name: str, *parameters: dict[str, object]) -> dict[str, object]:
    return {"named_endpoints": {f"/{name}": {"parameters": list(parameters), "returns": []}}, "unnamed_endpoints": {}}


# ---------------------------------------------------------------------- reading the app

MUSICGEN = [
    component(77, "radio", label="Model", value="melody", choices=["melody", "small"]),
    component(78, "textbox", label="Input Text"),
    component(79, "audio", label="Melody Condition (optional)", value={"path": "/demo.wav"}),
    component(80, "slider", label="Duration", minimum=1, maximum=120, step=1, value=10),
    component(81, "number", label="Top-k", value=250),
    component(90, "state"),
    component(87, "audio", label="Generated Music"),
]
MUSICGEN_INPUTS = [77, 78, 79, 80, 81, 90]


@pytest.mark.parametrize("version", ["3.50.2", "4.16.0", "4.44.1", "5.50.0", "6.31.0"])
def test_every_version_tells_the_same_of_the_same_function(version: str) -> None:
    """The shapes are those of the recorded `/config`, cut down to what matters."""
    components = [dict(each) for each in MUSICGEN]
    more: dict[str, object] = {"queue": None, "batch": False, "types": {"generator": False}}
    number = 0
    if not version.startswith("3"):
        components[0] = component(77, "radio", label="Model", value="melody", choices=[["melody"] * 2, ["small"] * 2])
        more |= {"queue": True, "show_api": True}
    if not version.startswith(("3", "4.16")):
        number = 33
        more |= {"id": 33}
    if version.startswith("6"):
        del more["show_api"]
        more |= {"api_visibility": "public"}
    one = dependency(MUSICGEN_INPUTS, [87], "musicgen8", **more)
    app = app_of(gradio_config(version, components=components, dependencies=[one]))
    function = app.choose(None)
    assert (function.index, function.name, function.title) == (number, "musicgen8", "/musicgen8")
    assert (function.outputs, function.is_listed, function.is_batched) == (("audio",), True, False)
    assert [each.label for each in function.parameters] == [
        *("Model", "Input Text", "Melody Condition (optional)", "Duration", "Top-k", ""),
    ]
    assert [each.default for each in function.parameters] == ["melody", "", None, 10, 250, None]
    duration = function.parameters[3]
    assert (duration.minimum, duration.maximum, duration.step) == (1.0, 120.0, 1.0)
    assert function.parameters[0].choices == ("melody", "small")
    assert app.major == int(version[0])
    assert app.api_url.endswith("/gradio_api") is (version[0] in "56")


def test_info_adds_names_and_defaults_and_leaves_state_out() -> None:
    info = info_of(
        "musicgen8",
        {"label": "Model", "parameter_name": "model", "parameter_has_default": True, "parameter_default": "small"},
        {"label": "Input Text", "parameter_name": "text", "parameter_has_default": False, "parameter_default": None},
        {"label": "Melody", "parameter_name": "melody"},
        {"label": "Duration", "parameter_name": "duration", "parameter_has_default": True, "parameter_default": 8},
        {"label": "Top-k", "parameter_name": "topk"},
    )
    one = dependency(MUSICGEN_INPUTS, [87], "musicgen8")
    function = app_of(gradio_config(components=MUSICGEN, dependencies=[one]), info).choose("musicgen8")
    assert [each.name for each in function.parameters] == ["model", "text", "melody", "duration", "topk", ""]
    assert [each.default for each in function.parameters] == ["small", "", None, 8, 250, None]


def test_info_of_unnamed_functions_goes_by_number() -> None:
    info = {"named_endpoints": {}, "unnamed_endpoints": {"0": {"parameters": [{"label": "p"}, {"label": "q"}]}}}
    unlabelled = [component(1, "textbox"), component(2, "number"), component(3, "audio")]
    app = app_of(gradio_config("3.50.2", components=unlabelled, dependencies=[dependency([1, 2], [3], None)]), info)
    (function,) = app.functions
    assert [each.label for each in function.parameters] == ["p", "q"]
    assert (function.title, function.is_listed) == ("number 0", False)


@pytest.mark.parametrize(
    "info",
    [
        info_of("predict", {"label": "only one of two", "parameter_name": "wrong"}),
        {"named_endpoints": []},
        status(200, b"<html>rendered on the server</html>", Content_Type="text/html"),
        status(401, {"detail": "Not authenticated"}),
        status(500, {"error": None}),
        status(429, {"error": "Too many requests"}),
        lambda exchange: exchange.hang_up(),
        lambda _: time.sleep(1.5),
    ],
    ids=["another count", "another shape", "a web page", "protected", "broken", "too busy", "cut off", "silent"],
)
def test_an_app_is_usable_without_its_info(info: object) -> None:
    function = app_of(gradio_config(), info).choose(None)
    assert [(each.name, each.label) for each in function.parameters] == [("", "Prompt"), ("", "Duration")]


@pytest.mark.parametrize(
    ("kind", "props", "default"),
    [
        ("textbox", {}, ""),
        ("textbox", {"value": "lofi"}, "lofi"),
        ("checkbox", {}, False),
        ("slider", {"minimum": 3}, 3),
        ("slider", {}, 0),
        ("number", {}, None),
        ("Dropdown", {"choices": [["A", "a"], ["B", "b"]]}, "a"),
        ("dropdown", {"choices": ["a"], "multiselect": True}, []),
        ("checkboxgroup", {"choices": ["a"]}, []),
        ("dropdown", {"choices": None}, None),
        ("image", {"value": {"path": "/demo.png"}}, None),
        ("state", {"value": 3}, None),
        ("something-new", {}, None),
    ],
)
def test_an_input_nobody_set_gets_what_the_page_would_send(kind: str, props: dict[str, Any], default: object) -> None:
    components = [component(1, kind, **props), *SIMPLE_COMPONENTS[1:]]
    (function,) = app_of(gradio_config(components=components)).functions
    assert function.parameters[0].default == default
    assert function.parameters[0].component == kind.lower()


def test_functions_of_the_page_alone_are_left_out_and_the_numbers_stay() -> None:
    one, two = dependency([1], [3], "page", backend_fn=False), dependency([1], [3], "/second/")
    app = app_of(gradio_config("3.50.2", dependencies=[one, two]))
    assert [(each.index, each.name) for each in app.functions] == [(1, "second")]


def test_components_that_are_not_described_are_taken_for_unknown() -> None:
    (function,) = app_of(gradio_config(dependencies=[dependency([99], [98, 3])])).functions
    assert (function.parameters[0].component, function.outputs) == ("", ("audio",))


@pytest.mark.parametrize(
    "more", [{"api_name": False}, {"show_api": False}, {"api_visibility": "private"}, {"api_name": None}]
)
def test_what_the_app_does_not_offer_is_not_listed(more: dict[str, object]) -> None:
    (function,) = app_of(gradio_config(dependencies=[dependency([1], [3]) | more])).functions
    assert not function.is_listed


@pytest.mark.parametrize(
    "config",
    [
        status(404, {"detail": "Not Found"}),
        status(403, {}),
        status(405, {}),
        status(400, {"error": "bad value"}),
        {"ok": "ok"},
        {"version": "1.0"},
        ["version", "dependencies"],
        status(200, b"<html></html>", Content_Type="text/html"),
        status(200, b"Ok"),
        status(200, b""),
    ],
    ids=["404", "403", "405", "400", "ok", "version only", "list", "page", "text", "empty"],
)
def test_there_is_no_gradio_app_at(config: object) -> None:
    assert read({"/config": config}) is None


@pytest.mark.parametrize(
    ("config", "row"),
    [
        (status(401, {"detail": "Not authenticated"}), UpstreamRejected),
        (status(429, {}), UpstreamUnavailable),
        (status(500, b"Internal Server Error"), UpstreamError),
        (status(502, b"<html>"), UpstreamUnavailable),
        (status(503, b"Your space is in error, check its status on hf.co"), UpstreamUnavailable),
        (status(504, b"<html>"), UpstreamTimeout),
        ({"version": 5, "dependencies": [], "components": []}, UpstreamBadResponse),
        ({"version": "5", "dependencies": [{}], "components": []}, UpstreamBadResponse),
        ({"version": "5", "dependencies": []}, UpstreamBadResponse),
        (status(200, b'{"version": "5.50.0", "depen'), UpstreamBadResponse),
    ],
)
def test_trouble_at_the_address_says_nothing_about_what_is_there(config: object, row: type[EngineError]) -> None:
    with pytest.raises(row):
        read({"/config": config})


def test_a_mounted_app_is_read_below_its_path() -> None:
    app = read({"/studio/config": gradio_config(), "/studio/gradio_api/info": info_of("predict")}, "/studio")
    assert app is not None
    assert app.api_url.endswith("/studio/gradio_api")


@pytest.mark.parametrize(("version", "major"), [("5.0.0-beta.1", 5), ("10.2", 10), ("dev", 0), ("", 0)])
def test_a_version_may_look_odd(version: str, major: int) -> None:
    assert App(version, "", "", ()).major == major


# ---------------------------------------------------------------------- choosing


def choice(*dependencies: dict[str, object], wanted: str | None = None) -> str:
    components = [
        *(component(1, "textbox", label="Prompt"), component(2, "slider", label="Duration"), component(3, "audio")),
        *(component(4, "file"), component(5, "video"), component(6, "textbox"), component(7, "image")),
        component(8, "audio", label="Melody"),
    ]
    return app_of(gradio_config(components=components, dependencies=list(dependencies))).choose(wanted).title


def test_the_function_that_makes_audio_from_a_prompt_is_chosen() -> None:
    load, tag = dependency([], [1], "load"), dependency([1], [6], "tag")
    video, music = dependency([1], [5], "video"), dependency([1], [7, 3], "music")
    assert choice(load, tag, video, music) == "/music"
    assert choice(load, tag, video) == "/video"
    assert choice(load, tag) == "/tag"


def test_taking_a_duration_being_listed_and_having_a_name_count_in_this_order() -> None:
    plain, long = dependency([1], [3], "plain"), dependency([1, 2], [3], "long", show_api=False)
    assert choice(plain, long) == "/long"
    assert choice(dependency([1], [3], "hidden", show_api=False), plain) == "/plain"
    assert choice(dependency([1], [3], False), dependency([1], [3], "named", show_api=False)) == "/named"
    assert choice(dependency([1], [3], "first"), dependency([1], [3], "second")) == "/first"


def test_a_function_is_found_by_name_or_number() -> None:
    one, two = dependency([1], [3], "one", id=10), dependency([1], [3], "11", id=12)
    three = dependency([1], [3], "three", id=11)
    assert choice(one, two, three, wanted="three") == "/three"
    assert choice(one, two, three, wanted="10") == "/one"
    assert choice(one, two, three, wanted="11") == "/11", "a name goes before a number"


def test_predict_means_the_function_where_none_has_this_name() -> None:
    """Gradio's own examples end in `/run/predict`, and Gradio 6 no longer names an Interface's function so."""
    assert choice(dependency([1], [6], "tag"), dependency([1], [3], "music"), wanted="predict") == "/music"


@pytest.mark.parametrize("wanted", ["nope", "99", "-1", "²", "x" * 500, ""])
def test_a_function_that_is_not_there_is_our_mistake(wanted: str) -> None:
    with pytest.raises(UpstreamRejected, match="it has: /predict") as failure:
        choice(dependency([1], [3]), wanted=wanted)
    assert len(failure.value.detail) < 300


@pytest.mark.parametrize("dependencies", [[dependency([1], [7])], [dependency([8], [3])]])
def test_an_app_without_such_a_function_is_rejected(dependencies: list[dict[str, object]]) -> None:
    with pytest.raises(UpstreamRejected, match="makes audio from text"):
        choice(*dependencies)
    with pytest.raises(UpstreamRejected, match="it has: none"):
        App("6", "", "", ()).choose(None)


def test_the_labels_of_choices_are_known_beside_their_values() -> None:
    mood = component(1, "dropdown", label="Mood", choices=[["Very calm", "calm-2"], ["Wild", "wild-1"]])
    app = app_of(gradio_config(components=[mood], dependencies=[dependency([1], [])]))
    parameter = app.functions[0].parameters[0]
    assert parameter.choices == ("calm-2", "wild-1")
    assert parameter.choice_labels == ("Very calm", "Wild")


@pytest.mark.parametrize(("value", "number"), [(3, 3.0), (0.5, 0.5), (True, None), ("3", None), (10**400, None)])
def test_only_numbers_that_fit_are_numbers(value: object, number: float | None) -> None:
    assert number_or_none(value) == number


# ---------------------------------------------------------------------- calling


class Job:
    """One call of `/predict`, and what was heard of it."""

    def __init__(
        self,
        routes: dict[str, Any],
        *,
        version: str = "6.31.0",
        deadline_s: float = 2.0,
        name: str = "predict",
        data: Sequence[object] = ("lofi", 10),
        is_batched: bool = False,
        cancelled: threading.Event | None = None,
    ) -> None:
        self.progress: list[Progress] = []
        self.server = Server(Routes(routes))
        self._deadline_s = deadline_s
        self._cancelled = cancelled
        prefix = "/gradio_api" if version[0] in "56" else ""
        self._app = App(version, self.server.url, prefix, ())
        self._function = Function(7, name, (), ("audio",), is_listed=True, is_batched=is_batched)
        self._data = data

    def ticket(self, route: Literal["queue", "call"] = "queue", **changes: object) -> str:
        """Return the ticket of an earlier call of the function."""
        ticket = Ticket(route, self._app.api_url, self._function.index, "s0", "e0")
        return str(msgspec.structs.replace(ticket, **changes))

    def run(self, resume: str | None = None) -> list[object]:
        conversation = converse(self.server)
        deadline = Deadline.after(self._deadline_s, cancelled=self._cancelled)
        call = Call(conversation, self._app, self._function, self._data, deadline, self.progress.append)
        try:
            return call.run(resume)
        finally:
            time.sleep(0.01)
            self.server.close()

    def failure(self, resume: str | None = None) -> EngineError:
        with pytest.raises(EngineError) as failure:
            self.run(resume)
        return failure.value

    def paths(self) -> list[str]:
        return [each.partition("?")[0] for each in self.server.paths()]


def queued(stream: Handler, **more: object) -> dict[str, Any]:
    return {JOIN: JOINED, DATA: stream, CANCEL: {"success": True}, **more}


def test_the_queue_comes_first() -> None:
    job = Job(queued(completed(FILE)))
    assert job.run() == [FILE]
    join, data = job.server.requests
    assert join.json() == {"data": ["lofi", 10], "fn_index": 7, "session_hash": data.path.partition("=")[2]}
    assert job.paths() == [f"POST {JOIN}", f"GET {DATA}"]


def test_every_job_has_a_session_of_its_own() -> None:
    sessions = set()
    for _ in range(3):
        job = Job(queued(completed(FILE)))
        job.run()
        sessions.add(job.server.requests[0].json()["session_hash"])
    assert len(sessions) == 3


@pytest.mark.parametrize("missing", [404, 405])
def test_without_a_queue_the_documented_route_is_taken(missing: int) -> None:
    stream = call_events(("heartbeat", None), ("complete", [FILE]))
    job = Job({JOIN: status(missing, {"detail": "x"}), CALL: {"event_id": "a/b"}, f"{CALL}/a%2Fb": stream})
    assert job.run() == [FILE]
    assert job.server.requests[1].json() == {"data": ["lofi", 10]}, "a session hash there loses the event in 4 and 5"
    assert job.paths() == [f"POST {JOIN}", f"POST {CALL}", f"GET {CALL}/a%2Fb"]


def test_without_both_the_synchronous_route_is_taken() -> None:
    job = Job({RUN: {"data": [FILE], "is_generating": False}})
    assert job.run() == [FILE]
    assert job.paths() == [f"POST {JOIN}", f"POST {CALL}", f"POST {RUN}"]
    assert job.progress == [Progress("Composing…")]


def test_an_unnamed_function_has_no_address_but_a_number() -> None:
    job = Job({RUN: {"data": [FILE]}}, name="")
    assert job.run() == [FILE]
    assert job.paths() == [f"POST {JOIN}", f"POST {RUN}"]
    assert job.server.requests[-1].json()["fn_index"] == 7


def test_without_any_route_the_first_answer_counts() -> None:
    job = Job({JOIN: status(404, {"detail": "the first"}), RUN: status(405, {"detail": "the last"})})
    error = job.failure()
    assert isinstance(error, UpstreamRejected)
    assert "the first" in error.log_text


def test_names_are_quoted_in_addresses() -> None:
    job = Job({"/gradio_api/run/my%20f%2Fn": {"data": [FILE]}}, name="my f/n")
    assert job.run() == [FILE]


# ---------------------------------------------------------------------- 3.x and the synchronous route


def test_3_x_is_called_synchronously_and_never_by_its_websocket() -> None:
    job = Job({"/run/predict": {"data": [FILE], "is_generating": False, "duration": 0.1}}, version="3.50.2")
    assert job.run() == [FILE]
    assert job.paths() == ["POST /run/predict"]


def test_a_generator_of_3_x_is_asked_until_it_ends() -> None:
    values = [
        {"data": ["working", None], "is_generating": True},
        {"data": ["audio", FILE], "is_generating": True},
        {"data": ["done", {"__type__": "update"}], "is_generating": True},
        {"data": [None, None], "is_generating": False},
    ]
    job = Job({"/run/predict": values}, version="3.50.2")
    assert job.run() == ["done", FILE]
    assert len({each.json()["session_hash"] for each in job.server.requests}) == 1


def test_a_generator_of_3_x_that_never_ends_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.engines.huggingface.gradio.call.MAX_YIELDS", 5)
    job = Job({"/run/predict": {"data": [FILE], "is_generating": True}}, version="3.50.2")
    assert isinstance(job.failure(), UpstreamBadResponse)
    assert len(job.paths()) == 5


def test_later_versions_are_asked_once_even_for_a_generator() -> None:
    job = Job({"/run/predict": {"data": [FILE], "is_generating": True}}, version="4.16.0")
    assert job.run() == [FILE]
    assert job.paths().count("POST /run/predict") == 1


def test_a_batch_function_gets_and_gives_lists() -> None:
    job = Job({"/run/predict": {"data": [["x"], [FILE], None]}}, version="3.50.2", is_batched=True)
    assert job.run() == ["x", FILE, None]
    assert job.server.requests[0].json()["data"] == [["lofi"], [10]]
    assert job.server.requests[0].json()["batched"] is True


def test_the_queue_makes_batches_itself() -> None:
    job = Job(queued(completed(FILE)), is_batched=True)
    assert job.run() == [FILE]
    assert job.server.requests[0].json()["data"] == ["lofi", 10]


@pytest.mark.parametrize(
    ("reply", "row"),
    [
        (status(500, {"error": None}), UpstreamError),
        (status(500, {"error": "The prompt is not acceptable"}), PromptRefused),
        (status(422, {"detail": [{"msg": "Field required"}]}), UpstreamRejected),
        (status(404, {"detail": "Not Found"}), UpstreamRejected),
        (["not an object"], UpstreamBadResponse),
        ({"data": None}, UpstreamBadResponse),
        ({}, UpstreamBadResponse),
        (status(200, b"<html>"), UpstreamBadResponse),
    ],
)
def test_a_synchronous_call_fails_with_what_the_answer_means(reply: object, row: type[EngineError]) -> None:
    routes = {"/run/predict": [reply] if isinstance(reply, list) else reply}
    if reply == ["not an object"]:
        routes = {"/run/predict": [[1, 2]]}
    assert type(Job(routes, version="3.50.2").failure()) is row


# ---------------------------------------------------------------------- handing the job in


@pytest.mark.parametrize(
    ("reply", "row"),
    [
        (status(503, {"detail": "Queue is full. Max size is 1 and size is 1."}), UpstreamUnavailable),
        (status(401, {"detail": "Not authenticated"}), UpstreamRejected),
        (status(422, {"detail": [{"__type__": "validate", "is_valid": False, "message": "no"}]}), PromptRefused),
        ({"event_id": None}, UpstreamBadResponse),
        ({"event_id": ""}, UpstreamBadResponse),
        ({"event_id": "x" * 500}, UpstreamBadResponse),
        ({}, UpstreamBadResponse),
    ],
)
def test_a_job_that_is_not_taken_is_not_followed(reply: object, row: type[EngineError]) -> None:
    job = Job({JOIN: reply})
    assert type(job.failure()) is row
    assert job.paths() == [f"POST {JOIN}"]


@pytest.mark.parametrize(
    ("stream", "row"),
    [
        (status(404, {"detail": "Not Found"}), UpstreamRejected),
        (status(500, b"Internal Server Error"), UpstreamError),
        ({"not": "a stream"}, UpstreamBadResponse),
        (event_stream("data: not json\n\n"), UpstreamBadResponse),
        (event_stream(""), UpstreamBadResponse),
    ],
)
def test_a_stream_that_is_none_ends_the_job_at_the_server_too(stream: object, row: type[EngineError]) -> None:
    job = Job({JOIN: JOINED, DATA: stream, CANCEL: {"success": True}})
    assert type(job.failure()) is row
    cancel = job.server.requests[-1]
    session = job.server.requests[0].json()["session_hash"]
    assert (cancel.path, cancel.json()) == (CANCEL, {"event_id": "e1", "session_hash": session, "fn_index": 7})


# ---------------------------------------------------------------------- following it


@pytest.mark.parametrize("name", names(".sse"))
def test_a_recorded_stream_becomes_what_its_expectation_says(name: str) -> None:
    stream, expected = event_stream(recorded(name).body), expectations()[name]
    routes = queued(stream) if "queue" in name else {CALL: JOINED, f"{CALL}/e1": stream}
    job = Job(routes)
    if "finds" in expected:
        found = list(find_audio(job.run(), limit_bytes=LIMIT_BYTES))
        assert found == [RemoteFile(**each) for each in expected["finds"]]
    else:
        error = job.failure()
        assert type(error).__name__ == expected["raises"], error.log_text
        assert (error.retry_after_s, error.repeat) == (expected["retry_after_s"], expected["repeat"])
        assert error.detail == expected.get("detail", error.detail)
    was_cut = "cut" in name
    assert (f"POST {CANCEL}" in job.paths()) is was_cut, "a job that is over has nothing to cancel"


def test_what_the_queue_tells_is_passed_on() -> None:
    messages: list[object] = [
        {"msg": "estimation", "rank": 2, "rank_eta": 6.5},
        {"msg": "estimation", "rank": 0, "rank_eta": None},
        {"msg": "estimation", "rank": None, "rank_eta": 10**400},
        {"msg": "process_starts", "eta": 3},
        {"msg": "heartbeat"},
        {"msg": "log", "log": "warm-up of <b>hf_secretsecret</b>", "level": "info"},
        {"msg": "log", "log": None},
        {"msg": "progress", "progress_data": [{"index": 1, "length": 4, "progress": None, "desc": "steps"}]},
        {"msg": "progress", "progress_data": [{"index": 1, "length": 4}, {"progress": 7.5, "desc": None}]},
        {"msg": "progress", "progress_data": [{"index": 3, "length": 0}]},
        {"msg": "progress", "progress_data": []},
        {"msg": "progress", "progress_data": ["?"]},
        {"msg": "something_new"},
        ["not an object"],
        {"msg": "process_completed", "output": {"data": [FILE]}, "success": True},
    ]
    job = Job(queued(queue_events(*messages)))
    assert job.run() == [FILE]
    assert job.progress[1:] == [
        Progress("Waiting for a free slot, 2 ahead.", queue_position=2, eta_s=6.5),
        Progress("Waiting for a free slot.", queue_position=0),
        Progress("Waiting for a free slot."),
        Progress("Composing…", eta_s=3.0),
        Progress("warm-up of …"),
        Progress("Composing…"),
        Progress("steps", fraction=0.25),
        Progress("Composing…", fraction=1.0),
        Progress("Composing…"),
    ]


@pytest.mark.parametrize(
    "output", [None, {}, {"data": None}, {"data": {"path": "x"}}, {"data": "text"}, "text"], ids=repr
)
def test_a_result_that_is_no_list_of_outputs_is_a_bad_response(output: object) -> None:
    job = Job(queued(queue_events({"msg": "process_completed", "output": output, "success": True})))
    assert isinstance(job.failure(), UpstreamBadResponse)


@pytest.mark.parametrize("data", [{"a": 1}, "text", 7], ids=repr)
def test_a_call_event_that_is_no_list_is_a_bad_response(data: object) -> None:
    job = Job({CALL: JOINED, f"{CALL}/e1": call_events(("complete", data)), CANCEL: {}})
    assert isinstance(job.failure(), UpstreamBadResponse)


def test_a_failed_value_of_a_generator_is_passed_over() -> None:
    messages: list[object] = [
        {"msg": "process_generating", "output": {"data": [FILE]}, "success": True},
        {"msg": "process_generating", "output": {"error": "x"}, "success": False},
        {"msg": "process_completed", "output": {"data": [None]}, "success": True},
    ]
    assert Job(queued(queue_events(*messages))).run() == [FILE]


def endless(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
    while True:
        exchange.send(b'data: {"msg": "heartbeat"}\n\n')
        time.sleep(0.02)


def test_a_job_that_takes_too_long_is_cancelled_at_the_server() -> None:
    """Closing the stream alone leaves a running function its slot."""
    job = Job(queued(endless), deadline_s=0.15)
    started_s = time.monotonic()
    assert isinstance(job.failure(), UpstreamTimeout)
    assert time.monotonic() - started_s < 0.6
    assert job.paths()[-1] == f"POST {CANCEL}"


def test_a_cancellation_that_fails_changes_nothing() -> None:
    job = Job({JOIN: JOINED, DATA: endless, CANCEL: status(500, {"error": "x"})}, deadline_s=0.1)
    assert isinstance(job.failure(), UpstreamTimeout)
    job = Job({JOIN: JOINED, DATA: endless, CANCEL: endless}, deadline_s=0.1)
    started_s = time.monotonic()
    assert isinstance(job.failure(), UpstreamTimeout)
    assert time.monotonic() - started_s < 1.1, "the answer leaves within a second of the deadline"


# ---------------------------------------------------------------------- differences


def outputs_after(*values: object) -> list[object]:
    outputs = _Outputs()
    for value in values:
        outputs.add(value)
    return outputs.latest


@pytest.mark.parametrize(
    ("steps", "result"),
    [
        ([["replace", [], "new"]], "new"),
        ([["replace", ["a"], 1]], {"a": 1, "l": [1, 2]}),
        ([["replace", ["l", 0], 9]], {"a": "x", "l": [9, 2]}),
        ([["append", ["a"], "yz"]], {"a": "xyz", "l": [1, 2]}),
        ([["append", ["l"], [3]]], {"a": "x", "l": [1, 2, 3]}),
        ([["add", ["b"], None]], {"a": "x", "l": [1, 2], "b": None}),
        ([["add", ["l", 0], 0]], {"a": "x", "l": [0, 1, 2]}),
        ([["delete", ["a"], None]], {"l": [1, 2]}),
        ([["delete", ["l", 1], None]], {"a": "x", "l": [1]}),
        ([["replace", ["a"], 1], ["replace", ["a"], 2]], {"a": 2, "l": [1, 2]}),
        ([], {"a": "x", "l": [1, 2]}),
        ([["replace", ["nope", "deeper"], 1]], {"a": "x", "l": [1, 2]}),
        ([["replace", ["l", 9], 1]], {"a": "x", "l": [1, 2]}),
        ([["delete", ["nope"], None]], {"a": "x", "l": [1, 2]}),
        ([["append", ["a"], 7]], {"a": "x", "l": [1, 2]}),
        ([["replace", [{"odd": 1}], 7]], {"a": "x", "l": [1, 2]}),
    ],
)
def test_differences_are_applied_and_nonsense_changes_nothing(steps: object, result: object) -> None:
    before: dict[str, object] = {"a": "x", "l": [1, 2]}
    assert outputs_after([before], [steps]) == [result]
    assert before == {"a": "x", "l": [1, 2]}


@pytest.mark.parametrize(
    "value", [["text"], [["replace", [], 1]], [[["rename", [], 1]]], [[["replace", "path", 1]]], [[], []]]
)
def test_what_is_not_all_differences_is_a_whole_value(value: list[object]) -> None:
    assert outputs_after(["first"], value)[: len(value)] == value


def test_an_earlier_output_stays_when_a_later_one_is_nothing() -> None:
    update = {"__type__": "update"}
    assert outputs_after(["a", FILE], ["b", update], ["c", None]) == ["c", FILE]
    assert outputs_after([FILE], [{"__type__": "update", "value": None}]) == [{"__type__": "update", "value": None}]


def test_a_value_too_deep_to_copy_is_left_alone() -> None:
    deep: list[object] = []
    for _ in range(5_000):
        deep = [deep]
    assert outputs_after([deep], [[["replace", [0], 1]]]) == [deep]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["replace", "append", "add", "delete"]),
        st.lists(st.one_of(st.integers(-3, 3), st.text(max_size=2), st.none(), st.booleans()), max_size=3),
        st.one_of(st.none(), st.integers(), st.text(max_size=3), st.lists(st.integers(), max_size=2)),
    ).map(list),
    max_size=4,
)


@given(
    st.recursive(
        st.one_of(st.none(), st.integers(), st.text(max_size=3)),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=2), inner, max_size=3)),
        max_leaves=8,
    ),
    STEPS,
)
@settings(max_examples=80, deadline=None)
def test_no_difference_breaks_anything(value: object, steps: list[object]) -> None:
    assert len(outputs_after([value], [steps])) == 1


# ---------------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("file", "url"),
    [
        (RemoteFile("/files/a.wav"), "https://h/gradio_api/file=/files/a.wav"),
        (RemoteFile("/files/a#b%20c;d é.wav"), "https://h/gradio_api/file=/files/a%23b%2520c%3Bd%20%C3%A9.wav"),
        (RemoteFile("C:\\clips\\a.wav"), "https://h/gradio_api/file=C%3A%5Cclips%5Ca.wav"),
        (RemoteFile("s1/42/61", is_stream=True), "https://h/gradio_api/stream/s1/42/61"),
        (RemoteFile("/s1/42/playlist.m3u8", is_stream=True), "https://h/gradio_api/stream/s1/42/playlist-file"),
        (RemoteFile("https://other.example/a b.wav"), "https://other.example/a b.wav"),
        (RemoteFile("HTTP://other.example/a.wav"), "HTTP://other.example/a.wav"),
        (RemoteFile("//other.example/a.wav"), "https://h/gradio_api/file=//other.example/a.wav"),
    ],
)
def test_a_file_is_fetched_by_its_path_below_our_own_address(file: RemoteFile, url: str) -> None:
    assert file_url("https://h/gradio_api", file) == url


@pytest.mark.parametrize("path", ["../../x", "/files/../x", ".."])
def test_a_path_that_climbs_out_of_its_folder_is_not_asked_for(path: str) -> None:
    with pytest.raises(UpstreamBadResponse, match="out of its folder"):
        file_url("https://h/gradio_api", RemoteFile(path))


# ---------------------------------------------------------------------- cancelling


def hold_open(started: threading.Event | None = None) -> Handler:
    """Return a handler that begins an event stream and then says nothing."""

    def handle(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        if started:
            started.set()
        exchange.connection.recv(1)  # returns when the client leaves

    return handle


@pytest.mark.parametrize("route", ["queue", "call"])
def test_a_job_that_is_cancelled_is_cancelled_at_the_server(route: str) -> None:
    started, cancelled = threading.Event(), threading.Event()
    table: dict[str, Any] = {DATA: hold_open(started), f"{CALL}/e1": hold_open(started), CANCEL: {"success": True}}
    table |= {JOIN: JOINED} if route == "queue" else {CALL: JOINED}
    job = Job(table, deadline_s=30, cancelled=cancelled)
    cancelled_s: list[float] = []

    def cancel() -> None:
        started.wait(5)
        cancelled_s.append(time.monotonic())
        cancelled.set()

    threading.Thread(target=cancel, daemon=True).start()
    error = job.failure()
    assert time.monotonic() - cancelled_s[0] < 0.6
    assert isinstance(error, Cancelled)
    assert not error.repeat
    told = job.server.requests[-1]
    assert (told.path, told.json()["event_id"]) == (CANCEL, "e1")


# ---------------------------------------------------------------------- going on with an earlier job


def message(kind: str, event_id: str = "e0", **more: object) -> dict[str, object]:
    return {"msg": kind, "event_id": event_id, **more}


def done(event_id: str = "e0", output: object = FILE) -> dict[str, object]:
    return message("process_completed", event_id, output={"data": [output]}, success=True)


@pytest.mark.parametrize(
    ("table", "route"), [(queued(completed(FILE)), "queue"), ({CALL: JOINED, f"{CALL}/e1": hold_open()}, "call")]
)
def test_the_ticket_is_told_before_anybody_waits_for_the_result(table: dict[str, Any], route: str) -> None:
    job = Job(table, deadline_s=0.3)
    if route == "queue":
        job.run()
    else:
        job.failure()
    ticket = Ticket.parse(job.progress[0].ticket or "")
    assert ticket is not None
    assert (ticket.route, ticket.event_id, ticket.fn_index) == (route, "e1", 7)
    assert [each.ticket for each in job.progress[1:]] == [None] * len(job.progress[1:])
    if route == "queue":
        assert job.server.requests[0].json()["session_hash"] == ticket.session_hash


def test_a_job_that_the_server_still_has_is_gone_on_with() -> None:
    stream = queue_events(message("estimation", rank=1), message("process_starts"), done())
    job = Job(queued(stream))
    assert job.run(job.ticket()) == [FILE]
    assert job.server.paths() == [f"GET {DATA}?session_hash=s0"]
    assert job.progress[0].queue_position == 1


LOST: dict[str, Handler] = {
    "heartbeats": queue_events({"msg": "heartbeat"}, {"msg": "heartbeat"}),
    "no such session": queue_events({"msg": "unexpected_error", "message": "404: ", "session_not_found": True}),
    "no such stream": status(404, {"detail": "Session not found."}),
    "nothing": event_stream(""),
    "another job": queue_events(done("e9")),
    "no JSON": event_stream("data: <html>\n\n"),
    "no object": event_stream("data: []\n\n"),
    "no events": status(200, {"error": "no"}),
    "cut off": lambda exchange: exchange.hang_up(),
}


@pytest.mark.parametrize("lost", LOST.values(), ids=LOST)
def test_a_job_that_the_server_lost_is_cancelled_and_started_anew(lost: Handler) -> None:
    job = Job({JOIN: JOINED, DATA: [lost, completed(FILE)], CANCEL: {"success": True}})
    assert job.run(job.ticket()) == [FILE]
    assert job.paths() == [f"GET {DATA}", f"POST {CANCEL}", f"POST {JOIN}", f"GET {DATA}"]
    assert job.server.requests[1].json() == {"event_id": "e0", "session_hash": "s0", "fn_index": 7}
    assert [Ticket.parse(each.ticket or "") is not None for each in job.progress] == [True]


def test_a_stream_that_stays_silent_is_that_of_a_lost_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.engines.huggingface.gradio.call.REPLAY_TIMEOUT_S", 0.2)
    job = Job({JOIN: JOINED, DATA: [hold_open(), completed(FILE)], CANCEL: {"success": True}}, deadline_s=10)
    started_s = time.monotonic()
    assert job.run(job.ticket()) == [FILE]
    assert time.monotonic() - started_s < 1
    assert job.paths() == [f"GET {DATA}", f"POST {CANCEL}", f"POST {JOIN}", f"GET {DATA}"]


def test_only_the_first_word_must_come_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.engines.huggingface.gradio.call.REPLAY_TIMEOUT_S", 0.1)

    def handle(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        for each in (message("process_starts"), done()):
            exchange.send(f"data: {json.dumps(each)}\n\n".encode())
            time.sleep(0.3)

    job = Job(queued(handle))
    assert job.run(job.ticket()) == [FILE]
    assert job.paths() == [f"GET {DATA}"]


def test_a_job_that_failed_meanwhile_has_failed() -> None:
    failed = message("process_completed", output={"error": "No drums"}, success=False)
    job = Job(queued(queue_events(message("process_starts"), failed)))
    assert job.failure(job.ticket()).detail == "No drums"
    assert job.paths() == [f"GET {DATA}"]


def test_a_stream_that_breaks_after_all_is_an_error_worth_repeating() -> None:
    job = Job(queued(queue_events(message("process_starts"))))
    error = job.failure(job.ticket())
    assert error.repeat
    assert job.paths() == [f"GET {DATA}", f"POST {CANCEL}"]


def test_nothing_is_started_anew_once_time_is_up() -> None:
    job = Job(queued(hold_open()), deadline_s=0.2)
    assert isinstance(job.failure(job.ticket()), UpstreamTimeout)
    assert job.paths() == [f"GET {DATA}", f"POST {CANCEL}"]


def test_a_job_of_the_documented_route_is_cancelled_and_started_anew() -> None:
    """While such a job waits its stream is silent, just as that of a lost one."""
    job = Job(queued(completed(FILE)))
    assert job.run(job.ticket("call")) == [FILE]
    assert job.paths() == [f"POST {CANCEL}", f"POST {JOIN}", f"GET {DATA}"]


NOT_OURS: list[str | dict[str, object]] = [
    *("", "not JSON", "[" * 10_000, "\ud800", "{}"),
    {"route": "run"},
    {"event_id": ""},
    {"session_hash": "x" * 201},
    {"fn_index": 8},
    {"api_url": "http://127.0.0.1:9"},
    {"more": 1},
]


@pytest.mark.parametrize("not_ours", NOT_OURS)
def test_a_ticket_that_is_none_or_is_not_ours_is_ignored(not_ours: str | dict[str, object]) -> None:
    job = Job(queued(completed(FILE)))
    ticket = not_ours if isinstance(not_ours, str) else json.dumps(json.loads(job.ticket()) | not_ours)
    assert job.run(ticket) == [FILE]
    assert job.paths() == [f"POST {JOIN}", f"GET {DATA}"]


def test_gradio_3_has_nothing_to_go_on_with() -> None:
    job = Job({"/run/predict": {"data": [FILE]}}, version="3.50.2")
    assert job.run("not a ticket") == [FILE]
    assert [each.ticket for each in job.progress] == [None]


def test_a_ticket_too_long_to_keep_is_not_told() -> None:
    job = Job({f"/{'a' * MAX_TICKET_CHARS}/queue/join": JOINED})
    job._app = App("6.31.0", job.server.url, "/" + "a" * MAX_TICKET_CHARS, ())
    job.failure()
    assert [each.ticket for each in job.progress] == [None]
