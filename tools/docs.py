"""Write the pages of `docs/` that are made from the code: `python -m tools.docs`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from app import errors, settings

DOCS: Final = Path(__file__).parents[1] / "docs"

_ERRORS: Final = """\
# Errors

<!-- Made from app/errors.py by `make docs`; edit it there. -->

Every failure is an `application/problem+json` answer (RFC 9457), on every route. `code` is stable and meant for
programs, `title` and `hint` are meant for people, and `retryable` says whether the same request may succeed later.
When it is known how much later, `retry_after` and the header `Retry-After` say it in seconds. `errors` names the
fields of an `invalid-request`, and `request_id` finds the request in the log. A running service shows this list at
`/docs/errors`.

"""

_CONFIGURATION: Final = """\
# Configuration

<!-- Made from app/settings.py by `make docs`; edit it there. -->

Studio is configured by environment variables and by nothing else. It does not start when one of them cannot be used;
it then lists all that are wrong, by name and never by value. An empty variable counts as unset, and a name that begins
with `STUDIO_` or `HF_` and is not listed here is refused, because a typo must not quietly become a default. Names that
the Hugging Face Hub's own tools read (`HF_HOME`, `HF_HUB_…`) are left alone.

"""


def pages() -> Mapping[Path, str]:
    """Return the text of each generated page, by its path."""
    return {
        DOCS / "errors.md": _ERRORS + errors.markdown_table(),
        DOCS / "configuration.md": _CONFIGURATION + settings.markdown_table(),
    }


def main() -> None:
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
