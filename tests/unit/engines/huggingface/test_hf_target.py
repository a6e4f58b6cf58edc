"""What `HF_API_URL` and `HF_API_NAME` may look like, and what they mean."""

from __future__ import annotations

import pytest

from app.engines.huggingface.target import parse_target

H = "https://host.example"


@pytest.mark.parametrize(
    ("api_url", "base_url", "function"),
    [
        ("owner/space", "https://owner-space.hf.space", None),
        ("Owner/My_Space.v2", "https://owner-my-space-v2.hf.space", None),
        ("https://huggingface.co/spaces/facebook/MusicGen", "https://facebook-musicgen.hf.space", None),
        ("https://huggingface.co/spaces/owner/space/", "https://owner-space.hf.space", None),
        ("https://hf.co/spaces/owner/space", "https://owner-space.hf.space", None),
        ("https://owner-space.hf.space", "https://owner-space.hf.space", None),
        ("https://owner-space.hf.space/", "https://owner-space.hf.space", None),
        ("https://owner-space.hf.space/run/predict", "https://owner-space.hf.space", "predict"),
        (f"{H}/run/predict", H, "predict"),
        (f"{H}/run/predict/", H, "predict"),
        (f"{H}/api/predict/", H, "predict"),
        (f"{H}/api/predict", H, "predict"),
        (f"{H}/call/generate", H, "generate"),
        (f"{H}/call/v2/generate", H, "generate"),
        (f"{H}/gradio_api/call/generate", H, "generate"),
        (f"{H}/gradio_api/call/v2/generate/", H, "generate"),
        (f"{H}/gradio_api/run/generate", H, "generate"),
        (f"{H}/gradio_api", H, None),
        (f"{H}/gradio_api/", H, None),
        (f"{H}/studio", f"{H}/studio", None),
        (f"{H}/studio/", f"{H}/studio", None),
        (f"{H}/studio/run/predict", f"{H}/studio", "predict"),
        (f"{H}/a/b/gradio_api/call/predict", f"{H}/a/b", "predict"),
        (f"{H}/run/my%20song%2Fv2", H, "my song/v2"),
        (f"{H}:8443/run/predict", f"{H}:8443", "predict"),
        ("http://127.0.0.1:7860", "http://127.0.0.1:7860", None),
        ("http://[::1]:7860/run/x", "http://[::1]:7860", "x"),
        (f"{H}/run/predict?session=1", H, "predict"),
        (f"{H}/api/v1/generate", f"{H}/api/v1/generate", None),
        (f"{H}/run", f"{H}/run", None),
        (f"{H}/", H, None),
    ],
)
def test_a_url_says_where_the_app_is_and_which_function_is_meant(
    api_url: str, base_url: str, function: str | None
) -> None:
    target = parse_target(api_url)
    assert (target.base_url, target.function, target.is_inference) == (base_url, function, False)


@pytest.mark.parametrize(
    "api_url",
    [
        "https://abc123.us-east-1.aws.endpoints.huggingface.cloud",
        "https://abc123.us-east-1.aws.endpoints.huggingface.cloud/predict",
        "https://router.huggingface.co/hf-inference/models/facebook/musicgen-small",
        "https://Router.HuggingFace.co/fal-ai/x",
        "https://api-inference.huggingface.co/models/facebook/musicgen-small",
    ],
)
def test_inference_hosts_are_known_by_name_and_posted_to_as_given(api_url: str) -> None:
    target = parse_target(api_url)
    assert target.is_inference
    assert target.url == api_url


@pytest.mark.parametrize(
    "api_url",
    [
        "https://endpoints.huggingface.cloud.example.com/",
        "https://router.huggingface.co.example.com/",
        "https://example.com/router.huggingface.co",
        "https://huggingface.co/facebook/musicgen-small",
    ],
)
def test_hosts_that_only_look_like_inference_hosts_are_not(api_url: str) -> None:
    assert not parse_target(api_url).is_inference


@pytest.mark.parametrize(
    ("api_url", "api_name", "function"),
    [
        ("owner/space", "/predict", "predict"),
        ("owner/space", "predict", "predict"),
        ("owner/space", "3", "3"),
        (f"{H}/run/predict", "/other", "other"),
        (f"{H}/run/predict", "", "predict"),
        (f"{H}/run/predict", None, "predict"),
    ],
)
def test_the_setting_overrides_the_function_of_the_url(api_url: str, api_name: str | None, function: str) -> None:
    assert parse_target(api_url, api_name).function == function
    assert parse_target(api_url, api_name).url.startswith("https://")
