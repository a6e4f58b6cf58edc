"""What can play: one row per instrument of the sound pack.

`tools/cut_sounds.py` cuts the sounds of these rows, the plan chooses among them, the score
keeps to their ranges, and MIDI files name them by `program`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Role = Literal["melody", "counter", "chords", "arpeggio", "pad", "bass", "drums"]
"""What a player does: the tune, an answering line, the harmony, a running figure, long chords, low notes, the beat."""

Family = Literal[
    "keys", "bells", "organ", "guitar", "bass", "strings", "voice", "brass", "reeds", "winds", "synth", "world", "drums"
]


@dataclass(frozen=True, slots=True)
class Instrument:
    """A row of `INSTRUMENTS`.

    Attributes:
        name: Its key, as answers and plans call it.
        family: What it counts as when only a family is asked for.
        words: Regular expression of the names that people use, searched for at the start of words.
        program: Of General MIDI, from 0; for drums that of the kit in bank 128.
        lowest: Lowest note that sounds well, as a MIDI number.
        highest: Highest note that sounds well.
        roles: What it can do, the best first.
        sustained: Sounds for as long as the player holds it, instead of dying away.
    """

    name: str
    family: Family
    words: str
    program: int
    lowest: int
    highest: int
    roles: tuple[Role, ...]
    sustained: bool = False


_ROWS: Final = (
    Instrument("piano", "keys", r"(?:grand |upright |concert |felt )?pianos?\b|klavier|pianoforte|pianist|fortepiano",
        0, 28, 100, ("chords", "melody", "arpeggio", "bass")),
    Instrument("honky-tonk piano", "keys", r"honky.?tonk(?: piano)?|(?:saloon|ragtime) piano",
        3, 36, 92, ("chords", "melody", "bass")),
    Instrument("electric piano", "keys", r"(?:electric|e).?pianos?\b|rhodes|wurlitzer|wurli\b|piano electrico",
        4, 36, 92, ("chords", "melody", "arpeggio", "bass")),
    Instrument("harpsichord", "keys", r"harpsichords?\b|cembalo|spinet|virginal|clavecin|clavicordio",
        6, 36, 89, ("chords", "melody", "arpeggio")),
    Instrument("clavinet", "keys", r"clavi(?:net)?\b",
        7, 36, 88, ("chords", "melody")),
    Instrument("celesta", "bells", r"celest[ae]s?\b",
        8, 60, 96, ("melody", "arpeggio", "chords")),
    Instrument("glockenspiel", "bells", r"glockenspiel|jingle bells",
        9, 67, 100, ("melody", "arpeggio", "counter")),
    Instrument("music box", "bells", r"music.?box(?:es)?|spieluhr|boite a musique|caja de musica",
        10, 60, 96, ("melody", "arpeggio", "chords")),
    Instrument("vibraphone", "bells", r"vibraphone?|vibraharp|vibrafon",
        11, 53, 89, ("melody", "chords", "arpeggio")),
    Instrument("marimba", "bells", r"marimba|balafon",
        12, 45, 91, ("arpeggio", "melody", "chords")),
    Instrument("xylophone", "bells", r"xylophone?|xilofon",
        13, 65, 96, ("melody", "arpeggio")),
    Instrument("tubular bells", "bells", r"(?:tubular|church|tower).?bells?|carillon",
        14, 60, 77, ("counter", "melody")),
    Instrument("dulcimer", "world", r"(?:hammered )?dulcimer|santo?ur|cimbalom|cymbalom|qanun|kanun\b",
        15, 48, 88, ("arpeggio", "melody", "chords")),
    Instrument("organ", "organ", r"hammond(?: organ)?|(?:jazz|rock|electric|drawbar|b.?3) organ|b.?3\b",
        16, 36, 91, ("chords", "melody", "pad", "bass", "counter"), sustained=True),
    Instrument("church organ", "organ", r"(?:church|pipe|cathedral) organ|kirchenorgel",
        19, 36, 91, ("chords", "pad", "melody", "bass"), sustained=True),
    Instrument("accordion", "organ", r"accord(?:ion|eon)|akkordeon|acordeon|fisarmonica|bandone?on|concertina"
        r"|squeeze.?box|harmonium|melodica",
        21, 53, 89, ("melody", "chords", "counter"), sustained=True),
    Instrument("harmonica", "reeds", r"harmonicas?\b|blues harp|mouth.?(?:organ|harp)|mundharmonika|armonica",
        22, 60, 84, ("melody", "counter"), sustained=True),
    Instrument("nylon guitar", "guitar", r"(?:nylon|classical|spanish|flamenco)(?:.?string)? guitars?\b"
        r"|ukuleles?|uke\b|lutes?\b|ouds?\b|charango",
        24, 40, 83, ("chords", "melody", "arpeggio")),
    Instrument("acoustic guitar", "guitar",
        r"(?:acoustic|steel|folk|western|12)(?:.?string)? guitars?\b|mandolins?|bouzouki",
        25, 40, 84, ("chords", "arpeggio", "melody")),
    Instrument("jazz guitar", "guitar", r"jazz guitars?\b|arch.?top|hollow.?body",
        26, 40, 84, ("chords", "melody")),
    Instrument("electric guitar", "guitar", r"clean (?:electric )?guitars?\b|telecaster|stratocaster",
        27, 40, 86, ("chords", "melody", "arpeggio", "counter")),
    Instrument("overdriven guitar", "guitar", r"(?:overdriven?|rock|crunchy?|bluesy?|slide) guitars?\b",
        29, 40, 86, ("chords", "melody", "counter"), sustained=True),
    Instrument("distorted guitar", "guitar", r"(?:distort(?:ed|ion)|heavy|metal|fuzz(?:y|ed)?)(?: electric)? guitars?\b"
        r"|power chords?|shredd(?:ing|er)\b",
        30, 40, 86, ("chords", "melody"), sustained=True),
    Instrument("double bass", "bass", r"(?:double|upright|acoustic|string|stand.?up|walking|jazz) bass\b|contra.?bass"
        r"|kontrabass|contrabajo|contrebasse",
        32, 28, 55, ("bass",)),
    Instrument("electric bass", "bass", r"bass.?guitars?|electric bass|finger(?:ed)? bass|e.?bass\b|bajo electrico",
        33, 28, 55, ("bass",)),
    Instrument("picked bass", "bass", r"(?:pick(?:ed)?|rock|plectrum) bass\b",
        34, 28, 55, ("bass",)),
    Instrument("fretless bass", "bass", r"fretless(?: bass)?",
        35, 28, 57, ("bass", "melody")),
    Instrument("slap bass", "bass", r"(?:slap(?:ped|ping)?|funk) bass",
        36, 28, 55, ("bass",)),
    Instrument("synth bass", "bass", r"synth(?:esi[sz]er)?.?bass|sub.?bass|808s?\b(?! drum| kit| beat)"
        r"|(?:acid|electronic|wobble) bass|reese",
        39, 24, 52, ("bass",), sustained=True),
    Instrument("violin", "strings", r"violini?s?\b|violon\b|violino|geigen?\b|violinist",
        40, 55, 96, ("melody", "counter", "pad"), sustained=True),
    Instrument("viola", "strings", r"violas?\b|bratsche",
        41, 48, 84, ("melody", "counter", "pad"), sustained=True),
    Instrument("cello", "strings", r"cell(?:os?|i)\b|violoncell[eo]|violonchelo|cellist",
        42, 36, 76, ("melody", "counter", "bass", "pad"), sustained=True),
    Instrument("pizzicato strings", "strings", r"pizzicato(?: strings?| violins?)?|plucked strings",
        45, 40, 86, ("chords", "arpeggio", "bass", "melody")),
    Instrument("harp", "strings", r"harps?\b|lyres?\b|harfe|harpe\b|arpas?\b|harpist",
        46, 36, 96, ("arpeggio", "chords", "melody")),
    Instrument("timpani", "drums", r"timpani|kettle.?drums?|pauken?\b",
        47, 36, 57, ("bass",)),
    Instrument("strings", "strings", r"(?:bowed )?strings?\b|string (?:section|ensemble|orchestra)|orchestra\b"
        r"|streicher|cordes\b|cuerdas|archi\b|cordas",
        48, 36, 93, ("pad", "chords", "melody", "counter", "bass", "arpeggio"), sustained=True),
    Instrument("choir", "voice", r"choirs?\b|choral|chorale|chants?\b|gregorian|chor\b|choeur|coros?\b|choruses\b",
        52, 43, 81, ("pad", "counter", "melody", "chords"), sustained=True),
    Instrument("voice", "voice", r"(?:ooh|aah)s?\b|humming|vocalise|soprano voice|solo voice",
        53, 48, 84, ("melody", "counter", "pad"), sustained=True),
    Instrument("trumpet", "brass", r"trumpets?\b|cornet|flugel.?horn|trompet[ae]?|trompette|tromba\b|bugle",
        56, 55, 84, ("melody", "counter"), sustained=True),
    Instrument("trombone", "brass", r"(?:bass )?trombones?\b|posaune|euphonium",
        57, 40, 72, ("counter", "melody", "bass"), sustained=True),
    Instrument("tuba", "brass", r"tubas?\b|sousaphone",
        58, 28, 58, ("bass",), sustained=True),
    Instrument("muted trumpet", "brass", r"muted trumpets?|harmon mute|trumpet with (?:a )?mute",
        59, 55, 84, ("melody", "counter"), sustained=True),
    Instrument("french horn", "brass", r"french horns?\b|waldhorn|corno\b|orchestral horns?",
        60, 41, 77, ("counter", "melody", "pad"), sustained=True),
    Instrument("brass", "brass", r"brass(?: (?:section|stabs?|hits))?\b|horn section|metais\b|metales\b|blechblaser"
        r"|cuivres",
        61, 41, 84, ("counter", "chords", "melody", "pad"), sustained=True),
    Instrument("soprano sax", "reeds", r"soprano sax\w*",
        64, 56, 87, ("melody", "counter"), sustained=True),
    Instrument("alto sax", "reeds", r"alto sax\w*",
        65, 49, 80, ("melody", "counter"), sustained=True),
    Instrument("tenor sax", "reeds", r"(?:tenor|baritone|bari) sax\w*",
        66, 44, 76, ("melody", "counter"), sustained=True),
    Instrument("oboe", "reeds", r"oboes?\b|hautbois|english horn|cor anglais|duduk|shehnai",
        68, 58, 89, ("melody", "counter"), sustained=True),
    Instrument("bassoon", "reeds", r"bassoons?\b|fagott?o?\b",
        70, 36, 70, ("counter", "bass", "melody"), sustained=True),
    Instrument("clarinet", "reeds", r"(?:bass )?clarinets?\b|klarinette|clarinette|clarinete|clarinetto",
        71, 50, 89, ("melody", "counter"), sustained=True),
    Instrument("piccolo", "winds", r"piccolos?\b|piccolo flute|fifes?\b",
        72, 74, 101, ("melody", "counter"), sustained=True),
    Instrument("flute", "winds", r"(?:alto |bass |concert )?flutes?\b|flaut[ao]s?\b|flote\b|querflote|flutist",
        73, 60, 93, ("melody", "counter"), sustained=True),
    Instrument("recorder", "winds", r"recorders?\b(?! app)|(?:tin|penny|irish).?whistles?|blockflote|bansuri",
        74, 60, 91, ("melody", "counter"), sustained=True),
    Instrument("pan flute", "winds", r"pan.?(?:flutes?|pipes?)|zampo|quena|siku\b",
        75, 60, 88, ("melody", "counter"), sustained=True),
    Instrument("shakuhachi", "winds", r"shakuhachi|(?:bamboo|native|chinese|japanese|asian) flutes?|dizi\b",
        77, 57, 86, ("melody", "counter"), sustained=True),
    Instrument("whistle", "winds", r"whistl(?:es?|ing)\b(?! ?blow)|ocarina",
        78, 67, 96, ("melody", "counter"), sustained=True),
    Instrument("square lead", "synth", r"square.?(?:wave|lead)s?|pulse wave|chip(?:tune)? (?:lead|synth)s?"
        r"|8.?bit (?:lead|synth)s?",
        80, 48, 96, ("melody", "arpeggio", "chords", "bass", "counter"), sustained=True),
    Instrument("saw lead", "synth", r"synth.?leads?\b|lead synth\w*|(?:super)?saw.?(?:tooth|waves?|lead|synth)s?"
        r"|super.?saws?",
        81, 43, 91, ("melody", "arpeggio", "chords", "counter"), sustained=True),
    Instrument("warm pad", "synth", r"(?:warm |synth(?:esi[sz]er)? |soft |analog |ambient |string )?pads?\b"
        r"|drone synth",
        89, 36, 88, ("pad", "chords"), sustained=True),
    Instrument("polysynth", "synth", r"poly.?synths?|plucks?\b|synth (?:keys|chords?|stabs?|arp\w*|plucks?)"
        r"|arpeggiator",
        90, 43, 91, ("chords", "arpeggio", "pad", "melody"), sustained=True),
    Instrument("sitar", "world", r"sitars?\b|tan?pura|sarod|veena",
        104, 48, 82, ("melody", "arpeggio")),
    Instrument("banjo", "world", r"banjos?\b",
        105, 48, 84, ("arpeggio", "melody", "chords")),
    Instrument("koto", "world", r"kotos?\b|shamisen|guzheng|guqin|pipa\b|zithers?",
        107, 48, 88, ("melody", "arpeggio", "chords")),
    Instrument("kalimba", "world", r"kalimba|thumb piano|mbira|sansula",
        108, 55, 91, ("melody", "arpeggio")),
    Instrument("bagpipe", "world", r"bag.?pipes?|uilleann|cornemuse|gaita",
        109, 55, 81, ("melody",), sustained=True),
    Instrument("fiddle", "strings", r"fiddles?\b|fiddler|erhu|hardanger",
        110, 55, 93, ("melody", "counter"), sustained=True),
    Instrument("steel drums", "world", r"steel.?(?:drums?|pans?)\b|hand.?pan|hang drum|tongue drum",
        114, 55, 86, ("melody", "arpeggio", "chords")),
    Instrument("drums", "drums", r"(?:acoustic|live|rock|real) (?:drums?|drum.?kit|percussion)\b",
        0, 36, 81, ("drums",)),
    Instrument("brushes", "drums", r"brush(?:es|ed)?\b(?: (?:drums?|snare|kit))?|jazz (?:drums?|kit)",
        40, 36, 81, ("drums",)),
    Instrument("electronic drums", "drums",
        r"(?:electronic|808|909|programmed) (?:drum.?kit|drums?|kit|beats?|percussion)|drum.?machines?",
        25, 36, 81, ("drums",)),
)  # fmt: skip

INSTRUMENTS: Final[Mapping[str, Instrument]] = {row.name: row for row in _ROWS}
"""By name."""
