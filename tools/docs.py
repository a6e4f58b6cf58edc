"""Write the pages of `docs/` that are made from the code: `python -m tools.docs`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from app import errors, settings
from app.engines.composer.instruments import INSTRUMENTS
from app.engines.composer.plan.moods import MOODS
from app.engines.composer.styles import STYLES, Style

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

_COMPOSER: Final = """\
# Styles, instruments and moods of the embedded composer

<!-- Made from styles.py, instruments.py and moods.py in app/engines/composer/ by `make docs`; edit them there. -->

How they are used: [composer.md](composer.md).

"""

_QUARTERS: Final[Mapping[tuple[bool, bool], str]] = {
    (True, True): "bright, driving",
    (True, False): "bright, still",
    (False, True): "dark, driving",
    (False, False): "dark, still",
}
"""By whether valence and arousal are at least 0."""


def pages() -> Mapping[Path, str]:
    """Return the text of each generated page, by its path."""
    return {
        DOCS / "errors.md": _ERRORS + errors.markdown_table(),
        DOCS / "configuration.md": _CONFIGURATION + settings.markdown_table(),
        DOCS / "composer-tables.md": _COMPOSER + "\n".join(_composer_tables()) + "\n",
    }


def _composer_tables() -> Iterator[str]:
    yield f"## Styles ({len(STYLES)})\n"
    yield "Of several genres that are named, the one that stands higher counts. In brackets: who may come instead.\n"
    yield from _table(
        ("style", "tempo", "bright or dark mode", "feel", "who plays what"), map(_style_row, STYLES.values())
    )
    yield f"\n## Instruments ({len(INSTRUMENTS)})\n"
    yield "What each can be, the best first. Common synonyms and whole families are understood too.\n"
    families = itertools.groupby(sorted(INSTRUMENTS.values(), key=lambda row: row.family), key=lambda row: row.family)
    yield from _table(
        ("family", "instrument: roles"),
        ((family, "; ".join(f"{row.name}: {', '.join(row.roles)}" for row in rows)) for family, rows in families),
    )
    yield f"\n## Moods ({len(MOODS)})\n"
    yield "Words to offer; many more are understood, with *very*, *a bit* and *not*.\n"
    yield from _table(
        ("quarter", "words"), ((name, ", ".join(_moods_in(quarter))) for quarter, name in _QUARTERS.items())
    )


def _style_row(style: Style) -> tuple[str, ...]:
    metre = f"{style.beats_per_bar}/4"
    swing = f", {style.swung} swung {style.swing:.0%}" if style.swing > 0.5 else ""
    cast = "; ".join(
        f"{role}: {names[0]}" + (f" ({', '.join(names[1:])})" if names[1:] else "")
        for role, names in style.cast.items()
    )
    tempo = "{}–{}".format(*style.tempo_bpm)
    return style.name, tempo, " / ".join(style.modes), f"{metre} {style.form}, {style.melody}{swing}", cast


def _moods_in(quarter: tuple[bool, bool]) -> list[str]:
    return [word for word, (valence, arousal) in MOODS.items() if (valence >= 0, arousal >= 0) == quarter]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def main() -> None:
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
