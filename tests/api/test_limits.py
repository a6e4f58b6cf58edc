"""Limits: how often a caller may ask, who that caller is, and that nothing else is ever limited."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from api_keys import BOB, KEYS, NINA, keys
from fakes import FakeClock, FakeEngine, MakeClient
from flask.testing import FlaskClient
from flask_openapi3 import OpenAPI
from job_service import MakeService
from pydantic import ValidationError
from werkzeug.test import TestResponse

from app import create_app
from app.logs import Scrubber
from app.settings import Settings
from app.web import callers, guard, limits, problems
from app.web.callers import Guesses
from app.web.tally import Counters, Tally, parsed

ROOT = Path(__file__).parents[2]
A_DAY_S = 86_400
HEADERS = {"RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"}


def work(client: FlaskClient, *, address: str = "198.51.100.7", **headers: str) -> TestResponse:
    """Ask for a piece."""
    return client.post(
        "/studio-generate", json={"prompt": "rain"}, headers=headers, environ_overrides={"REMOTE_ADDR": address}
    )


def read(client: FlaskClient, path: str = "/api/engines", *, address: str = "198.51.100.7") -> TestResponse:
    return client.get(path, environ_overrides={"REMOTE_ADDR": address})


# ---------------------------------------------------------------------- what is counted


def test_who_starts_too_much_work_is_told_when_to_come_back(make_client: MakeClient) -> None:
    engine = FakeEngine()
    client = make_client(engine, STUDIO_RATE_LIMIT="2/day")

    answers = [work(client) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    assert len(engine.briefs) == 2
    refused = answers[-1]
    problem = json.loads(refused.data)
    assert refused.content_type == "application/problem+json"
    assert problem["code"] == "rate-limited"
    assert problem["retryable"] is True
    assert problem["detail"] == "2 requests in 86400 s are allowed, and those are used up."
    assert problem["retry_after"] == int(refused.headers["Retry-After"])
    assert A_DAY_S - 60 < problem["retry_after"] <= A_DAY_S


def test_each_answer_tells_how_much_is_left(make_client: MakeClient) -> None:
    client = make_client(FakeEngine(), STUDIO_RATE_LIMIT="2/day")

    answers = [work(client) for _ in range(3)]

    assert [answer.headers["RateLimit-Limit"] for answer in answers] == ["2", "2", "2"]
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
    for answer in answers:
        assert A_DAY_S - 60 < int(answer.headers["RateLimit-Reset"]) <= A_DAY_S
    assert answers[-1].headers["Retry-After"] == answers[-1].headers["RateLimit-Reset"]
    assert "Retry-After" not in answers[0].headers


def test_a_window_ends() -> None:
    clock = FakeClock()
    counters = Counters(clock=clock)

    counts = [counters.incr("nina", 60), counters.incr("nina", 60), counters.incr("bob", 60)]
    clock.sleep(59)
    late, ends_s = counters.get("nina"), counters.get_expiry("nina")
    clock.sleep(1)
    over = counters.get("nina")
    again, ends_again_s = counters.incr("nina", 60), counters.get_expiry("nina")

    assert counts == [1, 2, 1]
    assert (late, ends_s) == (2, 1_060)
    assert (over, again, ends_again_s) == (0, 1, 1_120)


def test_what_has_expired_makes_room() -> None:
    clock = FakeClock()
    counters = Counters(clock=clock)
    for each in range(10):
        counters.incr(str(each), 60 if each < 4 else 600)

    before = counters.sweep()
    clock.sleep(60)

    assert (before, counters.sweep(), len(counters)) == (10, 6, 6)
    assert counters.get("9") == 1


def test_counts_can_be_taken_back() -> None:
    counters = Counters()
    for name in ("nina", "bob"):
        counters.incr(name, 60)

    counters.clear("nina")

    assert (counters.get("nina"), counters.get("bob")) == (0, 1)
    assert counters.reset() == 1
    assert counters.get("bob") == 0
    assert counters.check()


def test_threads_that_count_together_lose_nothing() -> None:
    counters = Counters()
    with ThreadPoolExecutor(8) as pool:
        counts = list(pool.map(lambda _: counters.incr("nina", 600), range(2_000)))

    assert sorted(counts) == list(range(1, 2_001))


def test_refused_requests_count_too(make_client: MakeClient) -> None:
    client = make_client(FakeEngine(), STUDIO_RATE_LIMIT="2/day")

    statuses = [
        client.post("/studio-generate", json={}).status_code,
        client.post("/api/jobs", data="rain").status_code,
        client.post("/studio-generate", json={"prompt": "rain"}).status_code,
    ]

    assert statuses == [400, 415, 429]


def test_work_and_reading_are_counted_apart(make_client: MakeClient) -> None:
    client = make_client(FakeEngine(), STUDIO_RATE_LIMIT="1/day", STUDIO_READ_LIMIT="3/day")

    statuses = [
        work(client).status_code,
        work(client).status_code,
        read(client).status_code,
        read(client, "/api/nowhere").status_code,
        client.delete("/api/jobs/" + "0" * 32, environ_overrides={"REMOTE_ADDR": "198.51.100.7"}).status_code,
        read(client).status_code,
        work(client).status_code,
    ]

    assert statuses == [200, 429, 200, 404, 404, 429, 429]


@pytest.mark.parametrize(("limited", "free"), [("STUDIO_RATE_LIMIT", read), ("STUDIO_READ_LIMIT", work)])
def test_one_limit_says_nothing_about_the_other(make_client: MakeClient, limited: str, free: Any) -> None:
    client = make_client(FakeEngine(), **{limited: "1/day"})

    answers = [free(client) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert not HEADERS & set(answers[0].headers.keys())


def test_all_routes_that_start_work_share_one_limit(make_service: MakeService) -> None:
    client = make_service(STUDIO_RATE_LIMIT="2/day").client

    assert work(client).status_code == 200
    accepted = client.post("/api/jobs", json={"prompt": "rain"}, environ_overrides={"REMOTE_ADDR": "198.51.100.7"})
    assert accepted.status_code == 202
    assert accepted.headers["RateLimit-Remaining"] == "0"
    assert int(accepted.headers["Retry-After"]) < 10, "that is about the job, and not about the limit"
    assert work(client).status_code == 429


def test_a_request_that_is_answered_from_memory_counts_as_well(make_service: MakeService) -> None:
    service = make_service(STUDIO_RATE_LIMIT="3/day")
    statuses = [
        service.client.post("/api/jobs", json={"prompt": "rain"}, headers={"Idempotency-Key": "k"}).status_code
        for _ in range(4)
    ]

    assert statuses == [202, 202, 202, 429]
    assert len(service.enqueued) == 1


def test_the_tightest_of_several_limits_is_told(make_client: MakeClient) -> None:
    client = make_client(FakeEngine(), STUDIO_RATE_LIMIT="100/hour, 2/day")

    answers = [work(client) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert {answer.headers["RateLimit-Limit"] for answer in answers} == {"2"}


# ---------------------------------------------------------------------- what is not


@pytest.mark.parametrize("path", ["/health", "/ready", "/docs/", "/docs/openapi.json", "/docs/errors", "/nowhere"])
def test_nothing_but_the_api_is_limited(make_client: MakeClient, path: str) -> None:
    client = make_client(FakeEngine(), STUDIO_RATE_LIMIT="1/day", STUDIO_READ_LIMIT="1/day")

    answers = [read(client, path) for _ in range(5)]

    assert {answer.status_code for answer in answers} == {404 if path == "/nowhere" else 200}
    assert not any(HEADERS & set(answer.headers.keys()) for answer in answers)


def test_a_question_for_the_methods_is_not_counted(make_client: MakeClient) -> None:
    client = make_client(FakeEngine(), STUDIO_RATE_LIMIT="1/day", STUDIO_READ_LIMIT="1/day")

    assert {client.options("/studio-generate").status_code for _ in range(5)} == {200}


def test_without_limits_nothing_is_counted_and_nothing_loaded(make_client: MakeClient) -> None:
    answers = [work(make_client(FakeEngine())) for _ in range(3)]
    program = """
