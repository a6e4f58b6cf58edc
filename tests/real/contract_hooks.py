"""What Schemathesis takes for a failure and is none, each with its reason; loaded by `test_contract.py`."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import jsonschema_rs
import schemathesis
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.core.transport import Response
from schemathesis.openapi.checks import IgnoredAuth, RejectedPositiveData, UseAfterFree

Case = Any  # it is generic, and its parts are of any type
Excuse = Callable[[Failure, Case, Response], bool]

LONGEST_SECTION_S: Final = 5
SPELLED: Final = re.compile(r" *\+?[0-9]*\.?[0-9]*([eE][+-]?[0-9]{1,3})? *")
OF_STATE: Final = ("gone", "range-not-satisfiable")
KEY: Final = "Idempotency-Key"
CURSOR: Final = base64.urlsafe_b64encode(b"1790000000.5 " + b"0" * 32).decode().rstrip("=")


def depends_on_what_was_before(failure: Failure, case: Case, response: Response) -> bool:
    """Whether a job is still kept and how long its file is are not for a schema to say."""
    return isinstance(failure, RejectedPositiveData) and problem(response).get("code") in OF_STATE


def is_refused_as_one_of_many(failure: Failure, case: Case, response: Response) -> bool:
    """Beyond some wrong keys a minute, the next ones are refused with 429: refused all the same."""
    return isinstance(failure, IgnoredAuth) and "got `429 " in failure.message


def is_too_much_in_all(failure: Failure, case: Case, response: Response) -> bool:
    """JSON Schema can limit the items of a list and each of them, but not what they come to together."""
    if not isinstance(failure, RejectedPositiveData) or faulty_fields(response) != {"instruments"}:
        return False
    listed = ",".join(case.body["instruments"])
    return len(listed) > 200 or listed.count(",") >= 12


def is_too_long_in_all(failure: Failure, case: Case, response: Response) -> bool:
    """Likewise the sections of a song."""
    if not isinstance(failure, RejectedPositiveData) or faulty_fields(response) != {"sections"}:
        return False
    return case.path == "/api/songs" and sum(float(each["duration"]) for each in case.body["sections"]) > 600


def depends_on_the_song(failure: Failure, case: Case, response: Response) -> bool:
    """How many sections a song has, and whether one of them is missing, is not for a schema to say either."""
    is_refused = isinstance(failure, RejectedPositiveData) and faulty_fields(response) == {"sections"}
    return is_refused and case.path.endswith("/remake")


def is_accepted_in_other_words(failure: Failure, case: Case, response: Response) -> bool:
    """Texts are trimmed before they are measured, and `1e1` is 10: put plainly, the body must be as described."""
    if not isinstance(failure, AcceptedNegativeData):
        return False
    if isinstance(case.body, dict):
        schemas = case.operation.schema.raw_schema["components"]["schemas"]
        described = case.operation.definition.raw["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        is_valid = jsonschema_rs.validator_for(
            {"$ref": "#/components/schemas/" + described.rsplit("/", 1)[-1], "components": {"schemas": schemas}}
        ).is_valid
        in_plain_words = {name: plain(name, value) for name, value in case.body.items()}
        return not is_valid(case.body) and is_valid(in_plain_words)
    username = (case.query or {}).get("username")
    return isinstance(username, str) and len(username.strip()) <= 64 < len(username)


def was_only_cancelled(failure: Failure, case: Case, response: Response) -> bool:
    """DELETE cancels a job that is not over, and a cancelled job can be asked about; its audio never."""
    return (
        isinstance(failure, UseAfterFree)
        and not case.path.endswith("/audio")
        and re.search(rb'"status":"(cancelled|running)"', response.content) is not None
    )


EXCUSES: Final[tuple[Excuse, ...]] = (
    depends_on_what_was_before,
    is_refused_as_one_of_many,
    is_too_much_in_all,
    is_too_long_in_all,
    depends_on_the_song,
    is_accepted_in_other_words,
    was_only_cancelled,
)


@schemathesis.hook
def map_case(context: schemathesis.HookContext, case: Case) -> Case:
    """Replace what nobody can make up: without this, most of these requests would be refused for it alone.

    A body brings an idempotency key of its own, not the `0` that another body had; a cursor is one of ours. And the
    songs are short: the machine would have to join hours of sound, while others wait for the rest of it.
    """
    if case.path == "/api/songs" and case.meta and case.meta.generation.mode.is_positive:
        for section in case.body["sections"]:
            section["duration"] = min(section["duration"], LONGEST_SECTION_S)
    if case.meta and case.meta.generation.mode.is_positive and "cursor" in (case.query or {}):
        case.query["cursor"] = CURSOR
    key = (case.headers or {}).get(KEY)
    if isinstance(key, str) and re.fullmatch("[!-~]([ -~]*[!-~])?", key) and len(key) <= 255:
        body = hashlib.sha256(repr(case.body).encode("utf-8", "replace")).hexdigest()
        case.headers[KEY] = f"{key[:190]}-{body}"
    return case


@schemathesis.hook
def filter_failure(context: schemathesis.HookContext, failure: Failure, case: Case, response: Response) -> bool:
    """Return whether the failure is one."""
    return not any(excuses(failure, case, response) for excuses in EXCUSES)


def problem(response: Response) -> Mapping[str, Any]:
    """Return the problem that the answer tells of, or nothing."""
    found: Mapping[str, Any] = json.loads(response.content) if response.status_code >= 400 else {}
    return found


def faulty_fields(response: Response) -> set[str]:
    return {each["field"] for each in problem(response).get("errors", ())}


def plain(name: str, value: object) -> object:
    """Return a field's value as the service understands it."""
    if not isinstance(value, str):
        return value
    if name in ("duration", "tempo") and SPELLED.fullmatch(value):
        try:
            return float(value)
        except ValueError:
            return value
    return re.sub("\r\n", " ", value).strip("\ufeff").strip()
