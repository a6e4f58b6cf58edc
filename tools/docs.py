"""Write the pages of `docs/` that are made from the code: `python -m tools.docs`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from app import errors, failures, settings
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

_FAILURES: Final = """\
# Failures

<!-- Made from app/failures/types.py by `make docs`; edit it there. -->

What `app.failures.analyse` can find out from an error message or a log, by kind. It is asked with `POST
/api/analyze-failure`, for a job of this service with `GET /api/jobs/{id}/analyze-failure`, or on the command line with
`studio analyze --error 'CUDA out of memory'`, where `--error -` reads standard input. `confidence` is `high` where the
words are telling and nothing speaks against them, `medium` where they are less so or another kind is close, `low`
where they are weak; what is not recognised, healthy logs and warnings included, is `unknown` and `low`. Advice that
follows from the message and the configuration (names, waits, sizes, batch sizes) comes before the advice below.

How it works: text of any kind becomes a bounded number of plain lines; each line gets a role (an exception's own line
counts for more than quoted code, and warnings of healthy runs for next to nothing); every rule of
`app/failures/rules/` that finds its words scores for its kind, by how much the words prove and where they stand; the
highest score wins, and its distance to the next kind makes the confidence. How to add a rule stands in
[CONTRIBUTING.md](../CONTRIBUTING.md#what-a-failure-is-called); `make eval-failures LABELLED=labelled.jsonl` measures
the analyser on a labelled file.

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
        DOCS / "failures.md": _FAILURES + "\n".join(_failure_sections()) + "\n",
        DOCS / "composer-tables.md": _COMPOSER + "\n".join(_composer_tables()) + "\n",
    }


def _failure_sections() -> Iterator[str]:
    yield f"## Kinds ({len(failures.TYPES)})\n"
    yield from _table(
        ("kind", "phase", "retry?", "meaning"),
        (
            (f"[{row.name}](#{row.name})", row.phase, "yes" if row.retryable else "no", row.meaning)
            for row in failures.TYPES.values()
        ),
    )
    yield ""
    yield failures.markdown_table().rstrip()


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
