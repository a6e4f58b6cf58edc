"""The documents' code runs, and the commands they name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "CONTRIBUTING.md")


def code_blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("recipe", code_blocks("CONTRIBUTING.md", "python"))
def test_a_recipe_runs(recipe: str) -> None:
    exec(compile(recipe, "CONTRIBUTING.md", "exec"), {"__name__": "recipe"})  # noqa: S102 - our own document


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_make_target_that_a_document_names_exists(document: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = re.findall(r"\bmake ([a-z-]+)\b", "\n".join(code_blocks(document, "sh")))

    assert named
    assert set(named) <= targets


@pytest.mark.parametrize("document", [*DOCUMENTS, "docs/design.md", "docs/scaling.md"])
def test_every_file_that_a_document_names_exists(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    named = {ROOT / path for path in re.findall(r"`((?:app|tests|docs|tools|bench)/[\w./-]+)`", text)}
    named |= {(ROOT / document).parent / path for path in re.findall(r"\]\(((?!http)[\w./-]+)\)", text)}

    assert named
    assert [path for path in sorted(named) if not path.exists()] == []


def test_the_tests_that_contributing_names_exist() -> None:
    named = set(re.findall(r"`(test_\w+\.py)`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")))

    assert named
    assert named <= {path.name for path in (ROOT / "tests").rglob("test_*.py")}
