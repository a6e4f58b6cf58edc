"""Logs: one JSON object a line, whoever writes it, and no secret in any of them."""

from __future__ import annotations

import io
import json
import logging
import re
import sys
import time
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
def _nothing_left_over(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # A server that another test has run in this process keeps gunicorn's lines to itself.
    gunicorn = logging.getLogger("gunicorn.error")
    monkeypatch.setattr(gunicorn, "propagate", True)
    monkeypatch.setattr(gunicorn, "handlers", [])
    monkeypatch.setattr(gunicorn, "level", logging.NOTSET)
    yield
    structlog.contextvars.clear_contextvars()
    logs.configure(Settings())


def lines(capsys: Captured) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_line_says_when_who_what_and_how_bad(capsys: Captured) -> None:
    logs.configure(Settings())

    structlog.get_logger("app.somewhere").warning("it happened", count=3, path=("a", "b"), nothing=None)

    (line,) = lines(capsys)
    assert list(line)[:4] == ["timestamp", "level", "event", "count"]
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
        ("hf_abcdefghIJ", "***"),
        ("hf_ABCDEFGH", "***"),
        ("hf_attempts=2, hf_connect_timeout_s=10", "hf_attempts=2, hf_connect_timeout_s=10"),
        ("no module named hf_transfer, says hf_inference", "no module named hf_transfer, says hf_inference"),
        ("token=hf_abcdefghIJ, next", "token=***, next"),
        ("Authorization: Bearer abc.def-ghi", "Authorization: ***"),
        ("bearer  abc", "***"),
        ("{'Authorization': 'Bearer abc'}", "{'Authorization': '***'}"),
        ("forbearer x", "forbearer x"),
        ("X-API-Key: abc", "X-API-Key: ***"),
        ("{'x-api-key': 'abc', 'a': 1}", "{'x-api-key': '***', 'a': 1}"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: ***"),
        ("authorization=abc; x", "authorization=***; x"),
        ("unauthorized: abc", "unauthorized: abc"),
        ("redis://:pass@cache:6379/0 is away", "redis://***@cache:6379/0 is away"),
        ("postgresql://studio:p@ss:w@db/studio", "postgresql://***@db/studio"),
        ("https://host/path@2x.png", "https://host/path@2x.png"),
        ("mail me@example.com", "mail me@example.com"),
    ],
)
def test_what_looks_like_a_token_is_blotted_out_too(text: str, scrubbed: str) -> None:
    assert Scrubber()(text) == scrubbed


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key", "cookie", "Set-Cookie", "X-HF-Authorization"])
def test_headers_that_carry_secrets_are_blotted_out_in_mappings(capsys: Captured, header: str) -> None:
    logs.configure(Settings())

    structlog.get_logger("ours").info("asked", headers={header: "abc", "Accept": "audio/wav"})

    (line,) = lines(capsys)
    assert line["headers"] == {header: "***", "Accept": "audio/wav"}


SETTINGS_WITHOUT_SECRETS = [
    name
    for name, field in Settings.model_fields.items()
    if name not in {"hf_token", "api_keys", "database_url", "redis_url"}
]


def test_names_of_settings_can_be_read_and_the_secret_ones_have_no_value(capsys: Captured) -> None:
    logs.configure(Settings())
    log = structlog.get_logger("ours")

    log.info("fields", **dict.fromkeys(Settings.model_fields, "value"))
    log.info("mapping", settings=dict.fromkeys(Settings.model_fields, "value"))
    log.info("variables", settings={field.alias: "value" for field in Settings.model_fields.values()})

    in_line, in_mapping, as_variables = lines(capsys)
    named_as = {name: str(field.alias) for name, field in Settings.model_fields.items()}
    for told in (in_line, in_mapping["settings"]):
        assert {name for name in Settings.model_fields if told[name] == "value"} == set(SETTINGS_WITHOUT_SECRETS)
        assert {told[name] for name in set(named_as) - set(SETTINGS_WITHOUT_SECRETS)} == {"***"}
    for name, alias in named_as.items():
        assert as_variables["settings"][alias] == ("value" if name in SETTINGS_WITHOUT_SECRETS else "***")


@pytest.mark.parametrize(
    "name", ["token", "Token", "api_key", "API-Key", "X-Api-Key", "password", "hf_token", "secret"]
)
def test_what_is_named_as_a_secret_is_blotted_out_of_a_line_too(capsys: Captured, name: str) -> None:
    logs.configure(Settings())

    structlog.get_logger("ours").info("asked", **{name: "abc"}, deep=[{"deeper": {name: ["abc"]}}])

    (line,) = lines(capsys)
    assert line[name] == "***"
    assert line["deep"] == [{"deeper": {name: "***"}}]


