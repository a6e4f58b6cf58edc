"""What words mean: negations, moods, instruments, keys and tempi."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.engines.composer.instruments import INSTRUMENTS
from app.engines.composer.plan import terms, words
from app.engines.composer.plan.moods import MOODS, mood_in
from app.engines.composer.plan.terms import Key


def unwanted_in(text: str) -> str:
    return words.read_wish(text).unwanted


def names_in(text: str, *, listed: bool = False) -> list[str]:
    return [mention.names[0] for mention in words.mentions_in(text, listed=listed)]


# Negations


@pytest.mark.parametrize(
    ("text", "unwanted", "wanted"),
    [
        ("no drums", ["drums"], []),
        ("no drums or bass", ["drums", "bass"], []),
        ("no drums and bass", ["drums", "bass"], []),
        ("without drums, bass and vocals", ["drums", "bass", "vocals"], []),
        ("without drums, bass and vocals, rock", ["drums", "vocals"], ["rock"]),
        ("no drums, bass, or vocals please", ["drums", "bass", "vocals"], ["please"]),
        ("without drums, piano and sax only", ["drums"], ["piano", "sax"]),
        ("no drums, calm, piano", ["drums"], ["calm", "piano"]),
        ("not jazz, rock please", ["jazz"], ["rock"]),
        ("not jazz but rock", ["jazz"], ["rock"]),
        ("rather than jazz, rock", ["jazz"], ["rock"]),
        ("not too fast", ["fast"], []),
        ("not too fast or loud, happy", ["fast", "loud"], ["happy"]),
        ("nothing sad", ["sad"], []),
        ("no longer sad", ["sad"], []),
        ("without being aggressive", ["aggressive"], []),
        ("don't use piano", ["piano"], []),
        ("I don’t want any electric guitar; flute", ["electric guitar"], ["flute"]),
        ("please avoid heavy drums", ["heavy drums"], ["please"]),
        ("drum-free techno", ["drum"], ["techno"]),
        ("drumless", ["drum"], []),
        ("neither drums nor bass", ["drums", "bass"], []),
        ("ohne Schlagzeug, ruhig", ["Schlagzeug"], ["ruhig"]),
        ("sin batería", ["bateria"], []),
        ("no drums with soft piano", ["drums"], ["soft piano"]),
        ("no drums and a soft piano melody", ["drums"], ["soft piano"]),
    ],
)
def test_a_negation_takes_what_it_covers_and_nothing_else(text: str, unwanted: list[str], wanted: list[str]) -> None:
    wish = words.read_wish(text)
    assert all(word in wish.unwanted and word not in wish.wanted for word in unwanted)
    assert all(word in wish.wanted and word not in wish.unwanted for word in wanted)


@pytest.mark.parametrize(
    "text",
    [
        "no more than 120 bpm", "not only jazz", "not just sad", "no doubt jazz", "non-stop dance", "why not jazz",
        "don't stop the jazz", "nothing but piano", "not unlike jazz", "piano", "nocturne", "notes",
        "no matter what, jazz", "northern soul", "carefree",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_negation_is_none(text: str) -> None:
    assert unwanted_in(text) == ""


# Moods

JOYFUL = [
    "happy",
    "joyful",
    "cheerful",
    "festive",
    "euphoric",
    "playful",
    "upbeat",
    "uplifting",
    "sunny",
    "sweet",
    "romantic",
    "hopeful",
    "proud",
]
BITTER = [
    "sad",
    "melancholic",
    "gloomy",
    "dark",
    "angry",
    "scary",
    "lonely",
    "mournful",
    "tragic",
    "ominous",
    "tense",
    "bleak",
    "sinister",
    "evil",
]
LIVELY = [
    "energetic",
    "aggressive",
    "epic",
    "angry",
    "excited",
    "frantic",
    "wild",
    "upbeat",
    "triumphant",
    "chaotic",
    "intense",
    "furious",
    "urgent",
]
QUIET = [
    "calm",
    "peaceful",
    "sleepy",
    "serene",
    "tranquil",
    "meditative",
    "gentle",
    "mellow",
    "relaxed",
    "soothing",
    "sad",
    "lonely",
    "dreamy",
    "soft",
]


def test_moods_have_the_sign_they_say() -> None:
    assert all(MOODS[word][0] > 0.2 for word in JOYFUL)
    assert all(MOODS[word][0] < -0.2 for word in BITTER)
    assert all(MOODS[word][1] > 0.2 for word in LIVELY)
    assert all(MOODS[word][1] < -0.2 for word in QUIET)


def test_every_mood_is_understood_as_itself_and_no_two_are_the_same() -> None:
    assert len(MOODS) >= 90
    assert list(MOODS) == sorted(MOODS)
    assert {word: mood_in(word) for word in MOODS} == dict(MOODS)
    assert all(one != other for one, other in itertools.combinations(MOODS.values(), 2))
    assert all(-1 <= value <= 1 for mood in MOODS.values() for value in mood)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("happily", "happy"), ("sadness", "sad"), ("so much joy", "joyful"), ("melancholy", "melancholic"),
        ("relaxing", "relaxed"), ("traurig", "sad"), ("feliz", "happy"), ("triste", "sad"), ("ruhig", "calm"),
        ("mysterious", "mysterious"), ("nightmare", "scary"), ("good vibes", "optimistic"), ("yoga", "meditative"),
        ("co-zy cozy", "cozy"), ("laidback", "laid-back"), ("heart-broken", "heartbroken"), ("feel good", "happy"),
    ],
)  # fmt: skip
def test_other_words_mean_the_same(text: str, word: str) -> None:
    assert mood_in(text) == MOODS[word]


@pytest.mark.parametrize(
    "text",
    ["saddle up", "", "purple", "a chilli recipe", "video content", "piano-driven", "wild west", "madrid", "coldplay"],
)
def test_words_that_only_begin_like_a_mood_are_none(text: str) -> None:
    assert mood_in(text) is None


def test_degrees_and_several_moods() -> None:
    very, plain, slightly = (mood_in(text) for text in ("very sad", "sad", "a bit sad"))
    assert very
    assert plain
    assert slightly
    assert very < plain < slightly < (0, 0)
    assert mood_in("extremely energetic") == pytest.approx((1.3 * MOODS["energetic"][0], 1.0))
    happy, calm = MOODS["happy"], MOODS["calm"]
    assert mood_in("happy and calm") == pytest.approx(((happy[0] + calm[0]) / 2, (happy[1] + calm[1]) / 2))


# Instruments


def test_every_instrument_answers_to_its_own_name() -> None:
    assert [name for name in INSTRUMENTS if names_in(name, listed=True) != [name]] == []


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("electric piano", ["electric piano"]),
        ("e-piano and piano", ["electric piano", "piano"]),
        ("bass guitar", ["electric bass"]),
        ("bass and guitar", ["electric bass", "acoustic guitar"]),
        ("synth bass", ["synth bass"]),
        ("bass clarinet", ["clarinet"]),
        ("steel drums", ["steel drums"]),
        ("steel guitar", ["acoustic guitar"]),
        ("warm synth pad", ["warm pad"]),
        ("pan flute, flute", ["pan flute", "flute"]),
        ("muted trumpet", ["muted trumpet"]),
        ("drum machine", ["electronic drums"]),
        ("saxophones", ["tenor sax"]),
        ("violín y violonchelo", ["violin", "cello"]),
        ("flûte et guitare", ["flute", "acoustic guitar"]),
        ("geige, querflöte, schlagzeug", ["violin", "flute", "drums"]),
        ("chitarra e pianoforte", ["acoustic guitar", "piano"]),
        ("drum and bass", []),
        ("drop the bass", []),
        ("good vibes", []),
        ("organic, harpoon, the key to my heartbeat", []),
        ("i saw a lead singer", ["voice"]),
    ],
)  # fmt: skip
def test_the_longest_name_counts(text: str, names: list[str]) -> None:
    assert names_in(words.plain(text)) == names


def test_a_list_of_instruments_understands_names_that_are_words_elsewhere() -> None:
    assert names_in("vibes", listed=True) == ["vibraphone"]
    assert names_in("keys", listed=True) == ["piano"]
    assert names_in("lead", listed=True) == ["saw lead"]
    assert names_in("drum and bass", listed=True) == ["drums", "electric bass"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [("pianno", "piano"), ("guitarr", "guitar"), ("gutar", "guitar"), ("violen", "violin"), ("trupet", "trumpet"),
     ("theremin", "theremin"), ("kazoo", "kazoo"), ("", ""), ("erhuu", "erhuu")],
)  # fmt: skip
def test_typing_errors_are_understood_and_strange_names_left_alone(name: str, meant: str) -> None:
    assert words.respelled(name) == meant


# Keys and tempi


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("in D minor", Key(2, "minor")), ("in d minor", Key(2, "minor")), ("key of F# major", Key(6, "major")),
        ("F sharp minor", Key(6, "minor")), ("E flat major", Key(3, "major")), ("E♭ major", Key(3, "major")),
        ("Bb minor", Key(10, "minor")), ("eb-major", Key(3, "major")), ("G dorian", Key(7, "dorian")),
        ("A minor", Key(9, "minor")), ("a song in a minor", Key(9, "minor")), ("ab major", Key(8, "major")),
        ("a flat major", Key(8, "major")), ("C major", Key(0, "major")), ("C-Dur", Key(0, "major")),
        ("a-moll", Key(9, "minor")), ("B-Dur", Key(10, "major")), ("h-moll", Key(11, "minor")),
        ("fis-Moll", Key(6, "minor")), ("Es-Dur", Key(3, "major")), ("As-Dur", Key(8, "major")),
        ("la mineur", Key(9, "minor")), ("do mayor", Key(0, "major")), ("si bemol majeur", Key(10, "major")),
        ("in Am", Key(9, "minor")), ("in F#m, slow", Key(6, "minor")), ("key of G", Key(7, None)),
        ("blues in E", Key(4, None)), ("key: Bb", Key(10, None)), ("Cb major", Key(11, "major")),
        ("E harmonic minor", Key(4, "harmonic minor")), ("in a minor key", Key(None, "minor")),
        ("in a major key", Key(None, "major")), ("dorian mode", Key(None, "dorian")),
        ("minor chords", Key(None, "minor")),
        ("a major hit", Key(None, None)), ("A major hit", Key(None, None)), ("a minor setback", Key(None, None)),
        ("I Am Sad", Key(None, None)), ("in A City", Key(None, None)), ("a song", Key(None, None)),
        ("vitamin B minority", Key(None, None)), ("", Key(None, None)),
    ],
)  # fmt: skip
def test_keys(text: str, key: Key) -> None:
    assert terms.key_in(words.plain(text)) == key


@pytest.mark.parametrize(
    ("text", "bpm"),
    [
        ("120 bpm", 120), ("at 92.5bpm", 92.5), ("80-90 bpm", 85), ("80 to 100 bpm", 90), ("bpm: 128", 128),
        ("tempo of 60", 60), ("100 beats per minute", 100), ("120-bpm", 120), ("120 dollars", None), ("in 1920", None),
    ],
)  # fmt: skip
def test_tempi_in_figures(text: str, bpm: float | None) -> None:
    assert terms.tempo_in(text) == bpm


@pytest.mark.parametrize(
    ("slower", "faster"), [("slow", "fast"), ("largo", "andante"), ("andante", "allegro"), ("allegro", "presto"),
                           ("langsam", "schnell"), ("downtempo", "uptempo")],
)  # fmt: skip
def test_tempi_in_words(slower: str, faster: str) -> None:
    low, high = terms.pace_in(slower), terms.pace_in(faster)
    assert low is not None
    assert high is not None
    assert low < high
    assert terms.pace_in("breakfast") is None


# Bounds


@pytest.mark.parametrize(
    "unit", ["no ", "a ", "no a a a a ", "no drums, ", "not ", "n't ", "very ", "piano, ", "solo ", "just a a ",
             "in a ", "9 ", "80-", "-", " ", "a b ", "key of ", "x-free ", "\ufdfa", "\ud800", "synth bass ", "no-a-"],
)  # fmt: skip
def test_reading_takes_time_in_proportion_to_the_text(unit: str) -> None:
    text = (unit * 1_000)[:1_000]
    started_s = time.process_time()
    wish = words.read_wish(text).folded()
    mentions = words.mentions_in(wish.wanted, listed=True)
    words.alone_in(wish.wanted, mentions)
    mood_in(wish.wanted)
    terms.key_in(text)
    terms.tempo_in(text)
    terms.pace_in(text)
    assert time.process_time() - started_s < 1.0, "a few hundredths are usual"


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=1000))
def test_nothing_is_read_from_where_there_is_nothing(text: str) -> None:
    wish = words.read_wish(text)
    assert len(wish.wanted) + len(wish.unwanted) < 10_000
    for mention in words.mentions_in(wish.folded().wanted):
        assert 0 <= mention.start < mention.end
        assert set(mention.names) <= set(INSTRUMENTS)
