"""The engines, by the name that `STUDIO_ENGINE` gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Final, Protocol, cast

from app.engines.engine import Abilities, Engine
from app.settings import Settings


def _nothing(_: Settings) -> None:
    return None


class _Module(Protocol):
    """What each engine's module offers."""

    ABILITIES: Abilities

    def build(self, settings: Settings) -> Engine | None: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of `ENGINES`. The engine's module is imported by whoever needs it first: a service carries its own only.

    Attributes:
        module: Where the engine is.
        upstream: Returns the address of what may be down although this service is well, or None where there is no
            such thing; a breaker stands before it.
    """

    module: str
    upstream: Callable[[Settings], str | None] = _nothing

    def build(self, settings: Settings) -> Engine | None:
        """Return the engine, or None when the settings leave it unconfigured; it opens no connection."""
        return self._module.build(settings)

    @property
    def abilities(self) -> Abilities:
        """Those of the engine, whether it is configured or not."""
        return self._module.ABILITIES

    @property
    def _module(self) -> _Module:
        return cast("_Module", import_module(self.module))


ENGINES: Final[Mapping[str, Entry]] = {
    "huggingface": Entry("app.engines.huggingface", lambda settings: settings.hf_api_url),
    "composer": Entry("app.engines.composer"),
}
