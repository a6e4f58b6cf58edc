"""The page about security names settings and tests that exist, and leaves out no item of the list it walks."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from app.settings import Settings

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
PROOFS: Final = re.findall(r"^- `(tests/[\w/]+\.py)::(\w+)`$", PAGE, re.MULTILINE)
RISKS: Final = (
    "Broken object level authorization",
    "Broken authentication",
    "Broken object property level authorization",
    "Unrestricted resource consumption",
    "Broken function level authorization",
    "Unrestricted access to sensitive business flows",
    "Server side request forgery",
    "Security misconfiguration",
    "Improper inventory management",
    "Unsafe consumption of APIs",
)
"""Source: https://owasp.org/API-Security/editions/2023/en/0x11-t10/, read 2026-11."""


@cache
def functions_of(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def section(heading: str) -> str:
    """Return what stands between this heading and the next one of its rank."""
    _, _, rest = PAGE.partition(f"\n## {heading}\n")
    return rest.partition("\n## ")[0]


@pytest.mark.parametrize(("file", "name"), sorted(set(PROOFS)), ids=lambda part: part)
def test_each_test_that_is_named_exists(file: str, name: str) -> None:
    assert (ROOT / file).is_file()
    assert name.startswith("test_")
    assert name in functions_of(file)


def test_every_mention_of_a_test_is_one_that_is_looked_up() -> None:
    assert len(PROOFS) == PAGE.count("tests/")


def test_all_ten_risks_are_walked_in_order() -> None:
    headings = re.findall(r"^## API(\d+):2023 (.+)$", PAGE, re.MULTILINE)

    assert headings == [(str(number), risk) for number, risk in enumerate(RISKS, start=1)]


@pytest.mark.parametrize("heading", [f"API{number}:2023 {risk}" for number, risk in enumerate(RISKS, start=1)])
def test_each_risk_has_its_proof(heading: str) -> None:
    assert re.search(r"^- `tests/", section(heading), re.MULTILINE)


def test_each_setting_that_is_named_exists() -> None:
    named = set(re.findall(r"\b(?:STUDIO|HF)_[A-Z_]+\b", PAGE))

    assert named <= {field.alias for field in Settings.model_fields.values()}
    assert {"STUDIO_API_KEYS", "STUDIO_RATE_LIMIT", "STUDIO_TRUSTED_PROXIES", "STUDIO_CORS_ORIGINS"} <= named


def test_the_figures_are_those_of_the_code() -> None:
    from app.web import body, edge

    assert f"{body.MAX_BODY_BYTES // 1024} KiB, {body.MAX_FIELDS} fields in an object" in PAGE
    assert f"a query {edge.MAX_QUERY_BYTES:,} and {edge.MAX_PARAMETERS} parameters" in PAGE
