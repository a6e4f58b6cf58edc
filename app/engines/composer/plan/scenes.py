"""Which style a request is for.

A genre that is named wins (`Style.keywords`, from the top of `STYLES`); then the scene that
is painted (`_SCENES`, likewise); then what plays; then the backdrop (`_BACKDROPS`); then the
mood. To teach the composer a scene, add a row to `_SCENES`, narrow ones above broad ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from app.engines.composer.plan.words import Wish
from app.engines.composer.styles import STYLES, Style


class Scene(NamedTuple):
    """A row of `_SCENES`, `_BACKDROPS` or `_FEELINGS`.

    Attributes:
        words: Regular expression, searched for at the start of words, in plain small letters.
        style: Key of `STYLES`.
        mood: (valence, arousal) when no mood word says otherwise, or None for the style's own.
    """

    words: str
    style: str
    mood: tuple[float, float] | None = None


_SCENES: Final = (
    Scene(r"boss\b|final battle|battle|fight\b|fighting|combat|war\b|wars\b|warfare|gladiator|invasion|siege",
          "epic", (-0.4, 0.9)),
    Scene(r"space (?:battle|opera)|super.?hero|dragons?\b|blockbuster|quest\b|conquest|olympi", "epic", (0.2, 0.8)),
    Scene(r"horror|haunted|zombie|vampire|halloween|ghost|serial killer|nightmare|monster",
          "orchestral", (-0.7, 0.2)),
    Scene(r"video.?games?|arcade|platformer|retro gam|game (?:music|level|menu|over)|pixel|mario|zelda|tetris",
          "chiptune"),
    Scene(r"cyber|neon|blade runner|stranger things|night drive|night driv|dystopi|hackers?\b|miami",
          "synthwave", (-0.2, 0.3)),
    Scene(r"80'?s|1980|eighties|retro synth|vhs\b", "synthwave"),
    Scene(r"70'?s|1970|seventies|roller.?skat|saturday night", "disco"),
    Scene(r"[56]0'?s (?:rock|pop|music|style|sound|vibe|surf|song)|1950|1960|fifties|sixties|beatles|surf(?:ing|er)",
          "rock", (0.5, 0.5)),
    Scene(r"1920|roaring (?:twenties|20)|speak.?easy|film noir|noir\b|smoky|cocktail|gatsby|new orleans|manhattan",
          "jazz", (-0.1, -0.4)),
    Scene(r"stud(?:y|ying)\b|homework|rainy (?:night|day|window|evening)|late.?night|midnight|coding|bedroom|night in",
          "lofi", (-0.1, -0.45)),
    Scene(r"parisian|paris\b|french (?:cafe|bistro)|montmartre|carousel|merry.?go|carnival|circus|ballroom|masquerade"
          r"|ice skat", "waltz"),
    Scene(r"coffee|caf(?:e|es|eteria)\b|lounge|elevator|hotel lobby|bistro|brunch|restaurant|dinner|supermarket"
          r"|copacabana|rio\b", "bossa nova"),
    Scene(r"jamaica|rasta|beach|island|palm tree|hammock|surf\b|cruise", "reggae"),
    Scene(r"caribbean|tropic|jungle|safari|savanna|desert|egypt|pyramid|sahara|camel|bazaar|marrakesh|istanbul"
          r"|india\b|himalaya|rain.?forest|amazon|maya\b|aztec|tribe", "world"),
    Scene(r"fiesta|havana|cuba\b|mexico|spain|seville|siesta|barrio|buenos aires", "latin"),
    Scene(r"tavern|pirates?\b|sailors?\b|fantasy|elves|elven|elf\b|hobbit|shire|vikings?\b|bards?\b|fairy|fairies"
          r"|druid|scotland|ireland|dublin|highlands|st\.? patrick|pub\b|rpg\b|dungeon|adventure|forest spirits?",
          "celtic"),
    Scene(r"medieval|castle|knights?\b|kings?\b|queens?\b|royal court|court\b|aristocra|palace|versailles|cathedral"
          r"|monks?\b|monastery", "baroque"),
    Scene(r"western|cow.?boys?|wild west|saloon|prairie|ranch|rodeo|road.?trip|tumbleweed|texas|tennessee"
          r"|horse riding|farm\b", "country", (0.2, 0.2)),
    Scene(r"japan|tokyo|kyoto|china\b|korea|asia\b|samurai|ninja|geisha|bamboo|sakura|cherry blossom|zen garden|dojo"
          r"|anime|tea ceremony", "east asian"),
    Scene(r"bab(?:y|ies)\b|bed.?time|sleep|nursery|toddler|newborn|teddy|snow.?globe|fall asleep", "lullaby"),
    Scene(r"christmas|x-?mas|navidad|noel\b|weihnacht|santa\b|winter|snow|sleigh|holiday season|advent\b",
          "lullaby", (0.6, -0.1)),
    Scene(r"weddings?\b|bridal|bride|ceremony|graduation|royalty", "orchestral", (0.65, -0.1)),
    Scene(r"march(?:es|ing)?\b|parade|military|army|soldiers?\b", "orchestral", (0.3, 0.5)),
    Scene(r"meditat|yoga|spa\b|massage|mindful|breath(?:e|ing)|reiki|chakra|healing|wellness|asmr",
          "ambient", (0.3, -0.8)),
    Scene(r"space.?ship|outer space|space\b|galax|cosm|stars\b|planet|astronaut|nebula|sci.?fi|alien|orbit|moon\b"
          r"|atmospher|ether|floating|drones?\b(?! (?:footage|shot|video))", "ambient", (0.0, -0.5)),
    Scene(r"work.?outs?|gym\b|fitness|running|jogging|cardio|training|sports?\b|hiit|spinning class|esports",
          "edm", (0.4, 0.9)),
    Scene(r"warehouse|berlin|berghain|basement|underground club|factory|machines?\b", "techno"),
    Scene(r"night.?club|club\b|clubbing|dj\b|ibiza|pool party|rooftop|fashion|catwalk|runway", "house", (0.3, 0.6)),
    Scene(r"festival|rave party|drop\b|fireworks|car chase|race\b|racing|dance|dancing|new year", "edm", (0.5, 0.85)),
    Scene(r"stadium|football|soccer|garage|motor.?(?:bike|cycle)|skate|arena|headbang|road rage|biker|drag race"
          r"|guitar solo|riffs?\b", "rock", (0.2, 0.75)),
    Scene(r"birthday|party|celebrat|prom\b|carefree|school|unboxing|tutorial|vlog|youtube|tik.?tok|reels\b|haul",
          "pop", (0.75, 0.6)),
    Scene(r"podcast|intro\b|jingle|commercial|advert|corporate|business|presentation|startup|explainer|product|promo"
          r"|news|radio|app\b", "pop", (0.45, 0.3)),
    Scene(r"film|movie|scene\b|cinema|trailer|score\b|chase|spy\b|detective|crime|heist|thriller|mystery|suspens",
          "orchestral"),
    Scene(r"epic|hero(?!in)|triumph|victor|majestic|glor(?:y|ious)", "epic"),
    Scene(r"swing|crooner|saxy", "jazz"),
    Scene(r"groov", "funk"),
    Scene(r"soulful|love.?making|slow dance|candle", "soul"),
)  # fmt: skip

# Weather, nature and time of day: a mood for whatever plays, and a style only when nothing says what plays.
_BACKDROPS: Final = (
    Scene(r"underwater|ocean|sea\b|waves\b|lake\b|river|mist\b|misty|fog|clouds?\b|rain|northern lights|aurora"
          r"|glacier|dreamscape|weightless", "ambient", (0.1, -0.6)),
    Scene(r"nature|documentar|landscape|mountain|wildlife|forest|garden|spring\b|meadow|drone (?:footage|shot|video)"
          r"|aerial|history", "orchestral", (0.35, -0.15)),
    Scene(r"camp.?fire|summer|sunny|sun.?(?:rise|set|shine)|morning|picnic|countryside|cabin|porch|hik(?:e|ing)"
          r"|autumn|walk(?:ing)?\b|bicycle|farmers|kids|child", "folk", (0.55, -0.1)),
)  # fmt: skip

# What plays hints at a style when nothing else does: a banjo alone already sounds of country.
_TYPICAL: Final[Mapping[str, tuple[str, ...]]] = {
    "chiptune": ("square lead",),
    "metal": ("distorted guitar",),
    "rock": ("overdriven guitar", "electric guitar", "picked bass"),
    "funk": ("slap bass", "clavinet"),
    "jazz": ("tenor sax", "alto sax", "soprano sax", "muted trumpet", "trumpet", "trombone", "vibraphone", "brushes",
             "jazz guitar", "double bass"),
    "soul": ("electric piano", "organ"),
    "blues": ("harmonica", "honky-tonk piano"),
    "baroque": ("harpsichord", "church organ", "recorder"),
    "waltz": ("accordion",),
    "celtic": ("fiddle", "bagpipe", "dulcimer", "whistle"),
    "country": ("banjo",),
    "east asian": ("koto", "shakuhachi"),
    "world": ("sitar", "kalimba", "marimba", "pan flute", "xylophone"),
    "reggae": ("steel drums",),
    "lullaby": ("music box", "celesta", "glockenspiel"),
    "ambient": ("warm pad",),
    "hip hop": ("synth bass",),
    "edm": ("saw lead", "polysynth", "electronic drums"),
    "folk": ("acoustic guitar", "nylon guitar"),
    "orchestral": ("strings", "violin", "viola", "cello", "harp", "flute", "oboe", "clarinet", "bassoon", "piccolo",
                   "french horn", "brass", "tuba", "timpani", "choir", "pizzicato strings", "tubular bells"),
    "piano": ("piano",),
}  # fmt: skip
_STYLE_OF: Final[Mapping[str, str]] = {name: style for style, names in _TYPICAL.items() for name in names}

# Tried last: moods that hardly anybody means in another style when they say no more than that.
_FEELINGS: Final = (
    Scene(r"aggress|angr|furious|rage\b|brutal|fierce", "metal"),
    Scene(r"scar[ey]|spook|creep|eerie|sinister|ominous|suspens|tens[ei]|myster|dramat|dark|menac|haunting|magic",
          "orchestral"),
    Scene(r"relax|sooth|dream|tranquil|seren|hypno|calming|zen\b", "ambient"),
    Scene(r"calm|peace|sad|melanch|heart.?br|lonel|romant|tender|gentle|intimate|nostalg|reflect|emotion|sorrow|mourn"
          r"|bittersw", "piano"),
    Scene(r"chill|laid.?back|mellow|cozy", "lofi"),
    Scene(r"energ|euphor|hype|pumping", "edm"),
)  # fmt: skip


class Setting(NamedTuple):
    """The style of a piece.

    Attributes:
        style: The row.
        mood: (valence, arousal) of the scene, if one was painted.
        genre: The request names it, instead of leaving the choice to us.
    """

    style: Style
    mood: tuple[float, float] | None
    genre: bool


_FROM_BELOW: Final = tuple(reversed(tuple(STYLES)))
_GENRE_PATTERNS: Final = tuple((re.compile(rf"\b(?:{style.keywords})"), style) for style in STYLES.values())
_SCENE_PATTERNS: Final = tuple((re.compile(rf"\b(?:{scene.words})"), scene) for scene in _SCENES)
_BACKDROP_PATTERNS: Final = tuple((re.compile(rf"\b(?:{scene.words})"), scene) for scene in _BACKDROPS)
_FEELING_PATTERNS: Final = tuple((re.compile(rf"\b(?:{scene.words})"), scene) for scene in _FEELINGS)


def setting_of(prompt: Wish, mood: Wish, names: Sequence[str]) -> Setting:
    """Return the style that the texts ask for and the mood of their scene.

    Args:
        prompt: What is asked for, in small letters.
        mood: Likewise; a genre may stand here too ("dark techno").
        names: Keys of `INSTRUMENTS`, in the order in which they were named.
    """
    unwanted = f"{prompt.unwanted} , {mood.unwanted}"
    wanted = f"{prompt.wanted} , {mood.wanted}"
    banned = {style.name for pattern, style in _GENRE_PATTERNS if unwanted.strip(" ,") and pattern.search(unwanted)}
    scene = _first(_SCENE_PATTERNS, wanted, banned)
    backdrop = _first(_BACKDROP_PATTERNS, wanted, banned)
    painted = scene or backdrop
    mood_of_scene = painted.mood if painted else None
    genre = next((style for pattern, style in _GENRE_PATTERNS if pattern.search(wanted)), None)
    if genre is not None:
        return Setting(genre, mood_of_scene, genre=True)
    hinted = next((_STYLE_OF[name] for name in names if _STYLE_OF.get(name, "") not in {"", *banned}), None)
    feeling = _first(_FEELING_PATTERNS, prompt.wanted, banned)
    left = next((name for name in _FROM_BELOW if name not in banned), _FROM_BELOW[0])
    chosen = (scene and scene.style) or hinted or (backdrop and backdrop.style) or (feeling and feeling.style) or left
    return Setting(STYLES[chosen], mood_of_scene, genre=False)


def _first(patterns: Sequence[tuple[re.Pattern[str], Scene]], text: str, banned: set[str]) -> Scene | None:
    return next((scene for pattern, scene in patterns if scene.style not in banned and pattern.search(text)), None)
