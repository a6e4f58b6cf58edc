"""The error catalogue: complete, unambiguous, and drawn as it is."""

from __future__ import annotations

import re

import pytest

from app import errors
from app.errors import (
    MAX_RETRY_AFTER_S,
    EngineError,
    FieldError,
    InternalError,
    StudioError,
    UpstreamTimeout,
    catalogue,
)


def subclasses(parent: type[StudioError]) -> list[type[StudioError]]:
    return [each for child in parent.__subclasses__() for each in (child, *subclasses(child))]


def drawn() -> list[tuple[str, str]]:
    """Return child and parent of each line of the tree in the module's docstring."""
    pairs, path = [], ["StudioError"]
    for branch, name in re.findall(r"^([ │├└─]+)(\w+)$", errors.__doc__ or "", re.MULTILINE):
        depth = len(branch) // 4
        path = [*path[:depth], name]
        pairs.append((name, path[depth - 1]))
    return pairs


def test_the_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    classes = [(each.__name__, each.__mro__[1].__name__) for each in subclasses(StudioError)]

    assert drawn() == classes


def test_every_class_is_a_row_except_for_the_branch() -> None:
    assert {*catalogue(), EngineError} == set(subclasses(StudioError))


@pytest.mark.parametrize("row", catalogue(), ids=lambda row: row.code())
def test_a_row_is_complete(row: type[StudioError]) -> None:
    assert 400 <= row.status <= 599
    assert row.title.endswith(".")
    assert row.hint.endswith(".")
    assert row.when.endswith(".")
    assert isinstance(row.retryable, bool)
    assert row.retryable or not row.repeatable


def test_codes_are_kebab_case_and_unique() -> None:
    codes = [row.code() for row in catalogue()]

    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)
    assert len(set(codes)) == len(codes)
    assert UpstreamTimeout.code() == "upstream-timeout"


def test_an_error_without_words_reads_as_its_title() -> None:
    assert str(InternalError()) == InternalError.title
    assert str(InternalError("The disk is full.")) == "The disk is full."
    assert InternalError().detail == ""


def test_an_error_may_say_that_repeating_it_is_useless() -> None:
    assert UpstreamTimeout().repeat is True
    assert UpstreamTimeout(repeat=False).repeat is False
    assert InternalError().repeat is False


@pytest.mark.parametrize(
    ("given_s", "kept_s"), [(None, None), (0.0, 0.0), (-1.0, 0.0), (2.5, 2.5), (1e12, MAX_RETRY_AFTER_S)]
)
def test_a_wait_is_kept_within_a_day(given_s: float | None, kept_s: float | None) -> None:
    assert UpstreamTimeout(retry_after_s=given_s).retry_after_s == kept_s


def test_the_fields_to_blame_come_along() -> None:
    fields = (FieldError("prompt", "is required"),)

    assert errors.InvalidRequest(fields=fields).fields == fields


def test_the_table_has_a_line_for_every_row() -> None:
    lines = errors.markdown_table().splitlines()

    assert len(lines) == 2 + len(catalogue())
    assert all(line.count("|") == 7 for line in lines)
    assert all(f"`{row.code()}`" in line for row, line in zip(catalogue(), lines[2:], strict=True))
