"""A client of this service's own API, for the command line: jobs that are submitted, followed and fetched.

Nothing that a service answers is taken for granted: what is no job of this service's is refused as a whole, and of a
problem only those texts are read that are some. They are shown as they came; whoever prints them makes them harmless.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any, BinaryIO, Final, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from app.jobs.job import FINAL, Status
from app.retry import retry_after_s

T = TypeVar("T")

CONNECT_TIMEOUT_S: Final = 10.0
ANSWER_TIMEOUT_S: Final = 60.0

SUBMISSIONS: Final = 3
"""Before there is a job somebody waits who has perhaps mistyped the address."""

PATIENCE_S: Final = 60.0
"""How long a service may have a submission wait, all its waits together, and for how long it may put off a question
about a job."""

RETRY_S: Final = 5.0
MAX_RETRIES: Final = 5
"""Questions in a row that may fail: the job goes on all the same."""

_SHORTEST_POLL_S: Final = 0.5
_CHUNK_BYTES: Final = 2**16
_MOST_JSON_BYTES: Final = 2**20
_MOST_FILE_BYTES: Final = 2**30
"""More than any piece has: what does not end would fill the disk."""

_NO_SERVICE: Final = "What answers there is not this service."
_UNREACHABLE: Final = "The service cannot be reached."

_SCHEME: Final = re.compile(r"https?://", re.IGNORECASE)
_BEFORE_HOST: Final = re.compile(r"^(\w+://)?.*@", re.DOTALL)

_Path = Annotated[str, Field(pattern=r"^/[!-~]*$")]


class ClientError(Exception):
    """What a person is told: a sentence, and lines that say more."""

    def __init__(
        self,
        title: str,
        *more: str,
        is_input: bool = False,
        may_pass: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(title)
        self.lines: Final = tuple(dict.fromkeys(each for each in (title, *more) if each))
        self.is_input: Final = is_input
        """Whether what was asked for is to blame."""
        self.may_pass: Final = may_pass
        """Whether the same question may be answered later."""
        self.retry_after_s: Final = retry_after_s
        """When asking again is sensible, in seconds, if the service has said that."""


class _Asked(BaseModel):
    seed: int


class _Section(BaseModel):
    name: str
    audio_url: _Path | None = None


class Job(BaseModel):
    """What has to be known of a job here; whatever else a service says of it may change without us."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    id: Annotated[str, Field(pattern="^[0-9A-Za-z_-]{1,64}$")]
    status: Status
    message: str
    request: _Asked
    progress: float | None = None
    poll_after_ms: float | None = None
    remarks: tuple[str, ...] = ()
    sections: tuple[_Section, ...] | None = None
    error: JsonValue = None

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    @property
    def reasons(self) -> tuple[str, ...]:
        """What is to be said of a job that has made nothing, the most important first."""
        return self.message, *_texts(self.error, "title", "detail", "hint")