@pytest.mark.parametrize(
    "name",
    ["tokens", "retry_tokens", "token_count", "has_token", "hf_token_is_set", "password_seen", "monkey", "cookies"],
)
def test_a_name_that_only_resembles_one_of_a_secret_keeps_its_value(capsys: Captured, name: str) -> None:
    logs.configure(Settings())

    structlog.get_logger("ours").info("asked", **{name: 7}, deep={name: "value"})

    (line,) = lines(capsys)
    assert (line[name], line["deep"]) == (7, {name: "value"})


def test_a_secret_that_is_not_there_is_told_as_missing(capsys: Captured) -> None:
    logs.configure(Settings())

    structlog.get_logger("ours").info("asked", token=None)

    (line,) = lines(capsys)
    assert line["token"] is None


def test_a_secret_is_blotted_out_of_names_as_well(capsys: Captured) -> None:
    logs.configure(Settings.model_validate({"HF_TOKEN": "plain-token"}))

    structlog.get_logger("ours").info("asked", **{"plain-token": 1}, deep={f"x-{TOKEN}": 2, "has plain-token": 3})

    (line,) = lines(capsys)
    assert line["***"] == 1
    assert line["deep"] == {"x-***": 2, "has ***": 3}


@pytest.mark.parametrize(
    "variable",
    ["STUDIO_DATABASE_URL=postgresql://studio:a-Pass-word@db/studio", "STUDIO_REDIS_URL=rediss://:a-Pass-word@r"],
)
def test_passwords_of_databases_are_blotted_out_wherever_they_stand(capsys: Captured, variable: str) -> None:
    name, _, url = variable.partition("=")
    logs.configure(Settings.model_validate({name: url}))

    structlog.get_logger("ours").warning(f"cannot open {url}", password_seen="its a-Pass-word it is", at=url)

    assert "a-Pass-word" not in capsys.readouterr().out


def test_scrubbing_a_long_hostile_text_takes_no_time() -> None:
    scrub = Scrubber(["a-secret-value"])
    started_s = time.perf_counter()
    for text in ("://" * 100_000, "://" + "a" * 300_000, "authorization " * 20_000, "bearer " * 40_000, "x" * 300_000):
        scrub(text)

    assert time.perf_counter() - started_s < 2


def test_the_longest_of_overlapping_secrets_goes_as_a_whole() -> None:
    assert Scrubber(["abc", "abcdef", ""])("xabcdefx") == "x***x"


@given(secret=st.text(min_size=1), before=st.text(), after=st.text())
def test_no_text_keeps_a_secret(secret: str, before: str, after: str) -> None:
    scrubbed = Scrubber([secret])(before + secret + after)

    assert "***" in scrubbed
    assert set(secret) <= {"*"} or secret not in scrubbed.replace("***", "") or secret in (before + after)


# ---------------------------------------------------------------------- for a person


def test_a_person_reads_the_time_how_bad_what_and_the_rest(capsys: Captured) -> None:
    logs.configure(Settings.model_validate({"STUDIO_LOG_FORMAT": "text"}))

    structlog.get_logger("ours").info("request", path="/health", status=200, code=None)
    logging.getLogger("gunicorn.error").warning('Listening at: "%s"', "http://127.0.0.1")

    ours, theirs = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r'\d\d:\d\d:\d\d INFO    request path="/health" status=200', ours)
    assert theirs[9:] == 'WARNING Listening at: "http://127.0.0.1"'


def test_a_person_reads_a_traceback_as_python_writes_it(capsys: Captured) -> None:
    logs.configure(Settings.model_validate({"STUDIO_LOG_FORMAT": "text"}))
    try:
        raise KeyError("why")
    except KeyError:
        structlog.get_logger("ours").exception("broke")

    first, *traceback = capsys.readouterr().out.splitlines()
    assert first.endswith("ERROR   broke")
    assert traceback[0] == "Traceback (most recent call last):"
    assert traceback[1].startswith('  File "')
    assert traceback[-1] == "KeyError: 'why'"


