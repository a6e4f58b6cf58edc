"""The generated pages say what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.docs import pages


@pytest.mark.parametrize(("path", "text"), pages().items(), ids=[path.name for path in pages()])
def test_a_generated_page_is_current(path: Path, text: str) -> None:
    assert path.read_text(encoding="utf-8") == text, "run `make docs`"
