"""Edge: which proxies are believed, which names are answered to, and what browsers may do with an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from flask import Flask, Response, request

from app.errors import FieldError, InvalidRequest

MAX_QUERY_BYTES: Final = 2_000
MAX_PARAMETERS: Final = 20
MAX_ACCEPT_CHARS: Final = 1_000
"""Of the header `Accept`; browsers send some 150. Understanding 8 KiB of it takes 50 ms."""

_ANY_HOST: Final = ("/health", "/ready")
"""A platform asks these by whatever name or address it knows the instance by."""

_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
SENT_HEADERS: Final = (
    "Accept",
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "If-None-Match",
    "If-Range",
    "Last-Event-ID",
    "Prefer",
    "Range",
    "X-API-Key",
    "X-Request-ID",
    "traceparent",
    "tracestate",
)
"""What a page of another origin may send; a browser asks before it does."""

EXPOSED_HEADERS: Final = (
    "Accept-Ranges",
    "Allow",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Idempotent-Replayed",
    "Link",
    "Location",
    "Preference-Applied",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Repr-Digest",
    "Retry-After",
    "Server-Timing",
    "Studio-Attempts",
    "Studio-Duration",
    "Studio-Engine",
    "Studio-Fallback-Reason",
    "Studio-Remarks",
    "Studio-Seed",
    "WWW-Authenticate",
    "X-Request-ID",
)
"""What a page of another origin may read, beside the few headers that any page may."""

_PREFLIGHT_AGE_S: Final = 7_200  # browsers keep it no longer

_ALL: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_PAGES: Final = {
    **_ALL,
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}
# Not more than that: some browsers apply the policy of a sound file to the player that they show it in.
_OTHERS: Final = {**_ALL, "Content-Security-Policy": "frame-ancestors 'none'"}
_ONLY_HTTPS: Final = "max-age=31536000"


def protect(app: Flask, *, trusted_proxies: int, hosts: Sequence[str], origins: Sequence[str]) -> None:
    """Refuse requests that were meant for others or cannot be read in one way, and give each answer its headers.

    Args:
        trusted_proxies: Proxies in front of this service that add to `X-Forwarded-For`.
        hosts: Names that are answered to, `*.example.com` for all below one; none stands for all.
        origins: Whose pages may call, `*` for all; none stands for none but our own.
    """
    if trusted_proxies:
        from werkzeug.middleware.proxy_fix import ProxyFix

        # The scheme is what the nearest proxy says: unlike addresses, proxies replace it. The host is the
        # header `Host`, which all proxies that matter pass on; most let `X-Forwarded-Host` of anybody through.
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=trusted_proxies, x_proto=1, x_host=0)  # type: ignore[method-assign]

    @app.before_request
    def look() -> None:
        if hosts and request.path not in _ANY_HOST:
            _check_host(hosts)
        _check_lengths()

    resource_policy = ("Cross-Origin-Resource-Policy", "cross-origin" if origins else "same-origin")
    pages, others = (*_PAGES.items(), resource_policy), (*_OTHERS.items(), resource_policy)

    @app.after_request
    def cover(response: Response) -> Response:
        has = {name.lower() for name, _ in response.headers}  # `setdefault` would go through all of them each time
        for name, value in pages if response.mimetype == "text/html" else others:
            if name.lower() not in has:
                response.headers.add(name, value)
        if request.is_secure:
            response.headers["Strict-Transport-Security"] = _ONLY_HTTPS
        return response

    if origins:
        _share(app, origins)


def _check_host(ours: Sequence[str]) -> None:
    name = request.headers.get("Host", "").lower()
    if not name.endswith("]"):  # the end of an IPv6 address, which has colons of its own
        name = name.rpartition(":")[0] or name
    if not any(name == each or (each.startswith("*.") and name.endswith(each[1:])) for each in ours):
        not_ours = FieldError("Host", "is none of this service")
        raise InvalidRequest("This service does not answer to that name.", fields=(not_ours,))


def _check_lengths() -> None:
    """Raise `InvalidRequest` when the query, or the header `Accept`, is beyond all need.

    Nor may a query name a parameter twice: readers disagree which one counts.
    """
    field, fault = "query", None
    if len(request.query_string) > MAX_QUERY_BYTES:
        fault = f"must be at most {MAX_QUERY_BYTES} characters"
    elif request.query_string.count(b"&") >= MAX_PARAMETERS:
        fault = f"must have at most {MAX_PARAMETERS} parameters"
    elif request.query_string and any(len(values) > 1 for _, values in request.args.lists()):
        fault = "must give each parameter only once"
    elif len(request.headers.get("Accept", "")) > MAX_ACCEPT_CHARS:
        field, fault = "Accept", f"must be at most {MAX_ACCEPT_CHARS} characters"
    if fault:
        raise InvalidRequest("The request's address or headers cannot be used.", fields=(FieldError(field, fault),))


def _share(app: Flask, origins: Sequence[str]) -> None:
    """Let pages of these origins call and read the answers. No cookies: who may call is told by keys alone."""
    from flask_cors import CORS

    for_all = "*" in origins
    CORS(
        app,
        origins=list(origins),
        send_wildcard=for_all,
        always_send=for_all,
        methods=list(_METHODS),
        allow_headers=list(SENT_HEADERS),
        expose_headers=list(EXPOSED_HEADERS),
        max_age=_PREFLIGHT_AGE_S,
        supports_credentials=False,
        # flask-cors leaves `Vary` out where an answer happens to be the same for all that it knows of.
        vary_header=False,
        intercept_exceptions=False,
    )
    if not for_all:

        @app.after_request
        def vary(response: Response) -> Response:
            response.vary.add("Origin")
            return response
