"""Limits that several processes count together, in a real Redis that comes and goes."""

from __future__ import annotations

import json
import socket
import time

import pytest
from api_keys import KEYS, NINA
from fakes import FakeEngine, MakeClient
from flask.testing import FlaskClient
from real.redis_server import RedisServer

pytestmark = pytest.mark.real


def ask(client: FlaskClient) -> int:
    return client.get("/api/engines").status_code


def test_two_processes_count_together(make_client: MakeClient, redis_server: RedisServer) -> None:
    one, other = (
        make_client(FakeEngine(), STUDIO_READ_LIMIT="3/day", STUDIO_REDIS_URL=redis_server.url) for _ in range(2)
    )

    statuses = [ask(one), ask(other), ask(one), ask(other), ask(one)]
    refused = other.get("/api/engines")

    assert statuses == [200, 200, 200, 429, 429]
    assert refused.headers["RateLimit-Remaining"] == "0"
    assert 86_000 < int(refused.headers["Retry-After"]) <= 86_400
    assert json.loads(refused.data)["code"] == "rate-limited"


def test_redis_holds_counters_and_nothing_of_a_request(make_client: MakeClient, redis_server: RedisServer) -> None:
    client = make_client(FakeEngine(), STUDIO_RATE_LIMIT="9/hour, 20/day", STUDIO_REDIS_URL=redis_server.url, **KEYS)
    for headers in (NINA, {"X-API-Key": "a wrong one"}):
        client.post("/studio-generate", json={"prompt": "rain"}, headers=headers)

    with redis_server.client() as redis:
        held = {str(key): (redis.get(key), redis.ttl(key)) for key in redis.keys()}  # noqa: SIM118 - no mapping

    assert {key: count for key, (count, _) in held.items()} == {
        f"LIMITS:LIMITER/studio:limits/{asker}/work/{limit}": "1"
        for asker in ("key nina", "address 127.0.0.1")
        for limit in ("9/1/hour", "20/1/day")
    }
    assert all(0 < expires_s <= 86_400 for _, expires_s in held.values())


def test_a_redis_that_goes_and_comes_back_fails_no_request(make_client: MakeClient, redis_server: RedisServer) -> None:
    client = make_client(FakeEngine(), STUDIO_READ_LIMIT="3/day", STUDIO_REDIS_URL=redis_server.url)

    with_redis = [ask(client) for _ in range(4)]
    redis_server.stop()
    try:
        started_s = time.monotonic()
        without = [ask(client) for _ in range(4)]
        took_s = time.monotonic() - started_s
    finally:
        redis_server.start()
    give_up_at_s = time.monotonic() + 10
    while (again := ask(client)) != 200:  # by itself this process goes on refusing; Redis has forgotten
        assert time.monotonic() < give_up_at_s
        time.sleep(0.1)

    assert with_redis == [200, 200, 200, 429]
    assert without == [200, 200, 200, 429], "this process begins to count by itself"
    assert took_s < 2
    assert again == 200


def test_a_redis_that_says_nothing_costs_a_moment_and_not_each_time(make_client: MakeClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it accepts connections, and never answers
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        client = make_client(FakeEngine(), STUDIO_READ_LIMIT="100/day", STUDIO_REDIS_URL=url)
        took_s = []
        for _ in range(10):
            started_s = time.monotonic()
            assert ask(client) == 200
            took_s.append(time.monotonic() - started_s)

    assert max(took_s) < 1.0
    assert sum(took_s) < 2.0
