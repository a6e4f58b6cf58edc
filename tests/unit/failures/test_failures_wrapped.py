"""One message in everything that terminals, loggers, launchers and platforms wrap it in, and next to other lines."""

from __future__ import annotations

import html
import json
from collections.abc import Callable

import pytest

from app.failures import Evidence, analyse

TRACEBACK = """Traceback (most recent call last):
  File "/app/run.py", line 3, in main
    raise Missing("no such thing")
ModuleNotFoundError: No module named 'demucs'"""


def each_line(prefix: str) -> Callable[[str], str]:
    return lambda text: "\n".join(prefix + line for line in text.split("\n"))


@pytest.mark.parametrize(
    "wrapped",
    [
        each_line("2026-11-22T15:24:29.123456789Z "),
        each_line("2026-11-22T15:24:29.123+00:00 stderr F "),
        each_line("2026-11-22T15:24:29.123456+00:00 app[web.1]: "),
        each_line("2026-11-22 15:24:29,123 ERROR "),
        each_line("2026-11-22 15:24:29,123 - INFO - "),
        each_line("ERROR:app:"),
        each_line("Nov 22 15:24:29 host-1 python[1234]: "),
        each_line("E1122 15:24:29.123456 1234 run.py:12] "),
        each_line("[pod/trainer-7d9f8b6c5-abcde/trainer] "),
        each_line("studio-api  | "),
        each_line("studio_web_1  | "),
        each_line("web-1  | 2026-11-22T15:24:29Z "),
        each_line("0|studio  | "),
        each_line("12: "),
        each_line("[default0]:"),
        each_line("[1,0]<stderr>:"),
        each_line("[0]<stderr>:"),
        each_line("(Worker pid=1234, ip=10.0.0.1) "),
        each_line("[rank0]: "),
        each_line("> "),
        each_line("\u200b"),
        each_line("\x1b[0;31m"),
        each_line("\x1b[38:5:1m"),
        each_line("\x1b]0;title\x07"),
        each_line("\x1b(B"),
        each_line("\x9b31m"),
        each_line("[0;31m"),
        lambda text: f"\ufeff{text}",
        lambda text: text.replace("Module", "Mod\xadule").replace("module", "mod\u2060ule"),
        lambda text: text.replace(" ", "\u3000"),
        lambda text: text.replace("\n", "\u2028"),
        lambda text: text.replace("\n", "\x85"),
        lambda text: text.replace("\n", "\r\n"),
        "\0".join,
        lambda text: text.replace("'", "&#39;"),
        lambda text: text.replace("'", "\\u0027"),
        lambda text: "\n".join(json.dumps({"log": f"{line}\n", "stream": "stderr"}) for line in text.split("\n")),
        lambda text: json.dumps({"level": "info", "message": text}),
        lambda text: json.dumps({"status": "failed", "errors": [{"detail": text}]}, indent=2),
        lambda text: f"<style>p {{}}</style><p>{html.escape(text).replace(chr(10), '<br>')}</p>",
        repr,
    ],
)
def test_what_a_message_is_wrapped_in_costs_neither_its_kind_nor_its_certainty(wrapped: Callable[[str], str]) -> None:
    diagnosis = analyse(Evidence(wrapped(TRACEBACK)))

    assert (diagnosis.error_type, diagnosis.confidence) == ("missing_module", "high")


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda text: json.dumps({"detail": text}),
        json.dumps,
        lambda text: json.dumps({"level": "error", "message": f"begun\n{text}\nended"}),
        lambda text: f'time=2026-11-22T15:24:29Z level=error msg="{text}"',
        lambda text: f"<li>{text}</li>",
        lambda text: f"`{text}`",
        lambda text: f"'{text}'.",
    ],
)
@pytest.mark.parametrize(("text", "expected"), [("Killed", "host_oom_killed"), ("500", "upstream_error")])
def test_a_word_that_is_a_whole_message_is_known_within_others(
    wrapped: Callable[[str], str], text: str, expected: str
) -> None:
    assert analyse(Evidence(wrapped(text))).error_type == expected


@pytest.mark.parametrize(
    "dump",
    [
        "HOME=/root\nPYTORCH_CUDA_ALLOC_CONF=expandable_segments:True\nexport HF_TOKEN=x",
        "tests/test_errors.py::test_401_unauthorized PASSED        [ 33%]",
        'http_requests_total{code="503"} 0',
    ],
)
def test_what_was_set_passed_or_counted_as_nothing_is_no_failure(dump: str) -> None:
    assert analyse(Evidence(dump)).error_type == "unknown"


@pytest.mark.parametrize(
    ("beside", "error", "expected"),
    [
        ("WARNING: No module named 'xformers'. Proceeding without it.", "ModuleNotFoundError: No module named 'demucs'", "missing_module"),
        ("INFO certificate bundle loaded", "requests.exceptions.ConnectionError: [Errno 111] Connection refused", "connection_refused"),
        ("node1:7 [0] NCCL INFO cudaDriverVersion 12020", "ConnectionResetError: [Errno 104] Connection reset by peer", "connection_reset"),
        ("DEBUG read timed out once, retried", "urllib3.exceptions.ConnectTimeoutError: connection to x timed out", "connect_timeout"),
        ("INFO: SSL handshake with broker done", "requests.exceptions.HTTPError: 500 Server Error: Internal", "upstream_error"),
        ("level=info msg=\"connection reset by peer, will retry\"", "level=error msg=\"HTTP status 500\"", "upstream_error"),
        ("2026-11-22 15:24:29 INFO last error: connection refused", "Error: 500 Internal Server Error", "upstream_error"),
        ("WARNING urllib3: Retrying after NameResolutionError\nINFO done", "ValueError: Column name 'text' not in the dataset", "dataset_format"),
        ("    except OSError as e:  # no space left on device", "HTTPError: 500 Server Error", "upstream_error"),
    ],
)  # fmt: skip
def test_lines_that_tell_of_something_else_do_not_decide(beside: str, error: str, expected: str) -> None:
    assert analyse(Evidence(f"{beside}\n{error}")).error_type == expected


@pytest.mark.parametrize(
    "after",
    [
        "Exception ignored in: <_io.TextIOWrapper name='<stdout>'>\nBrokenPipeError: [Errno 32] Broken pipe",
        "Exception in thread Thread-3:\nTraceback (most recent call last):\nConnectionResetError: Connection reset by peer",
        "srun: error: node1: task 0: Killed",
    ],
)
def test_what_breaks_after_an_error_is_not_its_cause(after: str) -> None:
    alone = analyse(Evidence(after)).error_type

    assert alone in {"connection_reset", "host_oom_killed"}
    assert (
        analyse(Evidence(f"ValueError: Column name 'text' not in the dataset\n{after}")).error_type == "dataset_format"
    )
