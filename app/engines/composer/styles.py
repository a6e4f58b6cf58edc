"""The styles: one row each, everything that makes a piece one style and not another.

To add a style, add a row to `_ROWS`. Rows are tried from the top and the first whose
keywords occur in the request is taken, so that a narrow style stands before a broad one;
the last row takes every request that is left. `test_composer_styles.py` holds a new row to
what the score and the sounds can do.

A *figure* is bars in sixteenths, one character each; bars are set apart by `|`, which
counts nothing, and a figure of several bars is repeated. `-` holds what sounds, `.` is a
rest. What sounds:

- chords: `*` all tones, `^` the upper tones, `0` to `9` that tone of the voicing from below
  (beyond the top, the voicing goes on an octave up);
- bass: `0` the root, `1` the third, `2` the fifth, `3` the seventh (without one, the
  octave), `8` the root an octave up, `<` a step that leads to the next chord's root;
- drums: `x` a stroke, `X` an accent, `o` a ghost stroke, `~` a stroke in half of the bars.

A *progression* is chords by degree, a bar each: `I V vi IV`. Degrees count in the major
scale of the tonic whatever the mode, so that the sixth of a minor key is `bVI`. Capitals
are major, small letters minor; endings are those of lead sheets
(`7`, `maj7`, `m7b5`, `dim`, `sus4`, `sus2`, `6`, `9`, `add9`, `5`). Two chords share a bar
as `ii7,V7`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from app.engines.composer.instruments import Role

Figure = str
Drum = Literal[
    "kick", "snare", "rim", "clap", "hat", "pedal hat", "open hat", "ride", "bell", "crash", "low tom", "mid tom",
    "high tom", "tambourine", "cowbell", "shaker", "conga", "open conga", "low conga", "bongo", "clave", "triangle",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Style:
    """A row of `STYLES`.

    Attributes:
        name: Its key.
        keywords: Regular expression; it is searched for at the start of words, case folded.
        tempo_bpm: Quarter notes a minute of the calmest and of the liveliest piece.
        mood: (valence, arousal), -1 to 1, of a request that says nothing about it.
        modes: Of bright and of dark pieces; keys of `harmony.MODES`.
        progressions: Of bright and of dark pieces.
        cast: Who may play what, the most typical first. The roles stand in the order in which they leave when
            the piece is calm or short: the last go first.
        comping: Figures of the chords, from calm to lively.
        bass: Figures of the bass, from calm to lively.
        drums: Figures of the drums, from calm to lively.
        arpeggio: Figures of the running part, from calm to lively.
        drums_from: Arousal from which drums play unasked; 2 is never.
        beats_per_bar: 4, or 3 for a waltz; figures have four characters a beat.
        chord_tones: 3 for triads, 4 to add sevenths to the chords that are written without.
        swing: Where the second half of a beat falls, as a share of the beat; 0.5 is straight.
        swung: What is swung: eighths, or sixteenths.
        melody: How the tune moves: `singing` (long notes), `flowing` (eighths), `riffing` (short, syncopated,
            repeated), `sparse` (few notes, much air).
        pentatonic: The tune avoids the fourth and the seventh (in minor, the second and the sixth).
        form: `song` (intro, A, B, A…), `blues` (twelve bars), or `loop` (parts enter one after another).
        room_s: Seconds until the room has died away.
        room: How much of the room is heard, 0 to 1.
        looseness: How far players stray from the grid, 0 (machines) to 1.
    """

    name: str
    keywords: str
    tempo_bpm: tuple[int, int]
    mood: tuple[float, float]
    modes: tuple[str, str]
    progressions: tuple[Sequence[str], Sequence[str]]
    cast: Mapping[Role, Sequence[str]]
    comping: Sequence[Figure]
    bass: Sequence[Figure]
    drums: Sequence[Mapping[Drum, Figure]] = ()
    arpeggio: Sequence[Figure] = ("0-1-2-3-4-3-2-1-",)
    drums_from: float = -2.0
    beats_per_bar: Literal[3, 4] = 4
    chord_tones: Literal[3, 4] = 3
    swing: float = 0.5
    swung: Literal["eighths", "sixteenths"] = "eighths"
    melody: Literal["singing", "flowing", "riffing", "sparse"] = "flowing"
    pentatonic: bool = False
    form: Literal["song", "blues", "loop"] = "song"
    room_s: float = 1.4
    room: float = 0.35
    looseness: float = 0.5


_ROWS: Final = (
    Style(
        "chiptune",
        r"chip.?(?:tunes?|music)|(?:8|16|eight|sixteen).?bit|game.?boy|nintendo|nes\b|sega\b|commodore",
        tempo_bpm=(112, 168),
        mood=(0.5, 0.5),
        modes=("major", "minor"),
        progressions=(
            ("I V vi IV", "I bVII IV V", "vi IV I V", "I iii IV V"),
            ("i bVII bVI V7", "i bVI bIII bVII", "i iv bVII bIII"),
        ),
        cast={
            "melody": ("square lead",),
            "bass": ("synth bass",),
            "drums": ("electronic drums",),
            "arpeggio": ("square lead",),
            "chords": ("polysynth",),
            "counter": ("square lead", "saw lead"),
        },
        comping=("*-------*-------", "*---*---*---*---", "*-*-.-*-*-*-.-*-"),
        bass=("0---0---2---0---", "0-8-0-8-0-8-2-<-", "008-008-008-2-<-"),
        drums=(
            {"kick": "x.......x.......", "snare": "....x.......x...", "hat": "x...x...x...x..."},
            {"kick": "x.....x.x.......", "snare": "....x.......x..~", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "x..x..x.x..x..x.", "snare": "....X..~....X.xx", "hat": "xoxoxoxoxoxoxoxo"},
        ),
        arpeggio=("0-1-2-1-0-1-2-1-", "0123012301230123", "0213021302134543"),
        melody="riffing",
        room_s=0.5,
        room=0.12,
        looseness=0.0,
    ),
    Style(
        "lofi",
        r"lo.?fi\b|low.?fi\b|chill.?hop|jazz.?hop|(?:chill|study(?:ing)?|relaxing) beats?|beats to|chill.?out",
        tempo_bpm=(68, 90),
        mood=(0.0, -0.35),
        modes=("major", "dorian"),
        progressions=(
            ("Imaj7 vi7 ii7 V9", "IVmaj7 iii7 vi7 ii7,V7", "ii7 V7 Imaj7 vi7", "IVmaj7 iv6 iii7 vi7"),
            ("i7 iv7 bVIImaj7 bIIImaj7", "i9 iv9 bVII9 bIIImaj7", "i9 bVImaj7 iv9 v7"),
        ),
        cast={
            "chords": ("electric piano", "piano", "jazz guitar"),
            "bass": ("electric bass", "fretless bass", "double bass"),
            "drums": ("drums", "brushes"),
            "melody": ("vibraphone", "piano", "jazz guitar", "flute", "muted trumpet", "alto sax"),
            "pad": ("warm pad",),
        },
        comping=("*-----*---------", "*-----*-..*-----|*---..*-*-------", "*--*--*-..*-..*-|*-----*-..*-*---"),
        bass=("0---------2-----", "0-----0---2---<-", "0--0..8---2-0-<-"),
        drums=(
            {"kick": "x.........x.....", "snare": "....x.......x...", "hat": "x...x...x...x..."},
            {
                "kick": "x.....~x..x.....",
                "rim": "....x.......x...",
                "hat": "x.x.x.x.x.x.x.x.",
                "open hat": "..............~.",
            },
            {"kick": "x..~...x..x....~", "snare": "....x..o.o..x..o", "hat": "x.xox.x.xox.x.x."},
        ),
        chord_tones=4,
        swing=0.58,
        swung="sixteenths",
        melody="sparse",
        pentatonic=True,
        form="loop",
        room=0.3,
        looseness=0.9,
    ),
    Style(
        "drum and bass",
        r"drum ?\W?(?:and|n|&|und|y)\W? ?bass|d ?\W?(?:n|&)\W? ?b\b|dnb\b|jungle (?:music|beats?|techno)"
        r"|break.?(?:beat|core)s?|liquid d|neurofunk",
        tempo_bpm=(160, 176),
        mood=(0.0, 0.8),
        modes=("minor", "minor"),
        progressions=(
            ("i bVI bIII bVII", "bVImaj7 bVII i7 i7", "i7 iv7 bVImaj7 v7"),
            ("i i bVI bVII", "i iv bVI v", "i bII i bVII"),
        ),
        cast={
            "drums": ("electronic drums", "drums"),
            "bass": ("synth bass",),
            "pad": ("warm pad", "strings"),
            "melody": ("saw lead", "electric piano", "voice"),
            "arpeggio": ("polysynth",),
            "chords": ("polysynth", "electric piano"),
        },
        comping=("*---------------", "*-----*---------", "*--*--*-....*---"),
        bass=("0---------------", "0-----..0---2---", "0--0..0-..8-0-<-"),
        drums=(
            {"kick": "x.........x.....", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "X.........x.....|X.........x....~", "snare": "....X..o.o..X..o", "ride": "x.x.x.x.x.x.x.x."},
            {
                "kick": "X.x.......x.....|X.x...~...x.x...",
                "snare": "....X..o.o..X..o|....X..o.xo.Xo.x",
                "hat": "xoxoxoxoxoxoxoxo",
            },
        ),
        arpeggio=("0---2---1---2---", "0-2-1-2-3-2-1-2-", "0213021302134321"),
        melody="sparse",
        form="loop",
        room_s=1.8,
        looseness=0.15,
    ),
    Style(
        "hip hop",
        r"hip.?hop|trap\b|drill\b|rap\b|rapper|boom.?bap|grime\b|beat.?tape|phonk|g.?funk|trip.?hop|cloud rap",
        tempo_bpm=(72, 98),
        mood=(-0.2, 0.2),
        modes=("dorian", "minor"),
        progressions=(
            ("i7 iv7 i7 bVII", "i7 bIIImaj7 iv7 v7", "ii7 V7 i7 i7"),
            ("i bVI i v", "i i bVI bVII", "i bII i bVI"),
        ),
        cast={
            "drums": ("electronic drums", "drums"),
            "bass": ("synth bass", "electric bass"),
            "chords": ("electric piano", "piano", "harp"),
            "melody": ("flute", "voice", "celesta", "pan flute", "muted trumpet"),
            "pad": ("strings", "choir"),
            "arpeggio": ("pizzicato strings",),
        },
        comping=("*---------------", "*-----*---------", "*-----*-..*-..*-|*-----*---------"),
        bass=("0---------------", "0-----0-..0-----", "0--0..0-..0-8-<-"),
        drums=(
            {"kick": "x.........x.....", "snare": "....x.......x...", "hat": "x...x...x...x..."},
            {
                "kick": "X..x..x...x.....",
                "snare": "....X.......X...",
                "clap": "....x.......x...",
                "hat": "x.x.x.x.x.x.x.xo",
            },
            {
                "kick": "X..x..x..xx...~.",
                "snare": "....X..o....X..o",
                "clap": "....x.......x...",
                "hat": "x.xox.xxx.xox.xx",
                "open hat": "......x.........",
            },
        ),
        swing=0.55,
        swung="sixteenths",
        melody="sparse",
        form="loop",
        room_s=1.2,
        room=0.25,
        looseness=0.35,
    ),
    Style(
        "synthwave",
        r"synth.?wave|retro.?wave|out.?run\b|vapou?r.?wave|dark.?wave|chill.?wave|cyber.?punk|synth.?pop|new wave"
        r"|italo.?disco",
        tempo_bpm=(84, 118),
        mood=(-0.1, 0.3),
        modes=("major", "minor"),
        progressions=(("vi IV I V", "IV V vi I", "I iii vi IV"), ("i bVI bIII bVII", "i bVII bVI bVII", "i iv bVI V")),
        cast={
            "bass": ("synth bass",),
            "drums": ("electronic drums",),
            "pad": ("warm pad",),
            "melody": ("saw lead", "polysynth"),
            "arpeggio": ("polysynth", "saw lead"),
            "chords": ("polysynth",),
        },
        comping=("*---------------", "*-------*-------", "*--*--*-*--*--*-"),
        bass=("0---0---0---0---", "0-0-0-0-0-0-0-0-", "000-000-000-0-8-"),
        drums=(
            {"kick": "x.......x.......", "snare": "....x.......x...", "hat": "x...x...x...x..."},
            {"kick": "X...x...X...x...", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."},
            {
                "kick": "X...x...X...x.x.",
                "snare": "....X.......X..x",
                "hat": "xoxoxoxoxoxoxoxo",
                "open hat": "..x...x...x...x.",
            },
        ),
        arpeggio=("0-1-2-3-2-1-2-1-", "0121232101212321", "0213243502132435"),
        melody="singing",
        room_s=2.2,
        room=0.45,
        looseness=0.05,
    ),
    Style(
        "bossa nova",
        r"bossa(?: ?nova)?|samba|ipanema|brazilian|brasil\w*|mpb\b",
        tempo_bpm=(104, 148),
        mood=(0.5, -0.1),
        modes=("major", "dorian"),
        progressions=(
            ("Imaj7 VI7 ii7 V7", "Imaj7 II7 ii7 V7", "Imaj7 bII7 ii7 V7", "iii7 VI7 ii7 V7"),
            ("i7 iv7 V7 i7", "i6 iim7b5 V7 i6", "i7 bVImaj7 iim7b5 V7"),
        ),
        cast={
            "chords": ("nylon guitar", "piano", "jazz guitar"),
            "bass": ("double bass", "electric bass"),
            "melody": ("flute", "tenor sax", "nylon guitar", "vibraphone", "trumpet"),
            "drums": ("brushes", "drums"),
            "pad": ("strings",),
        },
        comping=("*-----*-----*---", "*--*--*-..*--*--", "*--*--*-*--*-*-*"),
        bass=("0-----2-2-----0-", "0-----0-2-----2-", "0--.0-2-2--.2-<-"),
        drums=(
            {"rim": "x.....x.....x...", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "x..xx..xx..xx..x", "rim": "x..x..x...x..x..", "hat": "xoxoxoxoxoxoxoxo"},
            {
                "kick": "x..xx..xx..xx..x",
                "rim": "x..x..x...x..x..",
                "shaker": "xoxoxoxoxoxoxoxo",
                "conga": "......x.......x.",
                "open conga": ".......x.......x",
            },
        ),
        chord_tones=4,
        melody="flowing",
        room_s=1.2,
        looseness=0.6,
    ),
    Style(
        "latin",
        r"latin[oa]?\b|salsa|mambo|cubano?a?\b|cumbia|reg+a?eton|regueton|merengue|bachata|cha.?cha|rumba|tango"
        r"|mariachi|flamenco|mexican|bolero",
        tempo_bpm=(92, 116),
        mood=(0.6, 0.5),
        modes=("major", "minor"),
        progressions=(("I IV V IV", "I vi ii7 V7", "ii7 V7 I VI7"), ("i iv V7 i", "i bVII bVI V7", "i V7 i V7")),
        cast={
            "chords": ("piano", "nylon guitar"),
            "bass": ("electric bass", "double bass"),
            "drums": ("drums",),
            "melody": ("trumpet", "flute", "trombone", "nylon guitar"),
            "counter": ("brass", "trombone"),
            "pad": ("strings",),
        },
        comping=("*-----*-..*-*---", "*-..*-*-..*-*-..|..*-..*-*-..*-*-", "*.**.*.*.**.**.*|.**.*.*.**.*.**."),
        bass=("0-----2-----8---", "0-----2-----2---", "0--.0-2---2-0-<-"),
        drums=(
            {"kick": "x.......x.......", "clave": "x.....x.....x...|....x...x.......", "shaker": "x.x.x.x.x.x.x.x."},
            {
                "kick": "x.....x.x.....x.",
                "clave": "x.....x.....x...|....x...x.......",
                "conga": "x.x.x...x.x.x...",
                "open conga": "......xx......xx",
                "shaker": "xoxoxoxoxoxoxoxo",
            },
            {
                "kick": "x..x..x.x..x..x.",
                "cowbell": "x...x...x.x.x.x.",
                "conga": "x.x.x.o.x.x.x.o.",
                "open conga": "......xx......xx",
                "low conga": "..~.......~.....",
                "clave": "x..x..x.....x...|....x...x.......",
            },
        ),
        melody="riffing",
        room_s=1.1,
        looseness=0.5,
    ),
    Style(
        "reggae",
        r"reggae(?!ton)|dub\b|ska\b|dance.?hall|rock.?steady|roots rock|jamaican|raggae",
        tempo_bpm=(68, 92),
        mood=(0.5, 0.0),
        modes=("major", "minor"),
        progressions=(
            ("I IV I V", "I V vi IV", "I ii IV I", "I IV ii V"),
            ("i iv i v", "i bVII i bVII", "i bVI bVII i"),
        ),
        cast={
            "chords": ("electric guitar", "organ"),
            "bass": ("electric bass",),
            "drums": ("drums",),
            "melody": ("organ", "trombone", "steel drums", "harmonica", "tenor sax"),
            "counter": ("trombone", "brass"),
            "pad": ("organ",),
        },
        comping=("....^.......^...", "....^-..^...^-..|....^.......^...", "....^-^.....^-^."),
        bass=("0-----0---2-----", "0---..0-1-2---..", "0--00-..2-1-0-<-"),
        drums=(
            {"kick": "........x.......", "rim": "........x.......", "hat": "x...x...x...x..."},
            {"kick": "........X.......", "rim": "........X.....~.", "hat": "x.xox.x.x.xox.x."},
            {
                "kick": "x...x...X...x...",
                "snare": "........X..o....",
                "hat": "x.xox.x.x.xox.x.",
                "open hat": "..............x.",
            },
        ),
        swing=0.6,
        swung="sixteenths",
        melody="riffing",
        pentatonic=True,
        room_s=1.6,
        room=0.4,
        looseness=0.6,
    ),
    Style(
        "blues",
        r"(?<!rhythm and )(?<!rhythm & )blues\b|boogie|(?:12|twelve).?bar|delta blues|jump blues",
        tempo_bpm=(66, 128),
        mood=(0.0, 0.0),
        modes=("mixolydian", "dorian"),
        progressions=(
            ("I7 I7 I7 I7 IV7 IV7 I7 I7 V7 IV7 I7 V7", "I7 IV7 I7 I7 IV7 IV7 I7 VI7 ii7 V7 I7 V7"),
            ("i7 i7 i7 i7 iv7 iv7 i7 i7 bVI7 V7 i7 V7", "i7 iv7 i7 i7 iv7 iv7 i7 i7 V7 iv7 i7 V7"),
        ),
        cast={
            "chords": ("piano", "electric guitar", "organ"),
            "bass": ("electric bass", "double bass"),
            "drums": ("drums", "brushes"),
            "melody": ("harmonica", "overdriven guitar", "tenor sax", "electric guitar"),
            "counter": ("tenor sax", "organ"),
        },
        comping=("*-----*-*-------", "*-..*-*-*-..*-..", "*-*-..*-*-*-..*-"),
        bass=("0---2---0---2---", "0---1---2---3---|8---3---2---1---", "0-0-1-1-2-2-3-3-|8-8-3-3-2-2-1-1-"),
        drums=(
            {"kick": "x.......x.......", "snare": "....x.......x...", "ride": "x...x.x.x...x.x."},
            {"kick": "x.......x.....~.", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "x.....x.x.....x.", "snare": "....X.o.....X.o.", "ride": "X.x.X.x.X.x.X.x."},
        ),
        chord_tones=4,
        swing=0.66,
        melody="riffing",
        pentatonic=True,
        form="blues",
        room_s=1.1,
        room=0.25,
        looseness=0.8,
    ),
    Style(
        "disco",
        r"(?:nu.?)?disco\b|motown|philly soul",
        tempo_bpm=(110, 126),
        mood=(0.7, 0.6),
        modes=("major", "dorian"),
        progressions=(
            ("Imaj7 vi7 ii7 V7", "I vi IV V", "IVmaj7 iii7 ii7 V7"),
            ("i7 IV7 i7 IV7", "i7 bVImaj7 bVII i7", "i7 iv7 bVII7 bIIImaj7"),
        ),
        cast={
            "drums": ("drums",),
            "bass": ("electric bass", "slap bass"),
            "chords": ("electric guitar", "electric piano", "clavinet"),
            "melody": ("strings", "brass", "voice", "alto sax"),
            "pad": ("strings",),
            "counter": ("brass", "strings"),
        },
        comping=("....^.......^...", "..^...^...^...^.", "..^^..^.^.^^..^."),
        bass=("0---8---0---8---", "0-8-0-8-0-8-0-8-", "0-8-0-8-2-8-3-<-"),
        drums=(
            {"kick": "x...x...x...x...", "hat": "..x...x...x...x."},
            {
                "kick": "X...X...X...X...",
                "snare": "....X.......X...",
                "open hat": "..x...x...x...x.",
                "hat": "x...x...x...x...",
            },
            {
                "kick": "X...X...X...X...",
                "snare": "....X.......X...",
                "clap": "....x.......x...",
                "hat": "xox.xox.xox.xox.",
                "open hat": "..x...x...x...x.",
                "tambourine": "..o...o...o...o.",
            },
        ),
        chord_tones=4,
        melody="riffing",
        room_s=1.3,
        looseness=0.35,
    ),
    Style(
        "funk",
        r"funk(?:y|adelic)?\b|slap bass groove|wah.?wah",
        tempo_bpm=(88, 116),
        mood=(0.5, 0.6),
        modes=("mixolydian", "dorian"),
        progressions=(
            ("I7 I7 IV7 I7", "I9 I9 I9 IV9", "I7 bVII9 IV7 I7"),
            ("i7 i7 IV7 i7", "i9 i9 iv9 i9", "i7 bIII IV i7"),
        ),
        cast={
            "drums": ("drums",),
            "bass": ("slap bass", "electric bass"),
            "chords": ("clavinet", "electric guitar", "electric piano"),
            "melody": ("tenor sax", "trumpet", "organ", "alto sax"),
            "counter": ("brass", "trombone"),
            "pad": ("organ",),
        },
        comping=("*...*.......*...", "*..*..*...*..*..|*..*....*.*.....", "*.**..*.**.*..*.|*..*.**...**.*.."),
        bass=("0-....0-....2-<-", "0-.0..3-8-.0..<-|0-.0..2-..3-8-<-", "00.0.83-.0.08.<-|00.0.2.3.8.83.<-"),
        drums=(
            {"kick": "X.....x...x.....", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."},
            {"kick": "X..x..x...x..~..", "snare": "....X..o.o..X..o", "hat": "xoxoxoxoxoxoxoxo"},
            {
                "kick": "X.x...x..xx..x..",
                "snare": "....X..o.o.oX..o",
                "hat": "xoxoxoxoxoxoxox.",
                "open hat": "...............x",
            },
        ),
        chord_tones=4,
        swing=0.54,
        swung="sixteenths",
        melody="riffing",
        pentatonic=True,
        room_s=0.8,
        room=0.2,
        looseness=0.45,
    ),
    Style(
        "soul",
        r"(?<!my )(?<!the )(?<!your )(?<!lost )soul\b(?!.?(?:mate|search))|neo.?soul|r ?\W?(?:n|&|and)\W? ?b\b|rnb\b"
        r"|rhythm (?:and|&) blues|gospel|slow.?jam|worship",
        tempo_bpm=(62, 96),
        mood=(0.3, -0.1),
        modes=("major", "dorian"),
        progressions=(
            ("Imaj7 iii7 vi7 IV", "Imaj7 I7 IVmaj7 iv6", "ii7 V7 Imaj7 vi7", "IVmaj7 V iii7 vi7"),
            ("i9 iv9 bVII9 bIIImaj7", "i7 v7 bVImaj7 bVII", "i7 bVImaj7 iv7 V7"),
        ),
        cast={
            "chords": ("electric piano", "organ", "piano"),
            "bass": ("electric bass", "fretless bass"),
            "drums": ("drums",),
            "melody": ("alto sax", "voice", "electric guitar", "trumpet"),
            "pad": ("organ", "strings", "choir"),
            "counter": ("brass", "strings"),
        },
        comping=("*-------*-------", "*-----*-..*-----", "*--*--*-*-..*-*-"),
        bass=("0---------2-----", "0-----0-..2---<-", "0--0..2-3-8-0-<-"),
        drums=(
            {"kick": "x.......x.......", "rim": "....x.......x...", "hat": "x...x...x...x..."},
            {"kick": "x.....x...x.....", "snare": "....X..o....X..o", "hat": "x.x.x.x.x.x.x.x."},
            {
                "kick": "x..x..x...x..x..",
                "snare": "....X..o.o..X..o",
                "hat": "xox.xox.xox.xox.",
                "tambourine": "....x.......x...",
            },
        ),
        chord_tones=4,
        swing=0.57,
        swung="sixteenths",
        melody="singing",
        room_s=1.6,
        room=0.35,
        looseness=0.8,
    ),
    Style(
        "jazz",
        r"jaz+(?!.?hop)|swing (?:music|era|band|jazz)|electro.?swing|be.?bop|hard bop|big.?band|dixieland|rag.?time"
        r"|crooner|manouche",
        tempo_bpm=(86, 196),
        mood=(0.3, 0.1),
        modes=("major", "dorian"),
        progressions=(
            ("Imaj7 VI7 ii7 V7", "iii7 VI7 ii7 V7", "Imaj7 vi7 ii7 V7", "ii7 V7 Imaj7 Imaj7", "Imaj7 I7 IVmaj7 iv6"),
            ("i6 iim7b5 V7 i6", "i7 iv7 bVII7 bIIImaj7", "iim7b5 V7 i6 i6", "i6 bVImaj7 iim7b5 V7"),
        ),
        cast={
            "chords": ("piano", "jazz guitar", "vibraphone"),
            "bass": ("double bass",),
            "melody": ("tenor sax", "trumpet", "alto sax", "clarinet", "vibraphone", "muted trumpet"),
            "drums": ("brushes", "drums"),
            "counter": ("trombone", "tenor sax"),
        },
        comping=(
            "*---------------|*-----*---------",
            "*-....*-........|....*-....*-....",
            "*-....*-..*-....|..*-..*-....*-*-",
        ),
        bass=("0-------2-----<-", "0---1---2---<---|0---2---1---<---", "0---1---2---<---|8---3---2---<---"),
        drums=(
            {"ride": "x...x...x...x...", "pedal hat": "....x.......x..."},
            {
                "ride": "X...x.x.X...x.x.",
                "pedal hat": "....x.......x...",
                "snare": "......o.......~.",
                "kick": "o.......o.......",
            },
            {
                "ride": "X...x.x.X...x.x.",
                "pedal hat": "....x.......x...",
                "snare": "...o..~.....o.~.",
                "kick": "x.......~.....x.",
            },
        ),
        chord_tones=4,
        swing=0.64,
        melody="flowing",
        room_s=1.2,
        room=0.28,
        looseness=0.9,
    ),
    Style(
        "waltz",
        r"waltz(?:es)?|walzer|valse|valzer|vals\b|3/4|three.?four time|viennese|musette",
        tempo_bpm=(84, 176),
        mood=(0.4, 0.0),
        modes=("major", "harmonic minor"),
        progressions=(
            ("I V7 V7 I", "I vi ii V7", "I IV V7 I", "I I ii V7"),
            ("i i iv V7", "i V7 V7 i", "i iv V7 i", "i bVI iv V7"),
        ),
        cast={
            "chords": ("accordion", "piano", "strings"),
            "bass": ("double bass", "pizzicato strings"),
            "melody": ("accordion", "violin", "clarinet", "flute"),
            "pad": ("strings",),
            "counter": ("cello", "clarinet"),
            "drums": ("brushes",),
        },
        comping=("....^---^---", "....^-..^-..", "..^-^-..^-^-"),
        bass=("0-----------", "0---........|2---........", "0---....2-<-"),
        drums=(
            {"kick": "x...........", "pedal hat": "....x...x..."},
            {"kick": "x...........", "snare": "....o...o...", "pedal hat": "....x...x..."},
        ),
        arpeggio=("0-1-2-3-2-1-",),
        drums_from=0.4,
        beats_per_bar=3,
        melody="flowing",
        room_s=1.8,
        room=0.4,
        looseness=0.7,
    ),
    Style(
        "baroque",
        r"baroque|barock|barroc|bach\b|vivaldi|handel\b|fugue|renaissance|minuet|menuett?|gavotte|concerto grosso"
        r"|counterpoint",
        tempo_bpm=(72, 120),
        mood=(0.2, 0.1),
        modes=("major", "harmonic minor"),
        progressions=(
            ("I V vi iii IV I IV V7", "I IV V7 I", "I vi ii V7", "I IV V V7"),
            ("i iv bVII bIII bVI iv V7 i", "i V7 i V7", "i bVII bVI V7", "i iv V7 i"),
        ),
        cast={
            "chords": ("harpsichord", "strings"),
            "melody": ("recorder", "violin", "oboe", "flute", "trumpet"),
            "bass": ("cello", "bassoon"),
            "counter": ("violin", "oboe", "viola"),
            "pad": ("strings", "church organ"),
        },
        comping=("*-------*-------", "*---^---*---^---", "0-2-1-2-0-2-1-2-"),
        bass=("0-------2-------", "0---1---2---<---", "0-1-2-1-0-2-1-<-"),
        arpeggio=("0-1-2-1-0-1-2-1-", "0121012101210121", "0232123201210123"),
        drums_from=2.0,
        melody="flowing",
        room_s=2.2,
        room=0.4,
        looseness=0.35,
    ),
    Style(
        "celtic",
        r"celtic|irish|scottish|gaelic|highland (?:music|dance)|jigs?\b|reels? and jigs|sea.?shant(?:y|ies)|breton"
        r"|nordic folk",
        tempo_bpm=(84, 132),
        mood=(0.4, 0.2),
        modes=("mixolydian", "dorian"),
        progressions=(
            ("I bVII IV I", "I V bVII IV", "I IV bVII I"),
            ("i bVII i bVII", "i bIII bVII IV", "i bVII IV i"),
        ),
        cast={
            "melody": ("fiddle", "recorder", "flute", "bagpipe", "harp"),
            "chords": ("acoustic guitar", "harp"),
            "bass": ("double bass", "cello"),
            "drums": ("drums",),
            "counter": ("flute", "recorder", "french horn"),
            "pad": ("strings", "choir"),
            "arpeggio": ("harp", "dulcimer"),
        },
        comping=("*-------*-------", "*---*-*-*---*-*-", "*-**-**-*-**-**-"),
        bass=("0---------------", "0-------2-------", "0-----0-2-----<-"),
        drums=(
            {"low tom": "x.......x.......", "tambourine": "....o.......o..."},
            {"low tom": "X.....x.x.....x.", "mid tom": "....o.......o.o.", "tambourine": "....x.......x..."},
            {"low tom": "X..x..x.X..x..x.", "mid tom": "..o.x.o...o.x.oo", "tambourine": "x.x.x.x.x.x.x.x."},
        ),
        arpeggio=("0-1-2-3-2-1-2-1-", "0-2-1-2-3-2-4-2-", "0121232123432321"),
        drums_from=-0.1,
        melody="flowing",
        pentatonic=True,
        room_s=2.0,
        room=0.4,
        looseness=0.5,
    ),
    Style(
        "epic",
        r"epic\W+(?:and )?(?:orchestr|cinema|film|movie|scor|soundtrack|symphon(?!ic metal)|fantasy|choir|choral"
        r"|music|battle|trailer|hybrid)|(?:orchestral|cinematic|symphonic|fantasy)\W+(?:and )?(?:epic|trailer|battle)"
        r"|(?:film|movie|game|epic) trailer|trailer music|hans zimmer|battle (?:music|theme)",
        tempo_bpm=(76, 144),
        mood=(-0.1, 0.7),
        modes=("major", "minor"),
        progressions=(
            ("I V vi IV", "vi IV I V", "I bVII bVI bVII", "IV V vi vi"),
            ("i bVI bIII bVII", "i bVII bVI V", "i iv bVI V", "i bVI iv V"),
        ),
        cast={
            "chords": ("strings",),
            "bass": ("strings", "cello"),
            "drums": ("drums",),
            "melody": ("french horn", "brass", "trumpet", "violin"),
            "pad": ("choir",),
            "arpeggio": ("strings", "pizzicato strings"),
            "counter": ("brass", "trombone"),
        },
        comping=("*-------*-------", "*-..*-*-*-..*-*-", "*-**-**-*-**-**-"),
        bass=("0---------------", "0-------0-----0-", "0--0--0-0--0--0-"),
        drums=(
            {"low tom": "x.......x.......", "kick": "x..............."},
            {"low tom": "X.....x.X.....x.", "mid tom": "....o.......o.o.", "kick": "x.......x......."},
            {
                "low tom": "X..x..x.X..x..x.",
                "mid tom": "..oo.o.o..oo.o.o",
                "kick": "X.......X.....x.",
                "snare": "....x.......x.xx",
            },
        ),
        arpeggio=("0---2---1---2---", "0-1-2-1-0-1-2-1-", "0010200100102321"),
        drums_from=-0.2,
        melody="singing",
        room_s=2.8,
        room=0.5,
        looseness=0.3,
    ),
    Style(
        "orchestral",
        r"orchestral|orquesta|orchester|symphon(?!ic metal)|sinfoni|philharmon|cinematic|classical(?! (?:guitar|piano))"
        r"|klassi[ks]|classique|clasica|(?:film|movie) (?:score|music)|sound.?tracks?|chamber music|string quartet"
        r"|ballet|overture|opera\b|romantic era|concerto",
        tempo_bpm=(62, 126),
        mood=(0.1, -0.1),
        modes=("major", "minor"),
        progressions=(
            ("I vi IV V", "I iii IV iv", "I V vi IV", "IV V iii vi", "I ii V7 I"),
            ("i bVI bIII bVII", "i iv V7 i", "i bVI iv V7", "i v bVI iv"),
        ),
        cast={
            "pad": ("strings",),
            "melody": ("violin", "flute", "oboe", "french horn", "clarinet", "cello"),
            "bass": ("cello", "double bass"),
            "arpeggio": ("harp", "pizzicato strings", "piano"),
            "counter": ("french horn", "cello", "clarinet", "bassoon"),
            "chords": ("strings", "piano"),
            "drums": ("drums",),
        },
        comping=("*---------------", "*-------*-------", "*-----*-*---*-*-"),
        bass=("0---------------", "0-------2-------", "0-----0-2---<---"),
        drums=(
            {"low tom": "o.......o.......", "triangle": "x..............."},
            {"low tom": "x.......x.....oo", "snare": "....o.......o.oo"},
        ),
        arpeggio=("0---1---2---1---", "0-1-2-3-4-3-2-1-", "0123432123454321"),
        drums_from=0.6,
        melody="singing",
        room_s=2.6,
        room=0.5,
        looseness=0.6,
    ),
    Style(
        "lullaby",
        r"lullab(?:y|ies)|nursery rhyme|cradle song|berceuse|wiegenlied|cancion de cuna|ninna",
        tempo_bpm=(58, 96),
        mood=(0.5, -0.7),
        modes=("major", "minor"),
        progressions=(("I vi IV V", "I IV I V", "I iii IV V", "I V IV I"), ("i bVI bIII bVII", "i iv bVII bIII")),
        cast={
            "melody": ("music box", "celesta", "glockenspiel", "harp"),
            "chords": ("harp", "celesta", "nylon guitar"),
            "pad": ("strings", "warm pad", "voice"),
            "bass": ("pizzicato strings", "double bass"),
            "counter": ("flute", "clarinet"),
        },
        comping=("0-1-2-1-0-1-2-1-", "0-1-2-3-2-1-2-1-"),
        bass=("0---------------", "0-------2-------"),
        drums_from=2.0,
        melody="singing",
        room_s=2.2,
        room=0.45,
        looseness=0.7,
    ),
    Style(
        "ambient",
        r"ambient|drone (?:music|ambient)|soundscapes?|new.?age|space music|sound bath|binaural",
        tempo_bpm=(54, 82),
        mood=(0.2, -0.7),
        modes=("lydian", "minor"),
        progressions=(
            ("Imaj7 II Imaj7 vi7", "Iadd9 vi9 IVmaj7 Iadd9", "Imaj7 iii7 IVmaj7 II"),
            ("i9 bVImaj7 i9 iv9", "i bVII bVI bVII", "iadd9 v7 bVImaj7 iv7"),
        ),
        cast={
            "pad": ("warm pad", "strings", "choir"),
            "arpeggio": ("electric piano", "harp", "celesta", "vibraphone"),
            "melody": ("piano", "pan flute", "voice", "vibraphone", "shakuhachi"),
            "bass": ("synth bass", "fretless bass"),
            "chords": ("electric piano", "warm pad"),
            "counter": ("cello", "choir"),
            "drums": ("electronic drums",),
        },
        comping=("*---------------", "*-------^-------"),
        bass=("0---------------", "0---------2-----"),
        drums=(
            {"kick": "x...............", "shaker": "....o.......o..."},
            {"kick": "x.........x.....", "rim": "........x.......", "shaker": "..o...o...o...o."},
        ),
        arpeggio=("0---2---3---1---", "0--1--2--3--4---", "0-2-1-3-2-4-3-2-"),
        drums_from=0.5,
        chord_tones=4,
        melody="sparse",
        form="loop",
        room_s=3.6,
        room=0.65,
        looseness=0.6,
    ),
    Style(
        "country",
        r"country\b(?! ?(?:side|house|garden|of|and western))|country and western|blue.?grass|nashville|hoe.?down"
        r"|americana|honky.?tonk",
        tempo_bpm=(88, 138),
        mood=(0.6, 0.3),
        modes=("major", "mixolydian"),
        progressions=(("I I IV V", "I IV I V", "I V IV I", "I vi IV V"), ("I bVII IV I", "vi IV I V", "I IV bVII I")),
        cast={
            "chords": ("acoustic guitar",),
            "bass": ("double bass", "electric bass"),
            "melody": ("fiddle", "banjo", "harmonica", "electric guitar"),
            "drums": ("brushes", "drums"),
            "arpeggio": ("banjo", "acoustic guitar"),
            "counter": ("fiddle", "harmonica"),
        },
        comping=("*-------^-------", "....^---....^-..", "..^-^-^-..^-^-^-"),
        bass=("0-------2-------", "0---....2---....", "0---0-..2---<---"),
        drums=(
            {"kick": "x.......x.......", "snare": "....o.......o..."},
            {"kick": "x.......x.......", "snare": "....x..o....x..o", "hat": "..x...x...x...x."},
            {"kick": "x.....x.x.......", "snare": "o.oox.ooo.oox.oo", "hat": "x...x...x...x..."},
        ),
        arpeggio=("0-1-2-1-3-1-2-1-", "0213021302130213", "0231023102310231"),
        melody="flowing",
        pentatonic=True,
        room_s=1.1,
        room=0.25,
        looseness=0.6,
    ),
    Style(
        "metal",
        r"metal\b|metalcore|thrash|djent|death.?core|(?:melodic )?hardcore(?! techno)|black.?metal|nu.?metal",
        tempo_bpm=(96, 176),
        mood=(-0.5, 0.9),
        modes=("mixolydian", "phrygian"),
        progressions=(
            ("i bVI bVII i", "I bVII IV I", "i bIII bVII IV"),
            ("i bII i bVII", "i bVI bVII i", "i i bVI bII", "i bIII bII i"),
        ),
        cast={
            "chords": ("distorted guitar",),
            "bass": ("picked bass",),
            "drums": ("drums",),
            "melody": ("distorted guitar", "overdriven guitar"),
            "counter": ("overdriven guitar",),
            "pad": ("choir", "strings"),
        },
        comping=("*-------*-------", "*.**.*.*.**.*-*-", "*.***.***.**-*-*"),
        bass=("0-------0-------", "0.00.0.0.00.0-0-", "0.000.000.00-0-<"),
        drums=(
            {"kick": "x.....x.x.......", "snare": "....X.......X...", "hat": "x...x...x...x..."},
            {
                "kick": "X.xx..x.X.xx..x.",
                "snare": "....X.......X...",
                "crash": "~...............",
                "open hat": "x...x...x...x...",
            },
            {
                "kick": "XxxxXxxxXxxxXxxx",
                "snare": "....X.......X..x",
                "ride": "X...X...X...X...",
                "crash": "~...............",
            },
        ),
        melody="riffing",
        room_s=0.9,
        room=0.18,
        looseness=0.15,
    ),
    Style(
        "rock",
        r"rock\b(?!.?(?:steady|et|ing|a.?by))|rock.?(?:n|and|&).?roll|rockabilly|post.?rock|punk|grunge"
        r"|indie\b(?! (?:pop|folk|game|electronic|film))|brit.?pop|emo\b|shoegaze",
        tempo_bpm=(92, 168),
        mood=(0.2, 0.6),
        modes=("mixolydian", "minor"),
        progressions=(
            ("I bVII IV I", "I V IV IV", "I IV V IV", "I V vi IV"),
            ("i bVI bIII bVII", "i bVII bVI bVII", "i bIII bVII IV", "i iv bVI bVII"),
        ),
        cast={
            "chords": ("overdriven guitar", "electric guitar"),
            "bass": ("picked bass", "electric bass"),
            "drums": ("drums",),
            "melody": ("overdriven guitar", "electric guitar", "organ"),
            "pad": ("organ",),
            "counter": ("electric guitar",),
        },
        comping=("*-------*---*---", "*---*-*-*---*-*-", "*-*-*-*-*-*-*-*-"),
        bass=("0-------0-------", "0-0-0-0-0-0-0-<-", "0-0-0-0-0-0-2-<-"),
        drums=(
            {"kick": "x.......x.......", "snare": "....x.......x...", "hat": "x...x...x...x..."},
            {"kick": "X.....x.x.......|X.....x.x.x.....", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."},
            {
                "kick": "X..x..x.X.x...x.",
                "snare": "....X..o....X..o",
                "open hat": "x...x...x...x...",
                "hat": "..x...x...x...x.",
            },
        ),
        melody="riffing",
        pentatonic=True,
        room_s=1.0,
        room=0.22,
        looseness=0.45,
    ),
    Style(
        "techno",
        r"techno\b|tekno\b|industrial|rave\b(?! party)|acid\b|gabber|schranz|minimal techno",
        tempo_bpm=(122, 138),
        mood=(-0.3, 0.7),
        modes=("minor", "phrygian"),
        progressions=(("i i i i", "i i bVI bVII", "i7 i7 iv7 i7"), ("i i i bII", "i i i i", "i bII i bII")),
        cast={
            "drums": ("electronic drums",),
            "bass": ("synth bass",),
            "arpeggio": ("saw lead", "polysynth", "square lead"),
            "chords": ("polysynth",),
            "pad": ("warm pad",),
            "melody": ("saw lead", "square lead"),
        },
        comping=("*-....*-........", "..*-..*-....*-..", "*-.*-.*-.*-.*-*-"),
        bass=("..0-..0-..0-..0-", "..00..00..00..08", "0.000.000.000.08"),
        drums=(
            {"kick": "x...x...x...x...", "hat": "..x...x...x...x."},
            {
                "kick": "X...X...X...X...",
                "clap": "....x.......x...",
                "open hat": "..x...x...x...x.",
                "rim": "...x..x....x..~.",
            },
            {
                "kick": "X...X...X...X...",
                "clap": "....X.......X...",
                "hat": "xoxoxoxoxoxoxoxo",
                "open hat": "..x...x...x...x.",
                "low tom": ".......x..x....~",
            },
        ),
        arpeggio=("0-..0-1-..0-2-..", "0.0102.0.01002.3", "0100201003002010"),
        melody="sparse",
        form="loop",
        room_s=1.6,
        room=0.3,
        looseness=0.0,
    ),
    Style(
        "house",
        r"house (?:music|beats?|tracks?|grooves?|tunes?)|(?:deep|tech|tropical|progressive|french|acid|afro|future"
        r"|bass|piano|electro|funky|chicago|uk|soulful).?house"
        r"|(?<!my )(?<!the )(?<!a )(?<!our )(?<!haunted )(?<!in )house\b(?=\s*(?:$|[^\w\s]|and\b|with\b|at\b))|(?:uk"
        r"|2.?step|speed) garage",
        tempo_bpm=(116, 128),
        mood=(0.4, 0.5),
        modes=("major", "dorian"),
        progressions=(
            ("IVmaj7 V vi7 iii7", "vi7 IVmaj7 Imaj7 V", "ii7 V7 Imaj7 vi7"),
            ("i7 iv7 bVII bIII", "i7 bVImaj7 bVII v7", "i9 IV9 i9 IV9"),
        ),
        cast={
            "drums": ("electronic drums",),
            "bass": ("synth bass", "electric bass"),
            "chords": ("piano", "electric piano", "organ", "polysynth"),
            "melody": ("saw lead", "voice", "vibraphone"),
            "pad": ("strings", "warm pad"),
            "arpeggio": ("polysynth",),
        },
        comping=("*-------*-------", "*-.*-.*-..*-.*-.", "..*-..*-.*-.*-*-|*-.*-.*-..*-..*-"),
        bass=("0---....0---....", "..0-..0-..0-..2-", "..0-.00-..8-.0<-"),
        drums=(
            {"kick": "x...x...x...x...", "hat": "..x...x...x...x."},
            {
                "kick": "X...X...X...X...",
                "clap": "....X.......X...",
                "open hat": "..x...x...x...x.",
                "shaker": "o.o.o.o.o.o.o.o.",
            },
            {
                "kick": "X...X...X...X...",
                "clap": "....X.......X..~",
                "open hat": "..x...x...x...x.",
                "hat": "xoxoxoxoxoxoxoxo",
                "conga": "...x..x....x..x.",
            },
        ),
        arpeggio=("0-..1-..2-..1-..", "0-.1-.2-.1-.2-3-", "0-12-10-2-12-34-"),
        chord_tones=4,
        swing=0.53,
        swung="sixteenths",
        melody="sparse",
        form="loop",
        room_s=1.6,
        room=0.32,
        looseness=0.1,
    ),
    Style(
        "edm",
        r"e\.?d\.?m\b|electron\w*(?! (?:drum|kit|piano|bass|beat))\b|electro(?:pop|clash)?\b|elektronisch"
        r"|trance\b(?!.?like)|dub.?step|dance (?:music|track|tune|floor)|euro.?dance|future bass|big.?room"
        r"|psy.?trance|hyper.?pop|hard.?style|idm\b|eurobeat",
        tempo_bpm=(118, 142),
        mood=(0.5, 0.8),
        modes=("major", "minor"),
        progressions=(("vi IV I V", "IV I V vi", "I V vi IV"), ("i bVI bIII bVII", "bVI bVII i i", "i bVI iv bVII")),
        cast={
            "drums": ("electronic drums",),
            "bass": ("synth bass",),
            "chords": ("saw lead", "polysynth"),
            "melody": ("saw lead", "square lead"),
            "arpeggio": ("polysynth", "saw lead"),
            "pad": ("warm pad", "strings", "choir"),
        },
        comping=("*-------*-------", "*--*--*-*--*--*-", "..*-..*-..*-..*-"),
        bass=("0---0---0---0---", "..0-..0-..0-..0-", ".000.000.000.008"),
        drums=(
            {"kick": "x...x...x...x...", "hat": "..x...x...x...x."},
            {"kick": "X...X...X...X...", "clap": "....X.......X...", "open hat": "..x...x...x...x."},
            {
                "kick": "X...X...X...X...",
                "clap": "....X.......X...",
                "snare": "............~.xx",
                "open hat": "..x...x...x...x.",
                "hat": "xoxoxoxoxoxoxoxo",
            },
        ),
        arpeggio=("0-1-2-1-0-1-2-1-", "0123210301232103", "0213243102132431"),
        melody="riffing",
        form="loop",
        room_s=1.8,
        room=0.35,
        looseness=0.0,
    ),
    Style(
        "east asian",
        r"(?:japan|chin|vietnam)ese\b|koreans?\b|(?:east |south.?east )?asian|oriental|gagaku|enka\b|gamelan"
        r"|traditional (?:chinese|japanese)",
        tempo_bpm=(60, 104),
        mood=(0.2, -0.4),
        modes=("major", "minor"),
        progressions=(("I vi IV I", "I ii vi V", "I IV vi V"), ("i bVI i bVII", "i iv bVII i", "i bIII bVII i")),
        cast={
            "melody": ("koto", "shakuhachi", "recorder"),
            "arpeggio": ("koto", "harp"),
            "pad": ("strings", "warm pad"),
            "bass": ("double bass", "cello"),
            "counter": ("shakuhachi", "flute"),
            "chords": ("koto", "harp"),
            "drums": ("drums",),
        },
        comping=("*---------------", "0---1---2---1---"),
        bass=("0---------------", "0-------2-------"),
        drums=(
            {"low tom": "x...............", "triangle": "........o......."},
            {"low tom": "X.....x.x.......", "rim": "....o.......o.o."},
        ),
        arpeggio=("0---2---1---2---", "0-2-1-2-3-2-1-2-"),
        drums_from=0.1,
        melody="sparse",
        pentatonic=True,
        room_s=2.4,
        room=0.45,
        looseness=0.8,
    ),
    Style(
        "world",
        r"african?\b|afro.?beats?|indian\b|ragas?\b|bollywood|arab\w*|persian|turkish|middle.?east\w*|egyptian|balkan"
        r"|klezmer|gypsy|tribal|calypso"
        r"|(?<!\w )world(?! \w)|world (?:music|beat|fusion)|ethnic|andean|hawaiian|polka|oriental dance",
        tempo_bpm=(84, 124),
        mood=(0.4, 0.3),
        modes=("mixolydian", "phrygian dominant"),
        progressions=(("I IV I bVII", "I bVII IV I", "I IV V IV"), ("I bII I bII", "I bII bvii I", "I I bII I")),
        cast={
            "melody": ("kalimba", "sitar", "pan flute", "steel drums", "fiddle"),
            "drums": ("drums",),
            "arpeggio": ("marimba", "kalimba", "dulcimer"),
            "bass": ("electric bass", "double bass"),
            "chords": ("nylon guitar", "marimba"),
            "pad": ("voice", "choir"),
        },
        comping=("*-------*-------", "*--*--*-*--*--*-", "*--*--*-*-*--*-*"),
        bass=("0-------2-------", "0--0--2-0--0--2-", "0--0-.2-..0-2-<-"),
        drums=(
            {"conga": "x.....x.x.....x.", "shaker": "x...x...x...x..."},
            {
                "low conga": "x.....x.x.......",
                "conga": "..x.x.....x.x...",
                "open conga": "......x.......xx",
                "shaker": "xoxoxoxoxoxoxoxo",
            },
            {
                "low conga": "x..x..x.x..x..x.",
                "conga": "..x.x.x...x.x.x.",
                "open conga": "......xx......xx",
                "cowbell": "x.x.xx.x.x.xx.x.",
                "shaker": "xoxoxoxoxoxoxoxo",
                "bongo": "..o..o....o..o.o",
            },
        ),
        arpeggio=("0---2---1---2---", "0-2-1-2-0-2-3-2-", "0-21-20-2-12-03-"),
        melody="riffing",
        room_s=1.3,
        room=0.3,
        looseness=0.5,
    ),
    Style(
        "folk",
        r"(?:indie |neo.?)?folk\w*|singer.?songwriter|unplugged|finger.?(?:pick\w*|style)|troubadour"
        r"|acoustic(?! (?:bass|drums?|kit|guitars?|piano|jazz))",
        tempo_bpm=(74, 124),
        mood=(0.4, -0.1),
        modes=("major", "dorian"),
        progressions=(
            ("I V vi IV", "I IV I V", "I iii IV V", "I vi IV V", "IV I V vi"),
            ("i bVII bVI bVII", "i bIII bVII IV", "i iv bVII bIII", "i bVII IV i"),
        ),
        cast={
            "chords": ("acoustic guitar", "nylon guitar"),
            "melody": ("harmonica", "flute", "violin", "voice", "whistle", "acoustic guitar"),
            "bass": ("double bass", "electric bass"),
            "counter": ("violin", "cello", "accordion"),
            "arpeggio": ("nylon guitar", "acoustic guitar"),
            "drums": ("brushes",),
            "pad": ("strings",),
        },
        comping=("0---2---3---2---", "*---^-^-*---^-^-", "*---^-^-..^-^-^-"),
        bass=("0---------------", "0-------2-------", "0-----0-2-----<-"),
        drums=(
            {"kick": "x.......x.......", "shaker": "x.x.x.x.x.x.x.x."},
            {"kick": "x.......x.......", "snare": "....o.......o...", "shaker": "xox.xox.xox.xox."},
            {"kick": "x.....x.x.......", "snare": "....x.......x..o", "tambourine": "x.x.x.x.x.x.x.x."},
        ),
        arpeggio=("0-2-1-2-3-2-1-2-",),
        drums_from=0.0,
        melody="singing",
        room_s=1.2,
        room=0.28,
        looseness=0.7,
    ),
    Style(
        "piano",
        r"nocturnes?|sonatas?|sonatina|etudes?|preludes?|minimalis[mt]\w*|impressionis[mt]\w*|satie|chopin|debussy"
        r"|einaudi|neo.?classical|solo piano|piano (?:solo|music|piece|ballad|instrumental|composition|miniature)"
        r"|classical piano",
        tempo_bpm=(60, 116),
        mood=(0.1, -0.3),
        modes=("major", "minor"),
        progressions=(
            ("I V vi IV", "I iii vi IV", "IV I V vi", "Imaj7 IVmaj7 Imaj7 IVmaj7", "I vi IV V"),
            ("i bVI bIII bVII", "i v bVI iv", "i iv bVII bIII", "i bVII bVI V"),
        ),
        cast={
            "chords": ("piano",),
            "melody": ("piano",),
            "bass": ("piano",),
            "pad": ("strings",),
            "counter": ("cello", "violin"),
        },
        comping=("0---1---2---1---", "0-2-1-2-0-2-1-2-", "0-1-2-3-2-1-2-1-"),
        bass=("0---------------", "0-------2-------", "0---2---8---2---"),
        drums_from=2.0,
        melody="singing",
        room_s=2.0,
        room=0.4,
        looseness=0.8,
    ),
    Style(
        "pop",
        r"pop\b|poppy\b|[kj].?pop|indie pop|power ballad|chart.?(?:hit|topp)|top 40|bubble.?gum|schlager|chanson|teen",
        tempo_bpm=(80, 128),
        mood=(0.4, 0.2),
        modes=("major", "minor"),
        progressions=(
            ("I V vi IV", "vi IV I V", "IV I V vi", "I vi IV V", "I iii IV V"),
            ("i bVI bIII bVII", "i bVII bVI bVII", "i iv bVI V", "bVI bVII i i"),
        ),
        cast={
            "chords": ("piano", "acoustic guitar", "electric piano"),
            "melody": ("saw lead", "electric guitar", "voice", "vibraphone", "flute"),
            "bass": ("electric bass", "synth bass"),
            "drums": ("drums", "electronic drums"),
            "pad": ("strings", "warm pad"),
            "arpeggio": ("electric guitar", "polysynth", "marimba"),
            "counter": ("strings", "glockenspiel"),
        },
        comping=("*-------*-------", "*---*---*---*---", "*-..*-*-..*-*-*-"),
        bass=("0-------0-----2-", "0-----0-..0-2-<-", "0-0-0-0-0-0-2-<-"),
        drums=(
            {"kick": "x.......x.......", "rim": "....x.......x...", "hat": "x...x...x...x..."},
            {"kick": "X.....x.x.......", "snare": "....X.......X...", "hat": "x.x.x.x.x.x.x.x."},
            {
                "kick": "X..x..x.X.x.....",
                "snare": "....X.......X..~",
                "clap": "....x.......x...",
                "hat": "xoxoxoxoxoxoxoxo",
                "open hat": "..............x.",
                "tambourine": "..x...x...x...x.",
            },
        ),
        arpeggio=("0-1-2-1-0-1-2-1-", "0-2-1-2-3-2-1-2-", "0123210301232103"),
        drums_from=-0.55,
        melody="riffing",
        room_s=1.4,
        room=0.3,
        looseness=0.35,
    ),
)

STYLES: Final[Mapping[str, Style]] = MappingProxyType({row.name: row for row in _ROWS})
"""By name, in the order in which they are tried; the last one takes every request that is left."""
