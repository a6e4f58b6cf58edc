"""How this service words its own failures: the sentences and codes of its problem answers.

A sentence says more than the code that it comes with, and so weighs more.
"""

from __future__ import annotations

from typing import Final

from app.failures.rule import DECISIVE, FAIR, Rule


def _code(*names: str) -> tuple[str, ...]:
    return tuple(rf"(?:\bcode\W{{1,4}}|errors#){name}\b" for name in names)


RULES: Final = (
    Rule("ours-dns", "dns_failure", DECISIVE, (r"the engine's host name is not known",), "The engine's host name is not known."),
    Rule("ours-refused", "connection_refused", DECISIVE, (r"the engine's host refuses connections",), "The engine's host refuses connections."),
    Rule("ours-unreachable", "connect_timeout", DECISIVE, (r"the engine's host cannot be reached in time",), "The engine's host cannot be reached in time."),
    Rule("ours-broken-line", "connection_reset", DECISIVE, (r"the engine closed the connection without an answer", r"the connection to the engine (?:broke|failed)", r"^[\W]{0,3}(?:detail\W{1,4})?the answer was cut off"), "The engine closed the connection without an answer."),
    Rule("ours-too-slow", "read_timeout", DECISIVE, (r"the engine (?:fell silent|gave up waiting|gave no complete answer in time|could not be looked at in time)", r"the music engine did not finish in time", r"\d{1,2} attempts? of \d{1,4} s each got no answer"), "The engine gave no complete answer in time."),
    Rule("ours-gateway", "gateway_timeout", DECISIVE, (r"the engine's gateway gave up waiting",), "The engine's gateway gave up waiting."),
    Rule("ours-away", "space_unavailable", DECISIVE, (r"the engine is (?:asleep, starting, paused or full|not running)", r"the music engine is known to be down"), "The engine is asleep, starting, paused or full."),
    Rule("ours-credentials", "auth_failed", DECISIVE, (r"the engine wants credentials, or does not accept ours", r"our credentials are not sufficient for the engine"), "The engine wants credentials, or does not accept ours."),
    Rule("ours-credits", "insufficient_credits", DECISIVE, (r"the credits for the engine are used up",), "The credits for the engine are used up."),
    Rule("ours-throttled", "rate_limited", DECISIVE, (r"the engine allows no more requests for now", r"requests in \d{1,9} s are allowed, and those are used up"), "The engine allows no more requests for now."),
    Rule("ours-no-address", "not_found", DECISIVE, (r"the engine knows no such address", r"the engine's address (?:is no longer in use|does not take requests)", r"the app has no function (?:'|that makes audio)"), "The engine knows no such address; a private Space looks the same without a valid token."),
    Rule("ours-form", "invalid_parameter", DECISIVE, (r"the engine does not (?:take json|accept the form of our request)", r"the server takes none of the known request bodies", r"the request has fields that cannot be used"), "The engine does not accept the form of our request."),
    Rule("ours-failed", "upstream_error", DECISIVE, (r"the engine (?:failed\.|could not do this|cancelled the job|has lost the job|answered with status 5\d\d)",), "The engine could not do this."),
    Rule("ours-not-audio", "corrupt_audio", DECISIVE, (r"the answer is not (?:audio|the audio that its first bytes promise)", r"the audio (?:holds samples that are not numbers|is \d{1,6}\.\d\d s long; accepted are|has an implausible format)", r"the (?:samples|channels) in the answer (?:are not all|differ in)"), "The answer is not the audio that its first bytes promise."),
    Rule("ours-no-container", "unsupported_format", DECISIVE, (r"this service cannot prove to play", r"file, not a plain wav", r"an mp3 cannot hold \d", r"no \w{2,8} can hold \d{1,7} hz"), "The answer is MIDI media, which this service cannot prove to play."),
    Rule("ours-page", "invalid_json", DECISIVE, (r"the answer is a web page, not audio", r"the answer is not http\."), "The answer is a web page, not audio."),
    Rule("ours-text", "invalid_base64", DECISIVE, (r"the answer holds text where base64 was expected",), "The answer holds text where base64 was expected."),
    Rule("ours-full-disk", "disk_full", DECISIVE, (r"the disk of the job database is full",), "The disk of the job database is full."),
    Rule("ours-not-writable", "permission_denied", DECISIVE, (r"the job database cannot be (?:written to|opened)", r"the folder of the job database cannot be used"), "The job database cannot be written to."),
    Rule("ours-unset", "invalid_config", DECISIVE, (r"hf_api_url is not set", r"hf_inputs names a parameter", r"the upstream's address cannot be used", r"the music engine is not set up", *_code("engine-not-configured")), "The music engine is not set up."),
    Rule("ours-refused-prompt", "content_policy", FAIR, (r"the music engine does not accept this input", *_code("prompt-refused")), '"code": "prompt-refused"'),
    Rule("ours-code-timeout", "read_timeout", FAIR, _code("upstream-timeout"), "https://studio.example/docs/errors#upstream-timeout"),
    Rule("ours-code-unavailable", "space_unavailable", FAIR, _code("upstream-unavailable"), '"code": "upstream-unavailable"'),
    Rule("ours-code-error", "upstream_error", FAIR, _code("upstream-error"), '"code": "upstream-error"'),
    Rule("ours-code-answer", "missing_data", FAIR, _code("upstream-bad-response"), '"code": "upstream-bad-response"'),
    Rule("ours-code-rejected", "invalid_config", FAIR, _code("upstream-rejected"), '"code": "upstream-rejected"'),
    Rule("ours-code-limits", "rate_limited", FAIR, _code("rate-limited"), '"code": "rate-limited"'),
    Rule("ours-code-full", "queue_full", FAIR, (r"all places are taken\.", *_code("overloaded")), '"code": "overloaded"'),
    Rule("ours-code-key", "auth_failed", FAIR, _code("unauthorized", "forbidden"), '"code": "unauthorized"'),
    Rule("ours-code-request", "invalid_parameter", FAIR, _code("invalid-request", "unsupported-media-type"), '"code": "invalid-request"'),
    Rule("ours-code-size", "payload_too_large", FAIR, _code("payload-too-large"), '"code": "payload-too-large"'),
)  # fmt: skip
