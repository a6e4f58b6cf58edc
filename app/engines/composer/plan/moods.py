"""What mood words mean.

To teach the composer a mood, add a row to `_ROWS`: the word to offer, where it lies, and
how the words begin that mean it (searched for in plain small letters, see `words.plain`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

# (valence, arousal), -1 to 1, as in Russell's circumplex of affect; the values are our own.
# Stems are given where they differ from the word itself.
_ROWS: Final[Mapping[str, tuple[float, float, str]]] = {
    "adventurous": (0.45, 0.6, r"adventur|abenteuer|aventur"),
    "aggressive": (-0.65, 0.9, r"aggress|agresi|agressi|violent|hostile"),
    "airy": (0.3, -0.65, r"airy|floating|floaty|weightless|breezy"),
    "angry": (-0.75, 0.8, r"angry|anger|mad\b|enojad|wutend|colere|arrabbiat|irritated"),
    "anxious": (-0.6, 0.55, r"anxi|nervous|worried|uneasy|paranoi"),
    "bittersweet": (-0.15, -0.25, r"bitter.?sweet"),
    "bleak": (-0.75, -0.65, r"bleak|desolat|barren|dystopi|post.?apocalyp"),
    "bouncy": (0.6, 0.65, r"bounc|springy|perky"),
    "bright": (0.6, 0.3, r"bright|brillant|radiant|sparkl|shiny|shimmer"),
    "brutal": (-0.8, 0.85, r"brutal|savage|vicious|crushing"),
    "calm": (0.35, -0.75, r"calm|ruhig|tranquilo|calmo|quiet|unhurried"),
    "carefree": (0.65, 0.15, r"care.?free|easy.?going|light.?hearted|worry.?free"),
    "celebratory": (0.8, 0.7, r"celebrat|jubilant|rejoic"),
    "chaotic": (-0.5, 0.85, r"chaot|chaos|frenzied|manic|crazy|insane"),
    "cheerful": (0.8, 0.5, r"cheer|merry|jolly|jovial|frohlich|alegre|allegr[ia]\b|chipper"),
    "chill": (0.35, -0.45, r"chill(?:ed|ing|y)?\b|chill.?out"),
    "cold": (-0.4, -0.4, r"cold\b|icy|frozen|frost"),
    "confident": (0.5, 0.5, r"confident|self.?assured|bold|swagger|badass|assertive"),
    "contemplative": (0.0, -0.55, r"contemplat|introspect|pensive|thoughtful|ponder"),
    "content": (0.6, -0.35, (
        r"(?<!video )(?<!media )(?<!social )content(?:ed|ment)?\b(?! creat)|satisfied|pleasant"
        r"|pleased")),
    "cool": (0.3, -0.05, r"cool\b|smooth|slick|classy"),
    "cozy": (0.55, -0.5, r"co[sz]y|comfy|comfort|homely|snug|gemutlich|fireside"),
    "creepy": (-0.65, 0.1, r"creep|unsettling|disturb|macabre|unheimlich"),
    "dark": (-0.7, 0.0, r"dark(?:er|est|ly|ness)?\b|oscur|dunkel|duster|escur|noir\b|shadow"),
    "danceable": (0.55, 0.65, r"danc(?:e|ea|ey|ing)|bailable|tanzbar"),
    "delicate": (0.35, -0.7, r"delicate|fragile|intimate|subtle"),
    "depressing": (-0.85, -0.6, r"depress|despair|hopeless|miserable|bummed"),
    "desperate": (-0.65, 0.45, r"desperat|anguish|agony"),
    "dramatic": (-0.2, 0.6, r"dramat|theatrical|operatic"),
    "dreamy": (0.3, -0.55, r"dream|traumerisch|reveu|sonador|sonhador|surreal|hazy"),
    "driving": (0.15, 0.75, r"driving(?! home| in| through)|pulsing|pulsating|relentless|propulsive|pumping|banger"),
    "ecstatic": (0.95, 0.85, r"ecsta"),
    "eerie": (-0.55, -0.1, r"eerie|ghostly|uncanny|otherworldly|spectral"),
    "elegant": (0.45, -0.15, r"elegan|sophisticat|refined|graceful|noble|stately"),
    "emotional": (-0.1, 0.05, r"emotion|moving\b|touching|poignant|heartfelt|expressive"),
    "empty": (-0.5, -0.7, r"empty|hollow|numb|lifeless"),
    "energetic": (0.45, 0.9, r"energ|dynamic|high.?octane|adrenalin|hyper|hype\b|amped|explosive|enerjik"),
    "epic": (0.0, 0.85, r"epi(?:c|que|co)\b|episch|larger than life|monumental|colossal|soaring"),
    "ethereal": (0.2, -0.65, r"ether|celestial|heavenly|angelic|cosmic|astral"),
    "euphoric": (0.85, 0.9, r"euphor|eufor|blissed|rapturous"),
    "evil": (-0.85, 0.4, r"evil|demonic|satanic|diabolic|wicked|villain"),
    "excited": (0.65, 0.85, r"excit|thrill|exhilarat|electrif|hyped"),
    "festive": (0.75, 0.65, r"festiv|party|partying"),
    "frantic": (-0.4, 0.9, r"frantic|hectic|panic|breathless"),
    "fun": (0.7, 0.55, r"fun\b|amusing|entertaining|goofy|zany"),
    "funny": (0.6, 0.35, r"funn[yi]|humor|humour|comic|comed[yi]|hilarious|lustig|divertid|drole|slapstick"),
    "furious": (-0.8, 0.95, r"furious|fury|rage\b|raging|enraged"),
    "gentle": (0.45, -0.65, r"gentl|sanft|suave\b|dou(?:x|ce)\b|doucement|dolce\b|leggero"),
    "gloomy": (-0.7, -0.5, r"gloom|dismal|dreary|grim\b|murky|bleary"),
    "gritty": (-0.35, 0.5, r"gritty|grimy|dirty|raw\b|rough\b|grungy"),
    "groovy": (0.5, 0.45, r"groov|funky"),
    "happy": (0.8, 0.45, r"happ(?:y|i)|glad\b|delight|good mood|feel.?good|feliz|felice|heureu|glucklich|joyeux"),
    "haunting": (-0.5, -0.2, r"haunt"),
    "heartbroken": (-0.8, -0.3, r"heart.?br(?:oken|eak)|break.?up|lovesick|devastat"),
    "heavy": (-0.35, 0.6, r"heavy(?! rain)|hard.?hitting|thunderous|pounding"),
    "heroic": (0.45, 0.7, r"hero(?:ic|es|s)?\b|courag|brave|valiant|warrior|gallant"),
    "hopeful": (0.55, 0.1, r"hope(?:ful)?\b|hoffnung|esperan|espoir|promising"),
    "hypnotic": (0.0, -0.2, r"hypno|mesmeri|trance.?like|trippy|psychedel|repetitive"),
    "innocent": (0.55, -0.25, r"innocen|childlike|naive|kids?\b|child(?:ren|hood)?\b"),
    "inspiring": (0.65, 0.35, r"inspir|aspiration|empower"),
    "intense": (-0.15, 0.8, r"intens|fierce|ferocious|visceral"),
    "joyful": (0.9, 0.6, r"joy(?:ful|ous|fully)?\b|freud|alegria|gioi|joie|elated|gleeful|blissful"),
    "laid-back": (0.4, -0.4, r"laid.?back|lazy|easy listening|unwind|slouchy"),
    "lively": (0.6, 0.7, r"lively|animated|spirited|peppy|vivaci|lebhaft|bustling|zippy|brisk"),
    "lonely": (-0.65, -0.55, (
        r"lonel|lonesome|isolat|solitary|solitude|(?:all|so|feel|feeling|being) alone\b|einsam"
        r"|solitari")),
    "longing": (-0.35, -0.25, r"longing|yearning|saudade|sehnsucht|homesick"),
    "loving": (0.7, -0.05, r"lov(?:ing|ely)\b|love (?:theme|story|ballad)|affection|adoring|in love\b|amor\b|liebe"),
    "magical": (0.5, 0.15, r"magic|enchant|fairy|wonder|wondrous|mystical|spellb"),
    "majestic": (0.4, 0.5, r"majest|grand(?:iose|eur)|regal|royal\b|glorious|imperial|ceremonial|solemnly"),
    "meditative": (0.25, -0.95, r"meditat|zen\b|mindful|yoga"),
    "melancholic": (-0.6, -0.45, r"melanch|malinconi|wehmut|feeling (?:blue|down)\b|downcast|rainy"),
    "mellow": (0.25, -0.5, r"mellow|muted\b(?! trumpet)|low.?key|understated"),
    "menacing": (-0.7, 0.5, r"menac|threaten|danger|bedrohlich|predator"),
    "moody": (-0.35, -0.2, r"mood(?:y|ily)\b|brooding|sulky|broody"),
    "motivational": (0.6, 0.6, r"motivat|corporate|determined"),
    "mournful": (-0.8, -0.55, r"mourn|griev|grief|funer|lament|elegi|requiem|dirge"),
    "mysterious": (-0.3, -0.15, (
        r"myster|mister|enigma|cryptic|secretive|myst[ei]r|geheimnis|spy\b|detective|puzzl"
        r"|intrigu")),
    "neutral": (0.0, -0.1, r"neutral|unobtrusive|inoffensive"),
    "nostalgic": (-0.15, -0.35, r"nostalg|reminisc|memories|bygone|good old"),
    "ominous": (-0.7, 0.2, r"ominous|foreboding|dread|doom(?!.?metal)|portent|looming"),
    "optimistic": (0.65, 0.3, r"optimis|positiv|encourag|good.?vibes"),
    "passionate": (0.35, 0.55, r"passion|pasional|leidenschaft|fiery|ardent|appassionat"),
    "peaceful": (0.55, -0.8, r"peace|paz\b|friedlich|paisible|pacific[ao]|harmonious|idyll|pastoral"),
    "playful": (0.65, 0.4, r"playful|mischiev|cheeky|cute|kawaii|verspielt|jugueton|scherz"),
    "powerful": (0.2, 0.75, r"power(?:ful|fully)?\b(?! chord| ballad| metal)|mighty|massive|huge\b|potent"),
    "proud": (0.5, 0.4, r"proud|pride\b|patriot|anthem"),
    "quirky": (0.4, 0.35, r"quirk|eccentric|weird|odd\b|strange"),
    "rebellious": (-0.1, 0.75, r"rebel|defian|anarch|riot|punky"),
    "reflective": (-0.05, -0.45, r"reflect|remembr|memoir|soul.?search"),
    "relaxed": (0.45, -0.6, r"relax|rilass|entspann|relaj|detend|leisure|lounging"),
    "restless": (-0.25, 0.55, r"restless|agitat|unrest|jittery"),
    "romantic": (0.55, -0.2, (
        r"roman(?:t(?!ic (?:era|period|style))|c)|love song|valentine|candle.?lit|date night|amoureu"
        r"|wedding")),
    "sad": (-0.75, -0.45, (
        r"sad(?:ness|der|dest|ly|s)?\b|trist|traurig|unhapp|tear(?:s|ful|y)|cry(?:ing)?\b|triste"
        r"|weep")),
    "scary": (-0.7, 0.6, r"scar(?:y|ier|ily)|fright|horrif|horror|terror\b|nightmar|grusel|miedo|paura|peur\b"),
    "sensual": (0.45, -0.1, r"sensu|sexy|seduct|sultry|steamy|erotic"),
    "sentimental": (0.1, -0.35, r"sentimental|schmaltz|soppy|tearjerk"),
    "serene": (0.5, -0.85, r"seren(?!ad)|placid"),
    "silly": (0.55, 0.45, r"silly|ridiculous|absurd|cartoon|clown"),
    "sinister": (-0.75, 0.3, r"sinist|malevol|nefarious|unholy"),
    "sleepy": (0.1, -0.95, r"sleep|drows|slumber|bed.?time|lullab|schlaf|dormir|nap\b"),
    "soft": (0.3, -0.6, r"soft(?:ly|er)?\b|weich|hushed|whisper"),
    "somber": (-0.6, -0.6, r"somb(?:er|re)|solemn|serious|funereal|austere"),
    "soothing": (0.5, -0.7, r"sooth|calming|lulling|healing|therap|stress.?relie|beruhig"),
    "sorrowful": (-0.8, -0.5, r"sorrow|woeful|dolor|pain(?:ful)?\b|suffering|plaintive"),
    "spiritual": (0.3, -0.5, r"spiritual|sacred|holy|prayer|divine|devotion|reveren"),
    "spooky": (-0.45, 0.2, r"spook|halloween|ghosts?\b|witch|zombie|vampire"),
    "sunny": (0.75, 0.35, r"sunny|sunshine|summer|sommer|verano|soleil"),
    "suspenseful": (-0.45, 0.45, r"suspens|cliff.?hanger|thriller|stealth|sneak|heist"),
    "sweet": (0.6, -0.25, r"sweet|adorable|tendre|dulce"),
    "tender": (0.5, -0.5, r"tender|caring|lovingly|zartlich|affettuos"),
    "tense": (-0.55, 0.5, r"tens(?:e|ion|ed)|nerv|edgy|gripping|stress(?!.?relie)|gespannt|spannung"),
    "terrifying": (-0.85, 0.75, r"terrif|petrif|hellish|bloodcurd"),
    "tragic": (-0.8, -0.15, r"trag(?:ic|ed)|doomed|fateful|betray"),
    "tranquil": (0.45, -0.9, r"tranquil(?!o)|restful|spa\b|hush\b|zenlike"),
    "triumphant": (0.7, 0.75, r"triumph|conquer|glory"),
    "upbeat": (0.65, 0.65, r"up.?beat|pep\b|poppy|snappy|catchy|bubbly"),
    "uplifting": (0.75, 0.5, r"uplift|feel.?good|life.?affirm|elevat|heart.?warming"),
    "urgent": (-0.25, 0.75, r"urgen|racing|chase|hurry|hurried|rushing|countdown"),
    "vibrant": (0.65, 0.6, r"vibran|colou?rful|fresh|zest"),
    "victorious": (0.75, 0.8, r"victor(?:y|ious)|winning|champion"),
    "warm": (0.5, -0.3, r"warm(?:th|ly)?\b(?! pad)|golden|glow|friendly|welcoming|warme\b"),
    "whimsical": (0.5, 0.25, r"whims|fanciful|storybook|tinker"),
    "wild": (0.15, 0.9, r"wild\b(?! west)|untamed|feral|unhinged|raucous|rowdy"),
    "wistful": (-0.3, -0.4, r"wistful|autumn|faded|fading"),
}  # fmt: skip

MOODS: Final[Mapping[str, tuple[float, float]]] = {word: row[:2] for word, row in sorted(_ROWS.items())}
"""(valence, arousal), -1 to 1, of the mood words to offer; by the alphabet. Many more are understood."""

_PATTERN: Final = re.compile(
    r"\b(?:(?:(?P<more>very|really|so|extremely|super|incredibly|deeply|highly|ultra|totally|truly|muy|tres|sehr|molto)"
    r"|(?P<less>slightly|a (?:bit|little|touch|tad)|somewhat|mildly|kind of|kinda|sort of|faintly|un p(?:eu|oco)))\s+)?"
    r"(?:" + "|".join(f"(?P<mood{number}>{row[2]})" for number, row in enumerate(_ROWS.values())) + ")"
)
_VALUES: Final = tuple(row[:2] for row in _ROWS.values())


def mood_in(text: str) -> tuple[float, float] | None:
    """Return the mean (valence, arousal) of the mood words in plain small letters, or None when there is none."""
    found = []
    for match in _PATTERN.finditer(text):
        strength = 1.3 if match["more"] else 0.5 if match["less"] else 1.0
        valence, arousal = _VALUES[int((match.lastgroup or "").removeprefix("mood"))]
        found.append((bounded(valence * strength), bounded(arousal * strength)))
    if not found:
        return None
    return sum(valence for valence, _ in found) / len(found), sum(arousal for _, arousal in found) / len(found)


def bounded(value: float) -> float:
    """Return the nearest value from -1 to 1."""
    return min(max(value, -1.0), 1.0)