import sys
from app import create_app
from app.settings import Settings
create_app(Settings())
assert not {"limits", "flask_cors", "redis"} & set(sys.modules)
"""
    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False, timeout=30)

    assert not any(HEADERS & set(answer.headers.keys()) for answer in answers)
    assert loaded.returncode == 0


# ---------------------------------------------------------------------- whose requests they are


def test_each_api_key_has_a_limit_of_its_own_wherever_it_comes_from(make_client: MakeClient) -> None:
    client = make_client(FakeEngine(), STUDIO_RATE_LIMIT="2/day", **KEYS)

    by_nina = [work(client, address=f"198.51.100.{each}", **NINA).status_code for each in range(3)]
    by_bob = work(client, address="198.51.100.0", **BOB).status_code

    assert by_nina == [200, 200, 429]
    assert by_bob == 200


def test_two_keys_of_one_caller_share_a_limit(make_client: MakeClient) -> None:
    both = ",".join(keys(nina=key)["STUDIO_API_KEYS"] for key in ("old", "new"))
    client = make_client(FakeEngine(), STUDIO_RATE_LIMIT="1/day", STUDIO_API_KEYS=both)

    assert work(client, Authorization="Bearer old").status_code == 200
    assert work(client, Authorization="Bearer new").status_code == 429


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("198.51.100.7", "198.51.100.8", False),
        ("198.51.100.7", "::ffff:198.51.100.7", True),
        ("198.51.100.7", "198.51.100.7:50123", True),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "[2001:db8:1:2::1]:443", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("garbage", "other garbage", True),
        ("", "garbage", True),
        ("198.51.100.7", "garbage", False),
    ],
)
def test_addresses_are_counted_as_one_subscriber_has_them(
    make_client: MakeClient, one: str, other: str, is_same: bool
) -> None:
    client = make_client(FakeEngine(), STUDIO_RATE_LIMIT="1/day")

    assert work(client, address=one).status_code == 200
    assert work(client, address=other).status_code == (429 if is_same else 200)


def test_an_address_cannot_use_up_the_limit_of_a_key(make_client: MakeClient) -> None:
    client = make_client(FakeEngine(), STUDIO_RATE_LIMIT="2/day", **KEYS)

    without = [work(client).status_code for _ in range(3)]

    assert without == [401, 401, 429]
    assert work(client, **NINA).status_code == 200


# ---------------------------------------------------------------------- wrong keys


def test_a_wrong_key_is_counted_before_it_is_called_wrong(make_client: MakeClient) -> None:
    client = make_client(FakeEngine(), STUDIO_READ_LIMIT="2/day", **KEYS)

    answers = [client.get("/api/engines", headers={"X-API-Key": f"guess {each}"}) for each in range(3)]

    assert [answer.status_code for answer in answers] == [401, 401, 429]
    assert answers[0].headers["RateLimit-Remaining"] == "1"


def test_who_guesses_keys_is_told_to_wait(make_client: MakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    client = make_client(FakeEngine(), **KEYS)

    guesses = [work(client, Authorization=f"Bearer guess {each}") for each in range(40)]
    elsewhere = work(client, address="198.51.100.8", Authorization="Bearer guess")

    assert [answer.status_code for answer in guesses] == [401] * 30 + [429] * 10
    assert json.loads(guesses[-1].data)["code"] == "rate-limited"
    assert 1 <= int(guesses[-1].headers["Retry-After"]) <= 60
    assert elsewhere.status_code == 401
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"wrong API key"' in line]
    assert [(each["address"], each["count"]) for each in told] == [
        *(("198.51.100.7", count) for count in range(1, 31)),
        ("198.51.100.8", 1),
    ], "a flood of guesses is no flood of lines"
    before, last, other = (each.get("untold_s") for each in told[28:31])
    assert (before, other) == (None, None)
    assert 30 < last <= 60
    assert "guess" not in json.dumps(told)


def test_who_guesses_keys_shuts_nobody_else_out(make_client: MakeClient) -> None:
    """Behind a proxy that is not trusted everybody has one address."""
    client = make_client(FakeEngine(), **KEYS)

    statuses = [
        (work(client, Authorization=f"Bearer guess {each}").status_code, work(client, **NINA).status_code)
        for each in range(40)
    ]

    assert statuses == [(401, 200)] * 30 + [(429, 200)] * 10


def test_every_wrong_key_is_answered_alike(make_client: MakeClient) -> None:
    """Neither how much of a key is right, nor whether its name exists, can be told from an answer."""
    sent = ["nina's ke", "nina's keyy", "NINA'S KEY", "nina", hashlib.sha256(b"nina's key").hexdigest(), "x" * 8_000]

    answers = []
    for key in sent:
        client = make_client(FakeEngine(), **KEYS)
        told = []
        for _ in range(31):
            response = work(client, **{"X-API-Key": key, "X-Request-ID": "same"})
            told.append((response.status_code, response.data))
        answers.append(told)

    assert all(each == answers[0] for each in answers)


def test_a_missing_key_is_no_guess(make_client: MakeClient) -> None:
    client = make_client(FakeEngine(), **KEYS)

    assert {work(client).status_code for _ in range(40)} == {401}
    assert work(client, **NINA).status_code == 200


def test_guesses_are_forgotten_after_a_while() -> None:
    clock = FakeClock()
    guesses = Guesses(limit=2, window_s=60, clock=clock)

    within = [guesses.refuse("a") for _ in range(2)]
    beyond = guesses.refuse("a")
    clock.sleep(59)
    still = guesses.refuse("a")
    clock.sleep(1)
    after = guesses.refuse("a")

    assert [each.status for each in (*within, beyond, still, after)] == [401, 401, 429, 429, 401]
    assert (beyond.retry_after_s, still.retry_after_s) == (60, 1)


def test_guesses_of_many_addresses_take_no_more_room() -> None:
    guesses = Guesses(limit=1, max_addresses=3)
    for address in "abcd":
        guesses.refuse(address)

    assert [guesses.refuse(address).status for address in "bcda"] == [429, 429, 429, 401]


def test_guesses_at_the_same_time_are_all_counted() -> None:
    guesses = Guesses(limit=100)
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: guesses.refuse("a").status, range(800)))

    assert (statuses.count(401), statuses.count(429)) == (100, 700)


# ---------------------------------------------------------------------- bounds


@pytest.fixture
def bare() -> OpenAPI:
    """An application with nothing but a route to count."""
    app = OpenAPI(__name__)
    guard.protect(app, deadline_s=1)
    problems.register(app, scrub=Scrubber())
    callers.identify(app, (), is_exposed=False)
    app.add_url_rule("/api/x", view_func=lambda: "x", methods=["GET", "POST"])
    return app


def test_calls_from_everywhere_do_not_fill_the_memory(bare: OpenAPI) -> None:
    limits.protect(bare, work="3/day", read=None, redis_url=None, max_counters=50)
    client = bare.test_client()

    def call(number: int) -> int:
        address = f"10.{number >> 8}.{number & 255}.1"
        return client.post("/api/x", environ_overrides={"REMOTE_ADDR": address}).status_code

    first, crowd = {call(each) for each in range(50)}, [call(each) for each in range(50, 2_000)]

    assert first == {200}
    assert crowd.count(200) <= 3 * limits.SHARED_COUNTERS, "so many counters they share, and no more"


# ---------------------------------------------------------------------- Redis


class FakeRedis(Counters):
    """Counters that are away when told so, and count how often they were asked."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.asked = 0
        self.while_asked: Callable[[], object] = lambda: None

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        self.asked += 1
        self.while_asked()
        if self.is_away:
            raise ConnectionError("redis://:secret@host is away")
        return super().incr(key, expiry, amount)

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        return (ConnectionError,)


