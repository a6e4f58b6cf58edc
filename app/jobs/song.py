"""What a song is: sections that are made one by one, as jobs of their own, and joined. Pure: no SQL, no engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from app.audio import AudioFormat
from app.engines.engine import Brief, SongPlace

MAX_SECTIONS: Final = 30
MIN_SECTION_S: Final = 3.0
MAX_SECTION_S: Final = 120.0
MAX_SONG_S: Final = 600.0

AT_A_TIME: Final = 4
"""Sections of one song that wait for a free slot or are being made at a time: whoever comes after a long song need not
wait for all of it."""

_DB_OF_ENERGY: Final = 1.25
"""For each step of energy that a section has less than the most driving one, it is that much quieter."""

_USUAL_ENERGY: Final = 3

MAKING_SECTIONS: Final = "The sections are being made…"
JOINING: Final = "The sections are being joined…"


def so_far(ready: int, failed: int, of: int) -> str:
    """Return what a song says while some of its sections are still being made."""
    lost = f", {failed} could not be made" if failed else ""
    return f"{ready} of {of} sections are ready{lost}"


def incomplete(names: list[str], of: int) -> str:
    """Return what a song says that has ended without some of its sections."""
    which = ", ".join(f"“{name}”" for name in names)
    kept = ". The others are kept" if len(names) < of else ""
    return f"{which} could not be made{kept}."


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a song.

    Attributes:
        name: A label for people, such as `Chorus`.
        brief: The piece that it is, with all that it has in common with the others; a WAV.
        energy: 1 (still) to 5 (driving), or None.
    """

    name: str
    brief: Brief
    energy: int | None = None

    def to_json(self) -> dict[str, object]:
        """Return the section in the words of the API."""
        brief = self.brief
        return {
            "name": self.name,
            "prompt": brief.prompt,
            "duration": brief.duration_s,
            "mood": brief.mood,
            "energy": self.energy,
            "tempo": brief.tempo_bpm,
            "instruments": list(brief.instruments),
            "seed": brief.seed,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the section that `to_json` wrote."""
        return cls(
            value["name"],
            Brief(
                prompt=value["prompt"],
                duration_s=value["duration"],
                seed=value["seed"],
                mood=value["mood"],
                tempo_bpm=value["tempo"],
                instruments=tuple(value["instruments"]),
            ),
            value["energy"],
        )


@dataclass(frozen=True, slots=True)
class PlacedSection:
    """A section in its song.

    Attributes:
        name: A label for people.
        brief: The piece that it is, with its place.
        start_s: When it begins, in seconds.
        gain_db: How much louder it shall be than it is made, 0 or less.
    """

    name: str
    brief: Brief
    start_s: float
    gain_db: float


@dataclass(frozen=True, slots=True)
class SongRequest:
    """What was asked for.

    Attributes:
        sections: In their order, 1 to `MAX_SECTIONS`.
        seed: Of what they have in common; each has another one for itself.
        title: A label for the file's name, or None.
        username: Another one, or None.
        format: How the joined track is delivered.
    """

    sections: tuple[Section, ...]
    seed: int
    title: str | None = None
    username: str | None = None
    format: AudioFormat = "wav"

    @property
    def name(self) -> str:
        """What the song is called where it needs a name."""
        return self.title or self.sections[0].brief.prompt

    @property
    def duration_s(self) -> float:
        return sum(section.brief.duration_s for section in self.sections)

    def starts_s(self) -> tuple[float, ...]:
        """Return when each section begins, in seconds."""
        ends = list(self._ends_s())
        return (0.0, *ends[:-1])

    def _ends_s(self) -> Iterator[float]:
        end_s = 0.0
        for section in self.sections:
            end_s += section.brief.duration_s
            yield round(end_s, 6)

    def place(self, number: int) -> SongPlace:
        """Return where section `number`, from 1, stands."""
        before = tuple(section.brief for section in self.sections[: number - 1])
        return SongPlace(before, seed=self.seed, leads_on=number < len(self.sections))

    def placed(self) -> tuple[PlacedSection, ...]:
        """Return the sections with what follows from their neighbours."""
        most = max(section.energy or _USUAL_ENERGY for section in self.sections)
        return tuple(
            PlacedSection(
                section.name,
                dataclasses.replace(section.brief, place=self.place(number)),
                start_s,
                gain_db=-_DB_OF_ENERGY * (most - (section.energy or _USUAL_ENERGY)),
            )
            for number, (section, start_s) in enumerate(zip(self.sections, self.starts_s(), strict=True), start=1)
        )

    def with_seeds(self, seeds: Mapping[int, int]) -> Self:
        """Return the song with other seeds for some sections, by their numbers."""
        changed = (
            dataclasses.replace(section, brief=dataclasses.replace(section.brief, seed=seeds[number]))
            if number in seeds
            else section
            for number, section in enumerate(self.sections, start=1)
        )
        return dataclasses.replace(self, sections=tuple(changed))

    def to_json(self) -> dict[str, object]:
        """Return the request in the words of the API."""
        return {
            "title": self.title,
            "username": self.username,
            "format": self.format,
            "seed": self.seed,
            "sections": [section.to_json() for section in self.sections],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Return the request that `to_json` wrote."""
        return cls(
            tuple(Section.from_json(section) for section in value["sections"]),
            seed=value["seed"],
            title=value["title"],
            username=value["username"],
            format=value["format"],
        )
