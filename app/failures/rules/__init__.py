"""The tables of rules, by theme.

Order says nothing: every rule is asked, and the heaviest words win. To add a rule, put a row into the table it
belongs to, with an example; `CONTRIBUTING.md` shows one.
"""

from __future__ import annotations

from typing import Final

from app.failures.rule import Rule
from app.failures.rules import (
    access,
    checkpoints,
    connections,
    data,
    decoding,
    frames,
    machine,
    memory,
    ours,
    requests,
    training,
    upstream,
)

RULES: Final[tuple[Rule, ...]] = (
    *memory.RULES,
    *training.RULES,
    *data.RULES,
    *checkpoints.RULES,
    *machine.RULES,
    *connections.RULES,
    *access.RULES,
    *upstream.RULES,
    *requests.RULES,
    *decoding.RULES,
    *frames.RULES,
    *ours.RULES,
)
"""Every rule."""
