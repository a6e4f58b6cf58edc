"""What goes into an analysis, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Confidence = Literal["high", "medium", "low"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a failure.

    Attributes:
        text: The error as it was seen, from one line to a whole log.
        config: The settings of the run or the parameters of the request.
        status: The HTTP status that was answered.
        headers: The headers of that answer.
        elapsed_s: How long it took to fail, in seconds.
    """

    text: str
    config: Mapping[str, object] | None = None
    status: int | None = None
    headers: Mapping[str, str] | None = None
    elapsed_s: float | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What a failure is, and what helps.

    Attributes:
        error_type: A row of `TYPES`.
        error_phase: One of `PHASES`.
        description: What the type means, for people.
        confidence: `high` when the words are telling and nothing speaks against them.
        suggestions: What helps, the likeliest first.
        retryable: Whether doing the same again later is sensible.
        rule: The rule that decided, or None; for logs and tests, not for answers.
        line: The line that decided, or None; raw text, so not for answers either.
    """

    error_type: str
    error_phase: str
    description: str
    confidence: Confidence
    suggestions: tuple[str, ...]
    retryable: bool
    rule: str | None = None
    line: str | None = None

    def to_json(self, job_id: str | None = None) -> dict[str, object]:
        """Return the diagnosis in the words of the API."""
        return {
            "job_id": job_id,
            "error_type": self.error_type,
            "error_phase": self.error_phase,
            "description": self.description,
            "confidence": self.confidence,
            "suggestions": list(self.suggestions),
            "retryable": self.retryable,
        }