def test_a_terminal_gets_nothing_to_obey_and_no_secret(capsys: Captured) -> None:
    logs.configure(Settings.model_validate({"STUDIO_LOG_FORMAT": "text", "HF_TOKEN": TOKEN}))
    try:
        raise ValueError("\x1b[2J " + TOKEN)
    except ValueError:
        structlog.get_logger("ours").exception("\x1b[31m\nfake line", value="\x9b0m\r" + TOKEN, deep={"\x07": ["\x1b"]})

    output = capsys.readouterr().out
    assert TOKEN not in output
    assert re.fullmatch(r"[\x20-\x7e\n]*", output)
    assert "fake line" in output.splitlines()[0], "it begins no line of its own"


# ---------------------------------------------------------------------- at the start

STARTED = {"HF_API_URL": "owner/space", "STUDIO_HOST": "127.0.0.1"}


def announced(capsys: Captured, **settings: object) -> list[dict[str, Any]]:
    ours = Settings.model_validate({**STARTED, **settings})
    logs.configure(ours)
    logs.announce(ours, version="1.2.3")
    return lines(capsys)


def test_the_start_says_what_runs_within_which_limits(capsys: Captured) -> None:
    (line,) = announced(capsys, STUDIO_MAX_ACTIVE=7, STUDIO_FALLBACK="composer")

    assert line["event"] == "starting"
    assert (line["version"], line["engine"], line["fallback"]) == ("1.2.3", "huggingface", ["composer"])
    assert line["executor"] == "embedded"
    assert (line["database"], line["store"], line["shares_state"], line["callers"]) == ("sqlite", "folder", False, 0)
    assert line["limits"]["STUDIO_MAX_ACTIVE"] == 7
    assert line["limits"]["HF_ATTEMPTS"] == 2
    assert not [name for name in line["limits"] if "*" in name]


def test_the_start_tells_no_secret(capsys: Captured) -> None:
    announced(
        capsys,
        HF_TOKEN=TOKEN,
        STUDIO_DATABASE_URL="postgresql://studio:a-Pass-word@db/studio",
        STUDIO_REDIS_URL="rediss://:b-Pass-word@cache",
        STUDIO_API_KEYS="nina:" + "0" * 64,
        STUDIO_STORE_URL="s3://bucket/prefix",
    )
    logs.configure(Settings())
    structlog.get_logger("ours").info("unscrubbed")

    ours = Settings.model_validate({**STARTED, "HF_TOKEN": TOKEN, "STUDIO_REDIS_URL": "rediss://:b-Pass-word@cache"})
    logs.announce(ours, version="1")  # by a handler that knows none of them

    output = capsys.readouterr().out
    assert "Pass-word" not in output
    assert TOKEN not in output


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"HF_API_URL": None}, "HF_API_URL"),
        ({"HF_API_URL": "http://music.example.com"}, "HF_API_URL"),
        ({"HF_API_URL": "http://localhost:7860"}, None),
        ({"HF_API_URL": "http://music.example.com", "STUDIO_ENGINE": "composer"}, "HF_API_URL"),
        ({"STUDIO_DEADLINE_S": 30}, "STUDIO_DEADLINE_S"),
        ({"STUDIO_DEADLINE_S": 30, "STUDIO_ENGINE": "composer"}, None),
        ({"STUDIO_REDIS_URL": "redis://:b-Pass-word@cache:6379"}, "STUDIO_REDIS_URL"),
        ({"STUDIO_REDIS_URL": "rediss://:b-Pass-word@cache:6379"}, None),
        ({"STUDIO_REDIS_URL": "redis://localhost:6379"}, None),
        ({"STUDIO_HOST": "::"}, "STUDIO_RATE_LIMIT"),
        ({"STUDIO_HOST": "::", "STUDIO_RATE_LIMIT": "30/minute"}, "STUDIO_TRUSTED_PROXIES"),
        ({"STUDIO_HOST": "::", "STUDIO_RATE_LIMIT": "30/minute", "STUDIO_TRUSTED_PROXIES": 2}, None),
        ({"STUDIO_CORS_ORIGINS": "*"}, "STUDIO_CORS_ORIGINS"),
        ({"STUDIO_CORS_ORIGINS": "*", "STUDIO_API_KEYS": "nina:" + "0" * 64}, None),
    ],
)
def test_a_setting_that_looks_like_a_mistake_is_named(
    capsys: Captured, settings: dict[str, object], named: str | None
) -> None:
    _, *warnings = announced(capsys, **settings)

    assert [(each["level"], each["event"]) for each in warnings] == [("warning", "doubtful setting")] * len(warnings)
    assert [each["detail"].split()[0] for each in warnings] == ([named] if named else [])
