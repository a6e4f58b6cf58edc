"""One id and one trace, from the caller to the upstream."""

from __future__ import annotations

import base64
import json
import re

import pytest
from fakes import TONE
from unit.engines.huggingface.hf_wire import Exchange, serve

from app import create_app
from app.settings import Settings

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"
ANSWER = {"data": ["data:audio/wav;base64," + base64.b64encode(TONE.content).decode()]}


def play(exchange: Exchange) -> None:
    if exchange.method == "POST":
        exchange.answer_json(ANSWER)
    else:
        exchange.answer_json({}, status=404)


def test_the_upstream_learns_the_request_and_the_trace_and_so_does_the_log(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with serve(play) as upstream:
        client = create_app(Settings.model_validate({"HF_API_URL": f"{upstream.url}/run/predict"})).test_client()
        capsys.readouterr()
        response = client.post(
            "/studio-generate",
            json={"prompt": "rain"},
            headers={
                "X-Request-ID": "from-the-edge.1",
                "traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01",
                "tracestate": "congo=t61rcWkgMzE",
            },
        )
        asked = upstream.requests

    assert response.status_code == 200, response.text
    assert response.headers["X-Request-ID"] == "from-the-edge.1"
    assert {each.headers["x-request-id"] for each in asked} == {"from-the-edge.1"}
    assert {each.headers["tracestate"] for each in asked} == {"congo=t61rcWkgMzE"}
    parents = [re.fullmatch(rf"00-{TRACE_ID}-([0-9a-f]{{16}})-01", each.headers["traceparent"]) for each in asked]
    spans = {found[1] for found in parents if found}
    assert len(spans) == len(asked) >= 1, "each request has an id of its own"
    assert PARENT_ID not in spans
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["event"] for line in lines} >= {"finished piece", "request"}
    assert {(line["request_id"], line["trace_id"]) for line in lines} == {("from-the-edge.1", TRACE_ID)}


@pytest.mark.parametrize("sent", ["", "a b", "x" * 129, "a\tb", "é", "<script>"])
def test_an_id_that_could_do_harm_is_replaced_before_anybody_sees_it(sent: str) -> None:
    with serve(play) as upstream:
        client = create_app(Settings.model_validate({"HF_API_URL": f"{upstream.url}/run/predict"})).test_client()
        response = client.post("/studio-generate", json={"prompt": "rain"}, headers={"X-Request-ID": sent})
        asked = upstream.requests

    assert re.fullmatch(r"[0-9a-f]{32}", response.headers["X-Request-ID"])
    assert {each.headers["x-request-id"] for each in asked} == {response.headers["X-Request-ID"]}
