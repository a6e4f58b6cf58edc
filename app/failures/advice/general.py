"""The advice that goes with a kind, without what is about another case of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from app.failures.compiled import compiled
from app.failures.report import Report
from app.failures.types import FailureType

NEEDS: Final[Mapping[str, str]] = {
    "At generation:": r"generat|inference|sampl|multinomial|probabilit|temperature|top_[kp]\b|decod|\bvae\b|diffusion|\bunet\b",
    "Lower the learning rate": r"loss|grad|train|epoch|\bsteps?\b|learning|optimi|\blr\b",
    "Install system libraries": r"\.so\b|\.dll\b|\.dylib|\blib[a-z]{3}|sndfile|ffmpeg|shared object",
    "Make save and eval": r"load_best_model|eval(?:uation)?_strategy|save_strategy|save and eval",
    "Remove options": r"unexpected|unrecogni[sz]ed|unknown|not recogni[sz]ed|no such option|invalid choice|\bextra\b|not permitted|deprecat|unsupported|not (?:a )?(?:valid|supported|in struct)",
    "Set the named variable": r"\bset\b|unset|missing|required|variable|_key|token|credential|must|provide|specif",
    "Install the named package": r"module|import|package|distribution|\bpip\b|install|requires|attribute|version",
    "Wait until the time": r"(?:again|retry|back|resets?) (?:at|on|tomorrow|later)",
    "Wait estimated_time": r"estimated_time",
    "Send wait_for_model": r"hugging|\bhf\b|estimated_time|inference|currently loading",
    "For an adapter,": r"adapter|\blora|\bpeft",
    "Set bf16=False": r"bf16|bfloat16",
    "Set tf32=False": r"tf32",
    "Close programs": r"winerror|\b[a-z]:[\\/]|windows|another process|is a directory",
    "Resume from the last checkpoint": r"train|epoch|checkpoint|\bsteps?\b|\blr\b|batch",
    "For model output:": r"llm|gpt|claude|gemini|completion|model|agent|output|choices|token|pydantic|langchain",
    "Install git-lfs": r"lfs|header|magic|load key|bytes|pointer|git|safetensors",
    "Set tokenizer.pad_token": r"pad",
    "Call model.resize_token_embeddings": r"embedding|vocab|index|range|token",
    "Check NCCL_SOCKET_IFNAME": r"nccl|gloo|socket|rendezvous|rank|connect|collective|watchdog",
    "Resize embeddings before": r"embed|lm_head|vocab|size mismatch",
}
"""By the beginning of a piece of advice, what the report or a key of its configuration must say for it to be to the point."""


def from_kind(kind: FailureType, report: Report) -> Sequence[str]:
    """Return the advice of the kind that fits the report; if none does, the likeliest."""
    said = "\n".join([report.small, *report.config])
    fitting = [advice for advice in kind.advice if _fits(advice, said)]
    return fitting or kind.advice[:1]


def _fits(advice: str, said: str) -> bool:
    return all(compiled(pattern).search(said) for beginning, pattern in NEEDS.items() if advice.startswith(beginning))
