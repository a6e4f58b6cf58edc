"""Logs: one JSON object a line, whoever writes it, and no secret in any of them."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from app import logs
from app.logs import Scrubber
from app.settings import Settings

TOKEN = "hf_" + "aBcD1234" * 4

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _nothing_left_over() -> Iterator[None]:
    yield
    structlog.contextvars.clear_contextvars()
    logs.configure(Settings())


def lines(capsys: Captured) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_line_says_when_who_what_and_how_bad(capsys: Captured) -> None:
    logs.configure(Settings())

    structlog.get_logger("app.somewhere").warning("it happened", count=3, path=("a", "b"), nothing=None)

    (line,) = lines(capsys)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line.pop("timestamp"))
    assert line == {
        "event": "it happened",
        "level": "warning",
        "logger": "app.somewhere",
        "count": 3,
        "path": ["a", "b"],
        "nothing": None,
    }


@pytest.mark.parametrize("name", ["gunicorn.error", "werkzeug", "anything.else"])
def test_lines_of_libraries_look_the_same(capsys: Captured, name: str) -> None:
    logs.configure(Settings())

    logging.getLogger(name).warning("Listening at: %s", "http://127.0.0.1")

    (line,) = lines(capsys)
    assert set(line) == {"timestamp", "event", "level", "logger"}
    assert (line["event"], line["level"], line["logger"]) == ("Listening at: http://127.0.0.1", "warning", name)


def test_the_request_id_stands_on_every_line(capsys: Captured) -> None:
    logs.configure(Settings())
    structlog.contextvars.bind_contextvars(request_id="r1")

    structlog.get_logger("ours").info("ours")
    logging.getLogger("theirs").warning("theirs")

    assert [line["request_id"] for line in lines(capsys)] == ["r1", "r1"]


def test_an_exception_is_one_field_of_one_line(capsys: Captured) -> None:
    logs.configure(Settings())

    for logger in (structlog.get_logger("ours"), logging.getLogger("theirs")):
        try:
            raise KeyError("why")
        except KeyError:
            logger.exception("it broke")

    for line in lines(capsys):
        assert line["traceback"].startswith("Traceback (most recent call last):\n")
        assert line["traceback"].endswith("KeyError: 'why'")
        assert "exc_info" not in line


@pytest.mark.parametrize(("level", "expected"), [("DEBUG", 4), ("INFO", 3), ("WARNING", 2), ("ERROR", 1)])
def test_the_level_of_the_settings_holds_for_all(capsys: Captured, level: str, expected: int) -> None:
    logs.configure(Settings.model_validate({"STUDIO_LOG_LEVEL": level}))

    for logger in (structlog.get_logger("ours"), logging.getLogger("theirs")):
        for method in ("debug", "info", "warning", "error"):
            getattr(logger, method)("line")

    assert len(lines(capsys)) == 2 * expected


def test_addresses_that_a_library_opens_are_not_written_even_when_debugging(capsys: Captured) -> None:
    logs.configure(Settings.model_validate({"STUDIO_LOG_LEVEL": "DEBUG"}))

    logging.getLogger("urllib3.connectionpool").debug("GET /?token=secret")

    assert lines(capsys) == []


def test_configuring_again_does_not_double_the_lines(capsys: Captured) -> None:
    for _ in range(3):
        logs.configure(Settings())

    structlog.get_logger("ours").info("once")

    assert len(lines(capsys)) == 1


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_a_line_that_cannot_be_written_fails_neither_the_work_nor_the_format(capsys: Captured) -> None:
    logs.configure(Settings())
    (handler,) = [each for each in logging.getLogger().handlers if isinstance(each, logs._Stdout)]

    handler.handle(logging.LogRecord("theirs", logging.INFO, "", 1, "%s", (Unprintable(),), None))

    assert lines(capsys) == [{"event": "a log line could not be written", "level": "error", "logger": "theirs"}]


def test_a_closed_stdout_does_not_fail_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    logs.configure(Settings())
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)

    structlog.get_logger("ours").info("unheard")


def test_line_breaks_and_odd_characters_stay_inside_the_line(capsys: Captured) -> None:
    logs.configure(Settings())

    structlog.get_logger("ours").info("two\nlines\u2028\x00", value="\ud800")

    (line,) = lines(capsys)
    assert line["event"] == "two\nlines\u2028\x00"


# ---------------------------------------------------------------------- secrets


class Holder:
    def __repr__(self) -> str:
        return f"<Holder of {TOKEN}>"


@pytest.mark.parametrize("secret", [TOKEN, 'quo"te\\back', "12345678", "plain-token"])
def test_a_secret_is_blotted_out_wherever_it_stands(capsys: Captured, secret: str) -> None:
    logs.configure(Settings.model_validate({"HF_TOKEN": secret}))
    log = structlog.get_logger("ours").bind(bound=secret)

    event = f"event {secret}"
    log.info(event, nested={"list": [(secret,), {secret: {secret}}]}, text=f"x{secret}y", holder=Holder())
    log.warning("positional %s", secret)
    logging.getLogger("theirs").warning("to %s", secret)
    try:
        raise ValueError(secret)
    except ValueError:
        log.exception("broke")

    output = capsys.readouterr().out
    assert secret not in output
    assert json.dumps(secret)[1:-1] not in output
    assert TOKEN not in output
    assert output.count("***") >= 12
    for line in output.splitlines():
        json.loads(line)


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("nothing", "nothing"),
        ("hf_short", "hf_short"),
        ("hf_12345678", "***"),
        ("token=hf_abcdefghIJ, next", "token=***, next"),
        ("Authorization: Bearer abc.def-ghi", "Authorization: ***"),
        ("bearer  abc", "***"),
        ("{'Authorization': 'Bearer abc'}", "{'Authorization': '***'}"),
        ("forbearer x", "forbearer x"),
    ],
)
def test_what_looks_like_a_token_is_blotted_out_too(text: str, scrubbed: str) -> None:
    assert Scrubber()(text) == scrubbed


def test_the_longest_of_overlapping_secrets_goes_as_a_whole() -> None:
    assert Scrubber(["abc", "abcdef", ""])("xabcdefx") == "x***x"


@given(secret=st.text(min_size=1), before=st.text(), after=st.text())
def test_no_text_keeps_a_secret(secret: str, before: str, after: str) -> None:
    scrubbed = Scrubber([secret])(before + secret + after)

    assert "***" in scrubbed
    assert set(secret) <= {"*"} or secret not in scrubbed.replace("***", "") or secret in (before + after)
