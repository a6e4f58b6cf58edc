"""The engines, by the name that `STUDIO_ENGINE` gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from app.engines import composer, huggingface
from app.engines.engine import Engine
from app.settings import Settings

ENGINES: Final[Mapping[str, Callable[[Settings], Engine | None]]] = {
    "huggingface": huggingface.build,
    "composer": composer.build,
}
"""`build(settings)` of each engine; it returns None when the settings leave the engine unconfigured."""
