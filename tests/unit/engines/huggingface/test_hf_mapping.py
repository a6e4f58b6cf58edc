"""How a brief becomes the inputs of a function, whatever its parameters are called."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.engines.huggingface.hf_wire import BRIEF, TEXT

from app.engines.engine import Brief
from app.engines.huggingface.mapping import Parameter, arguments, assign, describe, fill
from app.errors import UpstreamRejected


def text(name: str = "", label: str = "", default: object = "") -> Parameter:
    return Parameter(name, label, "textbox", default)


def number(name: str = "", label: str = "", default: object = 0, **bounds: Any) -> Parameter:
    return Parameter(name, label, "number", default, **bounds)


def slider(name: str, label: str, default: object = 0, *bounds: float | None) -> Parameter:
    low_high_step = [*bounds, *(0, 100, 1)[len(bounds) :]]
    return Parameter(name, label, "slider", default, low_high_step[0], low_high_step[1], low_high_step[2])


MODELS = ("facebook/musicgen-melody", "facebook/musicgen-medium", "facebook/musicgen-small")
MUSICGEN8 = (
    Parameter("model", "Model", "radio", MODELS[0], choices=MODELS),
    text("text", "Input Text"),
    Parameter("melody", "Melody Condition (optional)", "audio"),
    slider("duration", "Duration", 10, 1, 120),
    number("topk", "Top-k", 250),
    number("topp", "Top-p", 0),
    number("temperature", "Temperature", 1.0),
    number("cfg_coef", "Classifier Free Guidance", 3.0),
)
MUSICGEN10 = (
    Parameter("model", "Model", "radio", MODELS[0], choices=MODELS),
    text("model_path", "Model Path (custom models)"),
    Parameter("decoder", "Decoder", "radio", "Default", choices=("Default", "MultiBand_Diffusion")),
    *MUSICGEN8[1:],
)


def test_musicgen_gets_prompt_and_duration_and_keeps_the_rest() -> None:
    assert arguments(MUSICGEN8, BRIEF) == [MODELS[0], TEXT, None, 10, 250, 0, 1.0, 3.0]


def test_musicgens_longer_form_does_not_take_the_model_path_for_the_prompt() -> None:
    assert arguments(MUSICGEN10, BRIEF) == [MODELS[0], "", "Default", TEXT, None, 10, 250, 0, 1.0, 3.0]


def test_labels_are_enough_where_3_x_tells_no_names() -> None:
    unnamed = [dataclasses.replace(parameter, name="") for parameter in MUSICGEN8]
    assert arguments(unnamed, BRIEF) == arguments(MUSICGEN8, BRIEF)


def test_names_are_enough_where_there_are_no_labels() -> None:
    unlabelled = [dataclasses.replace(parameter, label="") for parameter in MUSICGEN8]
    assert arguments(unlabelled, BRIEF) == arguments(MUSICGEN8, BRIEF)


def test_state_gets_its_null_in_its_place() -> None:
    assert arguments([Parameter("", "", "state"), text("prompt")], BRIEF) == [None, TEXT]


@pytest.mark.parametrize(
    ("parameters", "position"),
    [
        ((text("", ""),), 0),
        ((text("negative_prompt", "Negative prompt"), text("prompt", "Prompt")), 1),
        ((text("neg", "Negative prompt"), text("x", "Anything")), 1),
        ((text("lyrics", "Lyrics"), text("tags", "Tags")), 1),
        ((text("lyrics", "Lyrics"),), 0),
        ((text("text", "Text"), text("prompt", "Prompt")), 1),
        ((text("api_key", "API key"), text("idea", "Your idea")), 1),
        ((text("file_name", "File name"), text("a", "Whatever")), 1),
        ((text("genre", "Genre"), text("description", "Describe it")), 1),
        ((Parameter("p", "Prompt", "textarea"),), 0),
    ],
)
def test_the_prompt_goes_where_a_person_would_put_it(parameters: tuple[Parameter, ...], position: int) -> None:
    assert assign(parameters)[position] == "prompt"
    assert [field for field in assign(parameters).values() if field == "prompt"] == ["prompt"]


@pytest.mark.parametrize(
    "parameters",
    [
        (),
        (slider("duration", "Duration"),),
        (text("negative_prompt", "Negative prompt"),),
        (text("api_key", "API key"),),
        (Parameter("audio", "Audio", "audio"),),
    ],
)
def test_no_parameter_is_better_than_a_wrong_one(parameters: tuple[Parameter, ...]) -> None:
    assert "prompt" not in assign(parameters).values()
    assert arguments(parameters, dataclasses.replace(BRIEF, prompt="unique")).count("unique") == 0


@pytest.mark.parametrize(
    ("parameter", "duration_s", "sent"),
    [
        (slider("duration", "Duration", 10, 1, 30), 12.0, 12),
        (slider("duration", "Duration", 10, 1, 30), 12.4, 12),
        (slider("duration", "Duration", 10, 1, 30, 0.5), 12.4, 12.5),
        (slider("duration", "Duration", 10, 1, 8), 30.0, 8),
        (slider("duration", "Duration", 30, 20, 60), 5.0, 20),
        (slider("duration", "Duration", 10, 5, 30, 10), 21.0, 25),
        (slider("duration", "Duration", 10, 1, 30, None), 12.3456789, 12.345679),
        (slider("duration", "Duration", 10, 1, 30, 1e-320), 12.5, 12.5),
        (number("audio_length_in_s"), 7.5, 7.5),
        (number("", "Length (seconds)"), 7.0, 7),
        (number("", "How long?"), 7.0, 7),
        (number("duration_ms", "Duration"), 7.5, 7_500),
        (number("", "Length in milliseconds"), 7.5, 7_500),
        (number("", "Duration in minutes"), 30.0, 0.5),
        (slider("max_new_tokens", "Tokens", 256, 1, 1503), 10.0, 500),
        (slider("max_new_tokens", "Tokens", 256, 1, 1503), 60.0, 1503),
        (number("tokens"), 5.02, 251),
        (slider("duration", "Duration", 1, 0, 7.1234567, None), 30.0, 7.1234567),
    ],
)
def test_the_length_fits_unit_bounds_and_steps(parameter: Parameter, duration_s: float, sent: float) -> None:
    (value,) = arguments([parameter], Brief("x", duration_s, 0))
    assert value == sent
    assert type(value) is type(sent)


@pytest.mark.parametrize(
    "label", ["Context length", "Fade time", "Inference timesteps", "Extend stride", "Start time", "Overlap seconds"]
)
def test_other_lengths_are_left_alone(label: str) -> None:
    assert arguments([number("", label, 3)], BRIEF) == [3]


def test_tokens_are_the_length_and_seconds_beside_them_are_not_set_twice() -> None:
    assert assign([number("duration"), number("max_new_tokens")]) == {1: "tokens"}


@pytest.mark.parametrize(
    ("parameter", "seed", "sent"),
    [
        (number("seed"), 4_294_967_295, 4_294_967_295),
        (number("", "Seed (-1 for random)"), 42, 42),
        (number("random_seed", "Random seed"), 42, 42),
        (slider("seed", "Seed", 0, 0, 2_147_483_647), 4_294_967_295, 2_147_483_647),
        (slider("seed", "Seed", 0, 0, 999), 1_234, 234),
        (slider("seed", "Seed", 0, 100, 999), 1_010, 100),
        (slider("seed", "Seed", -1, -1, 0), 5, 0),
    ],
)
def test_a_seed_too_large_wraps_so_that_seeds_stay_different(parameter: Parameter, seed: int, sent: int) -> None:
    assert arguments([parameter], Brief("x", 5, seed)) == [sent]


def test_the_box_that_would_overrule_our_seed_is_unticked() -> None:
    box = Parameter("randomize_seed", "Randomize seed", "checkbox", default=True)
    other = Parameter("loop", "Loop", "checkbox", default=True)
    assert arguments([number("seed"), box, other], BRIEF) == [42, False, True]
    assert arguments([box], BRIEF) == [True], "nothing is overruled where no seed is taken"


def test_mood_tempo_and_instruments_go_into_their_own_parameters_and_out_of_the_prompt() -> None:
    moods = Parameter("mood", "Mood", "dropdown", "Happy", choices=("Happy", "Calm"))
    played = Parameter("", "Instruments", "checkboxgroup", [], choices=("Piano", "Drums", "Strings"), takes_many=True)
    parameters = [text("prompt"), moods, slider("bpm", "BPM", 120, 40, 200), played]
    assert arguments(parameters, BRIEF) == ["lofi beat", "Calm", 90, ["Piano", "Strings"]]


def test_what_a_choice_does_not_offer_stays_in_the_prompt() -> None:
    moods = Parameter("mood", "Mood", "dropdown", "Happy", choices=("Happy", "Sad"))
    assert arguments([text("prompt"), moods], BRIEF) == [TEXT, "Happy"]


def test_a_choice_is_found_by_its_label_and_sent_as_its_value() -> None:
    moods = Parameter("mood", "Mood", "dropdown", 1, choices=(1, 2), choice_labels=("Happy", "Calm"))
    assert arguments([text("prompt"), moods], BRIEF)[1] == 2


def test_instruments_that_are_not_all_among_the_choices_stay_in_the_prompt() -> None:
    played = Parameter("", "Instruments", "checkboxgroup", [], choices=("Piano", "Drums"), takes_many=True)
    said, chosen = arguments([text("prompt"), played], BRIEF)
    assert chosen == ["Piano"]
    assert "with piano and strings" in str(said)


def test_a_tempo_in_words_is_no_number() -> None:
    moody_slider = slider("tempo", "Tempo", 3)
    brief = Brief("x", 5, 1)
    assert arguments([moody_slider], brief) == [3]
    assert arguments([text("tempo", "Tempo")], BRIEF)[0] == "90"


def test_a_slow_brief_in_minutes_is_still_beats_per_minute() -> None:
    assert arguments([number("", "Tempo (beats per minute)")], BRIEF) == [90]


# ---------------------------------------------------------------------- the text


@pytest.mark.parametrize(
    ("brief", "said"),
    [
        (Brief("rain", 5, 1), "rain"),
        (Brief("rain", 5, 1, mood="calm"), "rain, calm mood"),
        (Brief("rain", 5, 1, tempo_bpm=60), "rain, 60 BPM"),
        (Brief("rain", 5, 1, instruments=("harp",)), "rain, with harp"),
        (Brief("rain", 5, 1, instruments=("harp", "flute", "oboe")), "rain, with harp, flute and oboe"),
        (BRIEF, TEXT),
    ],
)
def test_a_brief_is_described_in_one_line(brief: Brief, said: str) -> None:
    assert describe(brief) == said


def test_only_the_named_fields_are_described() -> None:
    assert describe(BRIEF, {"tempo"}) == "lofi beat, 90 BPM"
    assert describe(BRIEF, ()) == "lofi beat"


# ---------------------------------------------------------------------- HF_INPUTS


def test_a_list_of_inputs_is_used_as_it_is() -> None:
    assert arguments(MUSICGEN8, BRIEF, ["{text}", "{duration}", "{seed}", None, 3.5, "{mood}!"]) == [
        TEXT,
        10,
        42,
        None,
        3.5,
        "calm!",
    ]


def test_an_object_of_inputs_overrides_by_name_or_label() -> None:
    explicit = {"MODEL": MODELS[2], "Classifier Free Guidance": 5, "text": "{prompt} in {instruments}"}
    assert arguments(MUSICGEN8, BRIEF, explicit) == [
        MODELS[2],
        "lofi beat in piano, strings",
        None,
        10,
        250,
        0,
        1.0,
        5,
    ]


def test_an_unknown_name_is_told_with_the_known_ones() -> None:
    parameters = [text("prompt"), Parameter("", "", "state"), number("", "Top-k")]
    with pytest.raises(UpstreamRejected, match="it has: prompt, Top-k") as failure:
        arguments(parameters, BRIEF, {"promt": "x"})
    assert not failure.value.repeat


def test_placeholders_keep_their_type_alone_and_become_text_among_words() -> None:
    template = {"a": ["{tokens}", {"b": "{tempo}"}], "c": "{duration} s at {tempo} BPM, {unknown} {", "d": 7, "e": None}
    assert fill(template, BRIEF) == {
        "a": [500, {"b": 90}],
        "c": "10 s at 90 BPM, {unknown} {",
        "d": 7,
        "e": None,
    }


def test_nothing_stands_for_what_the_brief_does_not_say() -> None:
    assert fill(["{tempo}", "at {tempo} BPM", "{mood}", "{instruments}"], Brief("x", 5, 1)) == [None, "at  BPM", "", ""]


def test_braces_in_the_prompt_stay_as_they_are() -> None:
    brief = Brief("{seed} {0} {prompt} \\1 %s", 5, 99)
    assert fill(["{prompt}", "say {prompt}"], brief) == [brief.prompt, f"say {brief.prompt}"]


# ---------------------------------------------------------------------- anything

FINITE = st.one_of(st.none(), st.floats(-1e308, 1e308), st.sampled_from([0.0, 1e-320, 1e308, -1e308, 0.1]))
PARAMETERS = st.builds(
    Parameter,
    name=st.sampled_from(["prompt", "duration", "seed", "tempo", "mood", "duration_ms", "minutes", "tokens", ""]),
    label=st.one_of(st.just(""), st.sampled_from(["Seed", "Random seed", "Time", "Instruments"]), st.text(max_size=9)),
    component=st.sampled_from(["textbox", "slider", "number", "checkbox", "dropdown", "state", "audio", "?"]),
    default=st.sampled_from([None, 0, "x", True]),
    minimum=FINITE,
    maximum=FINITE,
    step=FINITE,
    choices=st.lists(st.one_of(st.none(), st.integers(), st.text(max_size=3)), max_size=3).map(tuple),
    takes_many=st.booleans(),
)
BRIEFS = st.builds(
    Brief,
    prompt=st.text(min_size=1, max_size=20),
    duration_s=st.floats(5, 30),
    seed=st.integers(0, 2**32 - 1),
    mood=st.one_of(st.none(), st.text(max_size=9)),
    tempo_bpm=st.one_of(st.none(), st.integers(40, 220)),
    instruments=st.lists(st.text(max_size=5), max_size=3).map(tuple),
)


@given(parameters=st.lists(PARAMETERS, max_size=6), brief=BRIEFS)
@settings(max_examples=80, deadline=None)
def test_any_function_gets_one_value_per_parameter_and_numbers_within_bounds(
    parameters: list[Parameter], brief: Brief
) -> None:
    data = arguments(parameters, brief)
    assert len(data) == len(parameters)
    for position, field in assign(parameters).items():
        parameter, value = parameters[position], data[position]
        if parameter.is_number and not parameter.choices and value is not parameter.default:
            assert isinstance(value, int | float), field
            low, high = parameter.minimum, parameter.maximum
            if low is None or high is None or low <= high:
                assert low is None or value >= low
                assert high is None or value <= high


@given(st.recursive(st.text(max_size=12), lambda it: st.lists(it, max_size=3) | st.dictionaries(st.text(), it)), BRIEFS)
@settings(max_examples=50, deadline=None)
def test_any_template_is_filled_and_keeps_its_shape(template: Any, brief: Brief) -> None:
    filled: Any = fill(template, brief)
    if not isinstance(template, str):
        assert type(filled) is type(template)
        assert len(filled) == len(template)
