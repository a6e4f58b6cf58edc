"""The service with a Hugging Face engine of its own for each upstream that a prompt names; for gunicorn to serve.

So one process meets hundreds of upstreams at the same time, and each for the first time: whatever an
engine finds out about its upstream, it keeps. Where an upstream is stands at the beginning of the
prompt, as `matrix.Run` writes it. All of them share pools, places, breaker and jobs, as calls
of one upstream would.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from app import background, create_app
from app.engines.engine import Brief, Report, Take, ignore
from app.engines.huggingface import ABILITIES, HuggingFace
from app.retry import Deadline, RetryBudget, RetryPolicy
from app.settings import Settings, load

_MOST_ENGINES: Final = 256
_MANY_REPEATS: Final = 100_000


class Switchboard:
    """Hands each brief to the engine of the upstream that it names."""

    name = "huggingface"
    abilities = ABILITIES

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine = lru_cache(_MOST_ENGINES)(self._new_engine)
        self.policy = RetryPolicy(settings.hf_attempts, settings.hf_timeout_s, settings.hf_backoff_s)

    def generate(self, brief: Brief, *, deadline: Deadline, report: Report = ignore, resume: str | None = None) -> Take:
        return self._engine(brief.prompt).generate(brief, deadline=deadline, report=report, resume=resume)

    def _new_engine(self, prompt: str) -> HuggingFace:
        url = f"http://127.0.0.1:{prompt.partition(' ')[0]}"
        return HuggingFace(self._settings.model_copy(update={"hf_api_url": url}))


_settings = load()
app = create_app(_settings, engine=Switchboard(_settings))

# Nearly all calls fail here, and each is to be repeated as if it were the only one: the budget, which
# forbids just that, has tests of its own.
background(app)._studio._budget = RetryBudget(capacity=_MANY_REPEATS)
