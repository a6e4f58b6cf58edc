"""Turns: a thread's turn ends once, when it begins to wait for an upstream or is done."""

from __future__ import annotations

import threading

from unit.engines.huggingface.hf_wire import Exchange, converse, serve

from app import turns
from app.retry import Deadline


def test_a_turn_ends_once() -> None:
    ended: list[str] = []
    turns.begin(lambda: ended.append("first"))

    turns.rest()
    turns.rest()

    assert ended == ["first"]


def test_who_has_no_turn_rests_all_the_same() -> None:
    turns.rest()


def test_each_thread_has_a_turn_of_its_own() -> None:
    ended: list[str] = []
    turns.begin(lambda: ended.append("mine"))
    other = threading.Thread(target=turns.rest)
    other.start()
    other.join()

    assert ended == []
    turns.rest()


def test_waiting_for_an_upstream_ends_it() -> None:
    seen: list[bool] = []
    ended = threading.Event()

    def answer(exchange: Exchange) -> None:
        seen.append(ended.wait(5))
        exchange.answer("")

    with serve(answer) as server:
        turns.begin(ended.set)
        converse(server).get(server.url, deadline=Deadline.after(10))

    assert seen == [True]