def test_while_redis_is_away_it_is_asked_now_and_then_and_warned_of_once_a_minute(
    capsys: pytest.CaptureFixture[str],
) -> None:
    create_app(Settings(), engine=None)  # sets up the log
    clock, redis = FakeClock(), FakeRedis()
    tally = Tally(None, clock=clock, shared=redis)
    per_day = parsed("100/day")

    def count() -> int:
        return tally.count(per_day, asker="nina", scope="work").remaining

    there = [count(), count()]
    redis.is_away = True
    asked, away = redis.asked, [count() for _ in range(5)]
    at_once = redis.asked - asked
    for _ in range(140):
        clock.sleep(1)
        count()
    in_all = redis.asked - asked
    redis.is_away = False
    clock.sleep(5)
    back = [count(), count()]

    assert there == [99, 98]
    assert away == [99, 98, 97, 96, 95], "this process begins to count by itself"
    assert at_once == 1
    assert in_all == 1 + 140 // 5
    assert back == [97, 96]
    warnings = [line for line in capsys.readouterr().out.splitlines() if "redis is away" in line]
    assert len(warnings) == 3, "in 140 seconds"
    assert "secret" not in "".join(warnings)


def test_only_one_request_waits_for_a_redis_that_may_be_back() -> None:
    clock, redis = FakeClock(), FakeRedis()
    tally = Tally(None, clock=clock, shared=redis)

    def count() -> int:
        return tally.count(parsed("100/day"), asker="nina", scope="work").remaining

    redis.is_away = True
    count()
    clock.sleep(5)
    meanwhile: list[int] = []
    redis.while_asked = lambda: meanwhile.append(count())
    last = count()

    assert redis.asked == 2
    assert meanwhile == [98]
    assert last == 97


