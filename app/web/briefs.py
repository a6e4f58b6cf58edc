"""From what callers send to what is to be made. Without Flask: the command line makes music from the same words."""

from __future__ import annotations

import secrets
from typing import Final

from app.engines.engine import Brief, Format
from app.jobs.song import Section, SongRequest
from app.web.schemas import GenerateRequest, SectionRequest, SongBody

_WORDS_OF_ENERGY: Final = {1: "very calm", 2: "gentle", 4: "energetic", 5: "driving, very energetic"}


def brief_of(body: GenerateRequest, format: Format) -> Brief:
    """Return what the engine should make; the seed is drawn here when the caller leaves it open."""
    return Brief(
        prompt=body.prompt,
        duration_s=body.duration,
        seed=_seed(body.seed),
        mood=body.mood or None,
        tempo_bpm=body.tempo,
        instruments=body.instruments,
        format=format,
    )


def song_of(body: SongBody) -> SongRequest:
    """Return the song with everything spelled out that its sections have in common."""
    seed = _seed(body.seed)
    return SongRequest(
        tuple(_section(body, each, number, seed) for number, each in enumerate(body.sections, start=1)),
        seed=seed,
        title=body.title or None,
        username=body.username or None,
        format=body.format,
    )


def _section(body: SongBody, section: SectionRequest, number: int, seed: int) -> Section:
    words = (body.style, section.prompt, f"in the key of {body.key}" if body.key else None)
    mood = (section.mood or body.mood, _WORDS_OF_ENERGY.get(section.energy or 0))
    brief = Brief(
        prompt=", ".join(each for each in words if each),
        duration_s=section.duration,
        # Seeds of neighbours must differ, and be the same when the song is asked for again.
        seed=(seed + number) % 2**32 if section.seed is None else section.seed,
        mood=", ".join(each for each in mood if each) or None,
        tempo_bpm=body.tempo,
        instruments=section.instruments or body.instruments,
    )
    return Section(section.name or f"Section {number}", brief, section.energy)


def _seed(asked: int | None) -> int:
    return secrets.randbelow(2**32) if asked is None else asked
