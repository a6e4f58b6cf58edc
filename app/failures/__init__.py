"""Why something failed, and what helps.

`analyse` reads an error, from one line to a whole log, and says which of the kinds in `types.TYPES` it is, how sure
that is, and what to do. It is pure and works offline; the text is data and never run.

A way through the package: `text` makes plain lines of anything, with `focus` for what is long and `unwrap` for what
is structured; `roles` says what each line is, `report` holds both; `rules/` are tables of wordings, which
`patterns` searches for; `analyser` weighs what was found, `advice` says what follows.
"""

from __future__ import annotations

from app.failures.analyser import analyse
from app.failures.diagnosis import Confidence, Diagnosis, Evidence
from app.failures.types import PHASES, TYPES, UNKNOWN, FailureType, markdown_table

__all__ = [
    "PHASES",
    "TYPES",
    "UNKNOWN",
    "Confidence",
    "Diagnosis",
    "Evidence",
    "FailureType",
    "analyse",
    "markdown_table",
]
