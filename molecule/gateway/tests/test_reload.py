"""What is open outlives a reload, for a bounded time; and which engine a session has, drained ones included."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from gateway.support import Answer, Send, chat, http2, playbook, request
from gateway.tests.test_groups import opened
from lab.testing import wait_for
from testinfra.host import Host

SERVICE = "hardened-vllm-gateway"
SECONDS = 2
OTHERWISE = {
    "gateway_scenario_balancing": "session",
    "gateway_scenario_store": [],
    "gateway_reload_grace_seconds": SECONDS,
}


def workers(gateway: Host) -> set[str]:
    """Return nginx's workers, old ones included."""
    return set(gateway.check_output(f"pgrep --parent $(cat /run/{SERVICE}/nginx.pid)").split())


def reload(gateway: Host) -> None:
    """Reload nginx and see that it has new workers."""
    before = workers(gateway)
    gateway.check_output(f"systemctl reload {SERVICE}")
    assert workers(gateway) - before


def events(number: int) -> str:
    """Return what a stream of so many events is."""
    return "".join(f'data: {{"number": {place}}}\n\n' for place in range(number))


def test_a_reload_breaks_no_stream(gateway: Host, send: Send, keys: dict[str, str]) -> None:
    body = {"stream": True, "events": 20}
    over_http2 = {"headers": http2("/v1/chat/completions", keys["acme"]), "body": json.dumps(body)}
    with ThreadPoolExecutor(1) as pool:
        under_way = pool.submit(send, [*[chat(keys["acme"], body)] * 8, *[over_http2] * 8])
        time.sleep(1.5)
        reload(gateway)
        assert not under_way.done(), "the streams were to be open"
        for answer in under_way.result()[:8]:
            assert "".join(answer.body.split("\r\n")[1::2]) == events(20)
            assert answer.text.endswith("0\r\n\r\n")
        assert [(answer.status, answer.text) for answer in under_way.result()[8:]] == [(200, events(20))] * 8


def test_a_reload_breaks_no_websocket(gateway: Host, keys: dict[str, str]) -> None:
    async def talk() -> None:
        async with await opened(keys["every"]) as socket:
            old = workers(gateway)
            for message in ("before", "after"):
                await socket.send(message)
                assert await asyncio.wait_for(socket.recv(), 10) == message
                if message == "before":
                    await asyncio.to_thread(reload, gateway)
            assert old & workers(gateway), "the worker that has it stays"

    asyncio.run(talk())


def reloads_with_streams(
    gateway: Host, send: Send, key: str, pool: ThreadPoolExecutor, number: int
) -> tuple[set[str], list[Future[list[Answer]]]]:
    """Open a stream and reload, three times; return the workers that were replaced and the streams."""
    replaced: set[str] = set()
    streams = []
    for _reload in range(3):
        streams.append(pool.submit(send, [chat(key, {"stream": True, "events": number})]))
        time.sleep(1)
        replaced |= workers(gateway)
        reload(gateway)
    return replaced, streams


def test_old_workers_pile_up_as_long_as_they_are_waited_for(gateway: Host, send: Send, keys: dict[str, str]) -> None:
    with ThreadPoolExecutor(3) as pool:
        replaced, streams = reloads_with_streams(gateway, send, keys["acme"], pool, 40)
        assert len(replaced & workers(gateway)) >= 3
    assert all(stream.result()[0].text.endswith("0\r\n\r\n") for stream in streams)


@pytest.fixture(scope="module")
def otherwise() -> Iterator[None]:
    """The cluster with engines chosen by session, and a short grace for what a reload finds open."""
    run = playbook("-e", json.dumps(OTHERWISE))
    assert run.returncode == 0, run.stdout
    yield
    back = playbook()
    assert back.returncode == 0, back.stdout


@pytest.mark.usefixtures("otherwise")
def test_old_workers_end_in_time(gateway: Host, send: Send, keys: dict[str, str]) -> None:
    with ThreadPoolExecutor(3) as pool:
        replaced, streams = reloads_with_streams(gateway, send, keys["acme"], pool, 100)
        took = wait_for(lambda: not replaced & workers(gateway), 15, "old workers did not end")
        assert took < 30 - SECONDS, "long before the streams would have"
        for stream in streams:
            (answer,) = stream.result()
            assert (answer.status, answer.text.endswith("0\r\n\r\n")) == (200, False), "it was cut"


Places = dict[str, set[int]]


def places(send: Send, engines: list[Host], key: str, headers: dict[str, str]) -> Places:
    """Send five requests with each header; return the engines that had them, by the header's mark."""
    for engine in engines:
        engine.check_output("truncate --size=0 /root/record.jsonl")
    line = "POST /v1/chat/completions HTTP/1.1"
    answers = send([request(line, key, header, body=mark) for mark, header in headers.items() for _same in range(5)])
    assert {answer.status for answer in answers} == {200}
    found: Places = {mark: set() for mark in headers}
    for place, engine in enumerate(engines):
        for entry in engine.check_output("cat /root/record.jsonl").splitlines():
            found[json.loads(entry)["body"]].add(place)
    return found


@pytest.mark.usefixtures("otherwise")
def test_a_session_stays_with_its_engine(send: Send, engines: list[Host], keys: dict[str, str]) -> None:
    sessions = {f"session-{number}": f"X-Session-ID: session-{number}" for number in range(30)}
    before = places(send, engines, keys["acme"], sessions)
    assert {len(found) for found in before.values()} == {1}
    assert set.union(*before.values()) == {0, 1}
    others = places(send, engines, keys["every"], dict(list(sessions.items())[:3]))
    assert {len(found) for found in others.values()} == {1}
    none = {"none": "X-A: b", "bad": "X-Session-ID: a b", "long": f"X-Session-ID: {'a' * 129}"}
    scattered = [places(send, engines, keys["acme"], none) for _time in range(3)]
    assert all(set.union(*(found[mark] for found in scattered)) == {0, 1} for mark in none), (
        "each has a place of its own"
    )
    run = playbook("-e", json.dumps({**OTHERWISE, "gateway_drained": ["engine1"]}))
    assert run.returncode == 0, run.stdout
    after = places(send, engines, keys["acme"], sessions)
    assert after == {name: {1} for name in sessions}, "those of the drained engine go to the other, which keeps its own"