class _Session(requests.Session):
    """Does not read what an answer says that sends elsewhere: `requests` would wait for all of it, however long."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        if not resp.is_redirect:
            return None
        resp.close()
        try:
            target = super().get_redirect_target(resp)
            urlsplit(target)
        except ValueError:  # which `requests` would let through
            return None
        return target


class Client:
    """Asks one service."""

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        tell: Callable[[str], object],
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """
        Args:
            url: Where the service is, with its scheme.
            key: An API key, if the service wants one.
            tell: Told in a sentence what is being waited for, when that is not the job.
            sleep: How to wait, seconds; replaced in tests.
        """
        self._url = url.rstrip("/")
        self._tell = tell
        self._sleep = sleep
        self._session = _Session()
        self._session.headers["User-Agent"] = "studio-cli"
        if key:
            # As a header of the session it would lose against a password in the address, or in `~/.netrc`.
            self._session.auth = partial(_with_key, key)

    def submit(self, path: str, body: Mapping[str, object], *, idempotency_key: str) -> Job:
        """Submit a job, again if the answer does not come or asks for patience; return the job.

        Raises:
            ClientError: the service cannot be reached, or refuses.
        """
        submissions, waited_s = 0, 0.0
        while True:
            try:
                return self._job("POST", path, json=body, headers={"Idempotency-Key": idempotency_key})
            except ClientError as error:
                wait_s = max(2.0**submissions, error.retry_after_s or 0.0)
                submissions, waited_s = submissions + 1, waited_s + wait_s
                is_told_when = error.retry_after_s is not None
                if not error.may_pass or waited_s > PATIENCE_S or (submissions >= SUBMISSIONS and not is_told_when):
                    raise
                self._tell(f"{error.lines[0]} Asking again in {math.ceil(wait_s)} s…")
                self._sleep(wait_s)

    def follow(self, job: Job) -> Iterator[Job]:
        """Yield the job whenever it has been asked about, until it is over.

        Raises:
            ClientError: too many questions in a row have failed, or one for good; the job may well be done.
        """
        yield job
        while not job.is_final:
            self._sleep(min(max((job.poll_after_ms or 0.0) / 1000, _SHORTEST_POLL_S), PATIENCE_S))
            job = self._patiently(partial(self._job, "GET", f"/api/status/{job.id}"))
            yield job

    def fetch(self, job: Job, file: BinaryIO) -> None:
        """Write to the file what the job has made; it is begun anew as often as it does not come whole.

        Raises:
            ClientError: it cannot be fetched.
            OSError: the file cannot be written.
        """
        self._patiently(partial(self._fetch_once, job, file))

    def cancel(self, job: Job) -> None:
        """Cancel the job.

        Raises:
            ClientError: it cannot be cancelled now.
        """
        with self._answer("DELETE", f"/api/jobs/{job.id}", timeout_s=CONNECT_TIMEOUT_S):
            return

    def address(self, path: str = "") -> str:
        """Return where something of the service is, for people: without a password."""
        return _shown(self._url + path)

    def whereabouts(self, job: Job | None) -> str:
        """Return where the job can be asked for or, as long as there is none, where it was asked for."""
        return f"Job {job.id}: {self.address(f'/api/status/{job.id}')}" if job else f"Asked: {self.address()}"

    def _patiently(self, question: Callable[[], T]) -> T:
        """Return the answer to a question about a job, asked again as often as that may help."""
        for retry in range(1, MAX_RETRIES + 1):
            try:
                return question()
            except ClientError as error:
                if not error.may_pass:
                    raise
                self._tell(f"Server issue, retrying… ({retry}/{MAX_RETRIES})")
                self._sleep(min(max(error.retry_after_s or 0.0, RETRY_S), PATIENCE_S))
        try:
            return question()
        except ClientError as error:
            raise ClientError(*error.lines, "The job may well be done all the same.") from None

    def _job(self, method: str, path: str, **options: Any) -> Job:
        with self._answer(method, path, **options) as response:
            content = _content(response)
        try:
            return Job.model_validate_json(content)
        except ValidationError:
            # It has been this service when there is a job: something before it answers, for as long as it is away.
            raise ClientError(_NO_SERVICE, may_pass=method == "GET") from None

    def _fetch_once(self, job: Job, file: BinaryIO) -> None:
        self._tell("Fetching the piece…")
        file.seek(0)
        file.truncate()
        # Files may lie elsewhere, and the service sends there; `requests` takes care that the key does not go along.
        with self._answer("GET", f"/api/jobs/{job.id}/audio", allow_redirects=True) as response:
            if response.headers.get("Content-Type", "").startswith("text/"):
                raise ClientError(_NO_SERVICE, may_pass=True)
            for chunk in response.iter_content(_CHUNK_BYTES):
                file.write(chunk)
                if file.tell() > _MOST_FILE_BYTES:
                    raise ClientError("What is sent there is too large for a piece.")

    @contextmanager
    def _answer(
        self,
        method: str,
        path: str,
        *,
        timeout_s: float = ANSWER_TIMEOUT_S,
        allow_redirects: bool = False,
        **options: Any,
    ) -> Iterator[requests.Response]:
        """Ask, and have the answer open for as long as it is read.

        Raises:
            ClientError: there is none, it is a refusal, or it breaks off.
        """
        with self._sent(
            method, path, timeout=(CONNECT_TIMEOUT_S, timeout_s), allow_redirects=allow_redirects, **options
        ) as response:
            try:
                if response.is_redirect:
                    raise self._elsewhere(response, path)
                if not 200 <= response.status_code < 300:
                    raise _refusal(response, method)
                yield response
            except requests.RequestException as error:
                raise ClientError("The answer of the service broke off.", _reason(error), may_pass=True) from None

    def _sent(self, method: str, path: str, **options: Any) -> requests.Response:
        if not _SCHEME.match(self._url):
            hint = "Addresses begin with https:// or http://."
            raise ClientError(f"{self.address()} is not the address of a service.", hint, is_input=True)
        try:
            return self._session.request(method, self._url + path, stream=True, **options)
        except (requests.exceptions.InvalidProxyURL, requests.exceptions.InvalidSchema):
            raise ClientError("The proxy that is set here cannot be used.", "See HTTPS_PROXY and ALL_PROXY.") from None
        except requests.exceptions.InvalidURL:
            raise ClientError(f"{self.address()} is not the address of a service.", is_input=True) from None
        except OSError as error:  # which those of `requests` are too
            raise ClientError(_UNREACHABLE, _reason(error), may_pass=True) from None

    def _elsewhere(self, response: requests.Response, path: str) -> ClientError:
        """Return what is said instead of following: most redirects would turn a submission into a question."""
        location = response.headers["Location"]
        try:
            location = _shown(urljoin(self._url + path, location))
        except ValueError:
            return ClientError(_NO_SERVICE)
        if location.endswith(path) and (address := location.removesuffix(path)) != self.address():
            return ClientError(f"The service is at {address}: use that address.", is_input=True)
        return ClientError(_NO_SERVICE, f"It sends on to {location}")


def _with_key(key: str, request: requests.PreparedRequest) -> requests.PreparedRequest:
    request.headers["Authorization"] = f"Bearer {key}"
    return request


def _shown(url: str) -> str:
    """Return the address as anybody may see it: without user, password and query.

    It need not be one, and whatever might belong to a password goes, rather than what a parser takes for it.
    """
    return re.split(r"[?#]", _BEFORE_HOST.sub(r"\1***@", url))[0]


def _refusal(response: requests.Response, method: str) -> ClientError:
    """Return what a problem of the service says, or at least its status."""
    problem = _json_object(_content(response))
    status = response.status_code
    title = next(_texts(problem, "title"), f"The service answered {status} {response.reason}.")
    errors = problem.get("errors")
    fields = [" ".join(_texts(each, "field", "message")) for each in errors] if isinstance(errors, list) else []
    hint = () if any(fields) else _texts(problem, "hint")
    wait_s = retry_after_s(response.headers)
    when = "" if wait_s is None else f"It wants to be asked again in {math.ceil(wait_s)} s."
    request_id = (f"Request id: {each}" for each in _texts(problem, "request_id"))
    may_pass = problem.get("retryable", status in (408, 429) or status >= 500) is True
    return ClientError(
        title,
        *_texts(problem, "detail"),
        *fields,
        *hint,
        when,
        *request_id,
        is_input=method == "POST" and status == 400,
        # A question that hits upon an error of the service is not the job that has one.
        may_pass=may_pass or (method == "GET" and status >= 500),
        retry_after_s=wait_s,
    )


def _texts(answer: object, *names: str) -> Iterator[str]:
    """Yield those texts that an answer holds by these names, whatever it is."""
    for name in names:
        text = answer.get(name) if isinstance(answer, dict) else None
        if isinstance(text, str) and text:
            yield text


def _content(response: requests.Response) -> bytes:
    """Return an answer that should be JSON; of one that goes on and on, nothing."""
    content = bytearray()
    for chunk in response.iter_content(_CHUNK_BYTES):
        content += chunk
        if len(content) > _MOST_JSON_BYTES:
            return b""
    return bytes(content)


_json: Final = TypeAdapter(dict[str, JsonValue])


def _json_object(content: bytes) -> Mapping[str, object]:
    try:
        return _json.validate_json(content)
    except ValidationError:
        return {}


def _reason(error: OSError) -> str:
    match error:
        case requests.exceptions.SSLError():
            return "The certificate of the service cannot be trusted."
        case requests.Timeout():
            return "It took too long to answer."
        case requests.TooManyRedirects():
            return "It sends on and on."
        case requests.ConnectionError():
            return "No connection."
        case requests.RequestException():
            return type(error).__name__
        case _:
            return str(error)
