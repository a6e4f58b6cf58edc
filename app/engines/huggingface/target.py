"""What `HF_API_URL` says: where the upstream lives and which function is meant.

Nothing is asked of the network here. Whether a Gradio app really answers at `base_url`
is found out by `HuggingFace`, because a URL alone cannot tell.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

_SPACE_ID: Final = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_SPACE_PAGE: Final = re.compile(r"/spaces/([\w.-]+/[\w.-]+)/?", re.ASCII)
_FUNCTION_ROUTE: Final = re.compile(r"^(?P<base>.*?)(?:/gradio_api)?/(?:run|api|call|call/v2)/(?P<name>[^/]+)/?$")
_INFERENCE_HOSTS: Final = (
    "router.huggingface.co",
    "api-inference.huggingface.co",
    ".endpoints.huggingface.cloud",
)


@dataclass(frozen=True, slots=True)
class Target:
    """Where to send requests.

    Attributes:
        url: The URL as it was given, as a full http(s) URL.
        base_url: Where a Gradio app would have its `/config`, without a trailing slash.
        function: Name (without slash) or number of the Gradio function, or None for "find it".
        is_inference: The host is known to be an Inference Endpoint or the router.
    """

    url: str
    base_url: str
    function: str | None
    is_inference: bool


def parse_target(api_url: str, api_name: str | None = None) -> Target:
    """Return what `HF_API_URL` and `HF_API_NAME` mean.

    Args:
        api_url: `owner/space`, a Space's page or host, a Gradio base URL, a URL that ends in
            `/run/NAME`, `/api/NAME` or `/call/NAME` (with or without `/gradio_api`), an
            Inference Endpoint, or a router URL; already known to be well-formed.
        api_name: Overrides the function that the URL names; a leading slash is optional.

    Source: a Space's host is its id in lower case with everything but letters and digits
    made a hyphen (huggingface.co/docs/hub/spaces-embed, read 2026-08).
    """
    if _SPACE_ID.fullmatch(api_url):
        api_url = _space_url(api_url)
    parts = urlsplit(api_url)
    host = (parts.hostname or "").lower()
    if host in ("huggingface.co", "hf.co") and (page := _SPACE_PAGE.fullmatch(parts.path)):
        api_url = _space_url(page[1])
        parts = urlsplit(api_url)
    route = _FUNCTION_ROUTE.match(parts.path)
    base_path = (route["base"] if route else parts.path).rstrip("/").removesuffix("/gradio_api")
    named = api_name or (unquote(route["name"]) if route else None)
    return Target(
        url=api_url,
        base_url=urlunsplit((parts.scheme, parts.netloc, base_path, "", "")).rstrip("/"),
        function=named.strip("/") if named else None,
        is_inference=any(host == known or (known[0] == "." and host.endswith(known)) for known in _INFERENCE_HOSTS),
    )


def _space_url(space_id: str) -> str:
    return f"https://{re.sub('[^a-z0-9]', '-', space_id.lower())}.hf.space"
