"""The parts that the analyser is made of: pieces of patterns, long texts, the catalogue."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.failures import PHASES, TYPES, contexts, report, roles, text
from app.failures import focus as focus_module
from app.failures.diagnosis import Evidence
from app.failures.focus import focus
from app.failures.patterns import MAX_SEARCHED_CHARS, Index, Search, required_pieces
from app.failures.report import Report
from app.failures.roles import role_of, with_roles
from app.failures.text import MAX_TEXT_CHARS, plain_lines, shorten


@pytest.mark.parametrize(
    ("pattern", "pieces"),
    [
        ("out of memory", ("out of memory",)),
        (r"cuda (?:error: )?out of memory", ("out of memory",)),
        (r"(?:refused|denied) here", ("refused", "denied")),
        (r"(?:a|be) connection", (" connection",)),
        (r"exit(?:ed)? code:? \d{1,3}", (" code",)),
        (r"\bsig(?:kill|term)\b", ("kill", "term")),
        (r"lines?|rows", ("line", "rows")),
        (r"disk error", ("disk error",)),
        (r"\bdisk\b.{0,9}error", ("disk",)),
        (r"[\]x]foo\.bar+", ("foo.bar",)),
        (r"(?!no )yes(?<!x)", ("yes",)),
        (r"\d{1,3}|text", ()),
        (r"x{0,3}", ()),
    ],
)
def test_the_pieces_that_every_match_contains(pattern: str, pieces: tuple[str, ...]) -> None:
    assert required_pieces(pattern) == pieces


@pytest.mark.parametrize("pattern", [r"(?i:text)", r"(?P<name>text)", r"\x41bc", r"(text)\1", r"text\n"])
def test_pieces_of_what_is_not_understood_are_not_guessed(pattern: str) -> None:
    with pytest.raises(ValueError, match="cannot tell"):
        required_pieces(pattern)


@given(st.from_regex(r"\A(?:ab|c(?:de|fg)?h{1,3})[xy]?ij+\Z"))
def test_every_match_contains_one_of_the_pieces(match: str) -> None:
    assert any(piece in match for piece in required_pieces(r"(?:ab|c(?:de|fg)?h{1,3})[xy]?ij+"))


def test_a_search_ends_when_its_budget_is_used_up() -> None:
    lines = "\n".join(f"{'x' * number} needle {'x' * 600}" for number in range(20))
    patterns = [f"needle x{{{number}}}y" for number in range(1, 1_000)]
    report = Report(Evidence(lines))
    search = Search(report, Index([*patterns, "needle x"]))
    tried = sum(search.finds(pattern) for pattern in patterns)

    assert tried == 0
    assert len(patterns) * 6 * 600 > MAX_SEARCHED_CHARS
    assert not search.finds("needle x")


def test_long_text_is_cut_from_the_middle() -> None:
    text = "begin" + "x" * MAX_TEXT_CHARS + "end"
    short = shorten(text)

    assert short.startswith("begin")
    assert short.endswith("end")
    assert len(short) <= MAX_TEXT_CHARS + 1
    assert shorten("as it is") == "as it is"


def test_of_a_long_text_the_ends_and_the_telling_places_are_read() -> None:
    text = f"first{'.' * 40_000}an error here{'.' * 40_000}last"
    read = focus(text)

    assert len(read) < len(text) / 4
    assert read.startswith("first")
    assert "an error here" in read
    assert read.endswith("last")


@given(st.text(max_size=300))
def test_any_text_becomes_lines(text: str) -> None:
    lines = plain_lines(text)

    assert all(line.strip() and "\n" not in line for line in lines)
    assert len(set(lines)) == len(lines)


def test_what_a_terminal_wrote_over_is_not_read_unless_it_is_an_error() -> None:
    assert plain_lines("Connecting\rrefused, once more\rKeyError: 'x'\rConnected\r\nDone\n") == [
        "KeyError: 'x'",
        "Connected",
        "Done",
    ]


def test_lines_that_a_terminal_broke_are_joined_and_tables_are_not() -> None:
    message = "RuntimeError: The size of tensor a must match the size of tensor b in a very narrow window of a terminal"
    broken = "\n".join(message[start : start + 42] for start in range(0, len(message), 42))
    table = [f"| {letter * 50} |" for letter in "xyz"]

    assert plain_lines(f"run\n{broken}\nend") == ["run", message, "end"]
    assert len(plain_lines("\n".join(table))) == 3


def test_escapes_are_resolved() -> None:
    assert plain_lines("it&#39;s &lt;this&gt; &amp; that") == ["it's <this> & that"]
    assert plain_lines('it said \\"no\\" twice') == ['it said "no" twice']


def test_no_word_is_lost_where_a_long_line_is_cut() -> None:
    for before in range(560, 720, 20):
        assert any("out of memory" in line for line in plain_lines("." * before + "out of memory" + "." * 900))


def test_of_many_lines_the_first_and_the_last_are_read() -> None:
    lines = plain_lines(
        "\n".join(f"{first}{second}" for first in "ghijklmnopqrstuvwxyz" for second in "ghijklmnopqrstuvwxyzGHIJKLMNOP")
    )

    assert len(lines) == 400
    assert (lines[0], lines[-1]) == ("gg", "zP")


def test_repeated_lines_are_read_once() -> None:
    assert plain_lines("\n".join(f"[rank{rank}]: ValueError: x" for rank in range(8))) == [" ValueError: x"]


def test_lines_that_differ_in_numbers_are_read_twice_and_each_status_is_a_line_of_its_own() -> None:
    lines = plain_lines("\n".join(f"try {number} at 0x{number:08x} failed" for number in range(9)))

    assert lines == ["try 0 at 0x00000000 failed", "try 1 at 0x00000001 failed"]
    assert len(plain_lines("\n".join(f"answered {status}" for status in (200, 201, 202, 503)))) == 3


def test_a_word_at_the_edge_of_what_is_read_stays_whole() -> None:
    around = "".join(f"{'abcdefghij'[number % 10] * 40} failed to start; " for number in range(3_000))

    assert all("failed to" in line for line in focus(around).split("\n") if "faile" in line[20:-20])


@pytest.mark.parametrize("module", [text, roles, contexts, report, focus_module], ids=lambda module: module.__name__)
def test_no_pattern_of_the_parts_repeats_without_bound(module: ModuleType) -> None:
    constants = [value for name, value in vars(module).items() if name.isupper()]
    patterns = [re.sub(r"(?m)\s#\s.*$", "", pattern) for pattern in strings_in(constants)]
    shapes = [re.sub(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", "C", pattern) for pattern in patterns]

    assert [shape for shape in shapes if re.search(r"[*+]|\{\d*,\}", shape)] == []


def strings_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from strings_in(each)


@pytest.mark.parametrize(
    ("line", "role"),
    [
        ('  file "/a/b.py", line 3, in run', "frame"),
        ("    at run (/a/b.js:3:7)", "frame"),
        ("valueerror: no", "error"),
        ("torch.cuda.outofmemoryerror: no", "error"),
        ("2026-01-01 00:00:00 [error] no", "error"),
        ("    raise valueerror('no')", "raise"),
        ("    return model(x)", "source"),
        ("      # a comment", "source"),
        ("warning: slow", "warning"),
        ("info: started", "log"),
        ('time=12:00 level=info msg="started"', "log"),
        ("info: the last error: none", "log"),
        ("level=error msg=x", "error"),
        ("e1122 15:24:29.123456 7 run.py:12] no", "error"),
        ('2026-01-01 00:00:00 error   file "/a/b.py", line 3, in run', "frame"),
        ('{"path": "/x", "error": null}', "plain"),
        ("/x.py:3: userwarning: slow", "notice"),
        ("/x.py:3: userwarning: not enough free disk space to download the file", "warning"),
        ("/x.py:3: userwarning: detected keyboardinterrupt, stopping", "warning"),
        ("torch 2.3.0", "notice"),
        ("no", "plain"),
    ],
)
def test_what_a_line_is(line: str, role: str) -> None:
    assert role_of(line, after_frame=False) == role


def test_the_line_after_a_frame_is_its_code() -> None:
    assert role_of("    error here", after_frame=True) == "source"


def test_all_of_a_quoted_statement_is_code_and_its_comments_say_nothing() -> None:
    lines = ['  File "/a.py", line 3, in f', "    check(", '        ok, "refused",', "    )  # no reply", "All is over"]

    assert [role for _, _, role in with_roles(lines)] == ["frame", "source", "source", "source", "plain"]
    assert [small for _, small, _ in with_roles(lines)][3] == ")"


def test_of_a_configuration_the_outer_keys_are_read_first_and_never_more_than_a_few() -> None:
    assert Report(Evidence("", {"eval": {"batch_size": 1}, "Batch_Size": 16})).config == {"batch_size": 16}

    wide = {f"a{number}": {f"b{inner}": inner for inner in range(100)} for number in range(100)}
    assert len(Report(Evidence("", {**wide, "rate": 1, "k" * 101: 1})).config) < 400
    assert Report(Evidence("", {**wide, "rate": 1})).config["rate"] == 1


def test_the_catalogue_is_sound() -> None:
    assert len(TYPES) == 48
    for kind in TYPES.values():
        assert re.fullmatch(r"[a-z0-9_]+", kind.name)
        assert {kind.phase, *kind.other_phases} <= set(PHASES)
        assert kind.meaning
        assert kind.advice
    assert TYPES["unknown"].phase == "unknown"
    assert not TYPES["unknown"].retryable


def test_the_module_runs_and_imports_little() -> None:
    code = "import sys, app.failures; print(sorted({m.split('.')[0] for m in sys.modules} & {'flask', 'numpy', 'pydantic', 'requests'}))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)

    assert ran.stdout == "[]\n"