def test_while_redis_is_away_the_process_counts_alone(
    make_client: MakeClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing listens on port 9, and the password is told nowhere."""
    client = make_client(
        FakeEngine(), STUDIO_RATE_LIMIT="2/day", STUDIO_REDIS_URL="redis://studio:a-long-password@127.0.0.1:9/0"
    )
    started_s = time.monotonic()

    answers = [work(client) for _ in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
    assert time.monotonic() - started_s < 2
    told = capsys.readouterr().out
    assert told.count("this process counts requests alone") == 1
    assert "a-long-password" not in told


# ---------------------------------------------------------------------- settings and description


@pytest.mark.parametrize("name", ["STUDIO_RATE_LIMIT", "STUDIO_READ_LIMIT"])
@pytest.mark.parametrize(
    "value",
    [
        "30",
        "30/",
        "0/minute",
        "-1/minute",
        "1.5/minute",
        "30/fortnight",
        "30 per minute",
        "1/day;2/day",
        "1/day,",
        "1/day,2/hour,3/minute,4/second",
        "1000000/day",
        "٣/day",
    ],
)
def test_a_limit_that_cannot_be_used_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValidationError, match="must be like 30/minute"):
        Settings.model_validate({name: value})


@pytest.mark.parametrize("url", ["localhost:6379", "http://localhost", "redis://a b", "redis://u:p@ss@h/0"])
def test_an_address_of_redis_that_cannot_be_used_is_refused_without_being_told(url: str) -> None:
    with pytest.raises(ValidationError, match=r"must be redis://user:password@host") as caught:
        Settings.model_validate({"STUDIO_REDIS_URL": url})

    assert url not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "counted", "refusing"),
    [
        ({}, set(), set()),
        ({"STUDIO_RATE_LIMIT": "5/day"}, {"post"}, {"post"}),
        ({"STUDIO_READ_LIMIT": "5/day"}, {"get", "put", "delete"}, {"get", "put", "delete"}),
        (KEYS, set(), {"get", "put", "delete", "post"}),
    ],
    ids=["nothing", "making", "reading", "keys"],
)
def test_what_is_limited_is_described(
    make_client: MakeClient, settings: dict[str, str], counted: set[str], refusing: set[str]
) -> None:
    paths = make_client(FakeEngine(), **settings).get("/docs/openapi.json").get_json()["paths"]

    for path, methods in paths.items():
        for method, operation in methods.items():
            is_api = path.startswith(("/api/", "/studio-generate"))
            takes_keys = is_api or (path == "/metrics" and settings == KEYS)
            assert ("429" in operation["responses"]) is (takes_keys and method in refusing), (path, method)
            for response in operation["responses"].values():
                assert set(response.get("headers", {})) >= HEADERS or not (is_api and method in counted)
            assert "Retry-After" in operation["responses"].get("429", {"headers": "Retry-After"})["headers"]
