"""A client of this service's own API, for the command line: jobs that are submitted, followed and fetched."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import requests

CONNECT_TIMEOUT_S: Final = 10.0
ANSWER_TIMEOUT_S: Final = 60.0

SUBMISSIONS: Final = 3
"""Before there is a job somebody waits who has perhaps mistyped the address."""

RETRY_S: Final = 5.0
MAX_RETRIES: Final = 5
"""Questions in a row that may fail: the job goes on all the same."""

_SHORTEST_POLL_S: Final = 0.5
_CHUNK_BYTES: Final = 2**16
_MOST_JSON_BYTES: Final = 2**20


class ClientError(Exception):
    """What a person is told: a sentence, and lines that say more."""

    def __init__(self, title: str, *more: str, is_input: bool = False) -> None:
        super().__init__(title)
        self.lines: Final = (title, *(each for each in more if each))
        self.is_input: Final = is_input
        """Whether what was asked for is to blame."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a job stands.

    Attributes:
        job: The answer of the service.
        retry: Number of the question that failed, from 1, when this is not news; else 0.
    """

    job: Mapping[str, Any]
    retry: int = 0

    @property
    def message(self) -> str:
        return f"Server issue, retrying… ({self.retry}/{MAX_RETRIES})" if self.retry else str(self.job["message"])

    @property
    def progress(self) -> float | None:
        value = self.job["progress"]
        return float(value) if isinstance(value, int | float) else None

    @property
    def is_final(self) -> bool:
        return self.job["status"] in ("succeeded", "failed", "cancelled")


class Client:
    """Asks one service."""

    def __init__(self, url: str, *, key: str | None = None, sleep: Callable[[float], object] = time.sleep) -> None:
        """
        Args:
            url: Where the service is, with its scheme.
            key: An API key, if the service wants one.
            sleep: How to wait, seconds; replaced in tests.
        """
        self._url = url.rstrip("/")
        self._sleep = sleep
        self._session = requests.Session()
        self._session.headers["User-Agent"] = "studio-cli"
        if key:
            self._session.headers["Authorization"] = f"Bearer {key}"

    def submit(self, path: str, body: Mapping[str, object], *, idempotency_key: str) -> Mapping[str, Any]:
        """Submit a job, again if the answer does not come; return the job.

        Raises:
            ClientError: the service cannot be reached, or refuses.
        """
        return self._insist("POST", path, json=body, headers={"Idempotency-Key": idempotency_key})

    def follow(self, job: Mapping[str, Any]) -> Iterator[Standing]:
        """Yield how the job stands until it is over.

        Raises:
            ClientError: too many questions in a row have failed; the job may well be done.
        """
        standing = Standing(job)
        yield standing
        failed = 0
        while not standing.is_final:
            self._sleep(RETRY_S if failed else max((job["poll_after_ms"] or 0) / 1000, _SHORTEST_POLL_S))
            try:
                job = self._ask("GET", job["links"]["self"])
            except _Unavailable as error:
                failed += 1
                if failed > MAX_RETRIES:
                    hint = f"The job may well be done: ask {self._url}{job['links']['self']} again."
                    raise ClientError("The service does not answer.", str(error), hint) from None
                standing = Standing(job, retry=failed)
            else:
                failed, standing = 0, Standing(job)
            yield standing

    def cancel(self, job: Mapping[str, Any]) -> None:
        """Cancel the job; that may fail, and then nobody is told."""
        try:
            self._session.delete(
                self._url + f"/api/jobs/{job['id']}", timeout=(CONNECT_TIMEOUT_S, CONNECT_TIMEOUT_S)
            ).close()
        except requests.RequestException:
            return

    def audio(self, job: Mapping[str, Any]) -> Iterator[bytes]:
        """Yield the job's file in pieces.

        Raises:
            ClientError: it cannot be fetched, or does not come whole.
        """
        try:
            with self._session.get(
                self._url + str(job["audio_url"]), stream=True, timeout=(CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S)
            ) as response:
                if not response.ok:
                    raise _refusal(response)
                expected = int(response.headers.get("Content-Length", -1))
                got = 0
                for chunk in response.iter_content(_CHUNK_BYTES):
                    got += len(chunk)
                    yield chunk
        except requests.RequestException as error:
            raise ClientError("The audio could not be fetched.", _reason(error)) from None
        if expected not in (-1, got):
            raise ClientError("The audio did not come whole.", f"{got} of {expected} bytes came.")

    def _insist(self, method: str, path: str, **options: Any) -> Mapping[str, Any]:
        for retry in range(SUBMISSIONS - 1):
            try:
                return self._ask(method, path, **options)
            except _Unavailable:
                self._sleep(2.0**retry)
        try:
            return self._ask(method, path, **options)
        except _Unavailable as error:
            raise ClientError("The service cannot be reached.", str(error), f"Asked: {self._url}") from None

    def _ask(self, method: str, path: str, **options: Any) -> Mapping[str, Any]:
        try:
            response = self._session.request(
                method, self._url + path, timeout=(CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S), **options
            )
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema):
            raise ClientError(f"{self._url} is not the address of a service.", is_input=True) from None
        except requests.RequestException as error:
            raise _Unavailable(_reason(error)) from None
        if response.ok:
            answer = _json(response)
            if "links" in answer:
                return answer
            raise ClientError("What answers there is not this service.", f"Asked: {self._url}{path}")
        refusal = _refusal(response)
        if (response.status_code >= 500 and _json(response).get("retryable", True)) or response.status_code == 429:
            raise _Unavailable(" ".join(refusal.lines))
        raise refusal


class _Unavailable(Exception):
    """The service does not answer, or not now."""


def _refusal(response: requests.Response) -> ClientError:
    """Return what a problem of the service says."""
    problem = _json(response)
    title = str(problem.get("title") or f"The service answered {response.status_code} {response.reason}.")
    fields = [f"{each.get('field')} {each.get('message')}" for each in problem.get("errors") or ()]
    request_id = f"Request id: {problem['request_id']}" if problem.get("request_id") else ""
    hint = str(problem.get("hint") or "") if not fields else ""
    return ClientError(title, *fields, hint, request_id, is_input=response.status_code == 400)


def _json(response: requests.Response) -> Mapping[str, Any]:
    if len(response.content) > _MOST_JSON_BYTES:
        return {}
    try:
        answer = json.loads(response.content)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _reason(error: requests.RequestException) -> str:
    match error:
        case requests.exceptions.SSLError():
            return "The certificate of the service cannot be trusted."
        case requests.Timeout():
            return "It took too long to answer."
        case requests.ConnectionError():
            return "No connection."
        case _:
            return type(error).__name__
