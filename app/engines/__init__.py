"""The engines, by the name that `STUDIO_ENGINE` gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from app.engines import composer, huggingface
from app.engines.engine import Abilities, Engine
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of `ENGINES`.

    Attributes:
        build: Returns the engine, or None when the settings leave it unconfigured; it opens no connection.
        abilities: Those of the engine, whether it is configured or not.
    """

    build: Callable[[Settings], Engine | None]
    abilities: Abilities


ENGINES: Final[Mapping[str, Entry]] = {
    "huggingface": Entry(huggingface.build, huggingface.ABILITIES),
    "composer": Entry(composer.build, composer.ABILITIES),
}
