# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Clients people use, through the gateway: what they get, what they are told, and what becomes of a request they leave."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import httpx2 as httpx
import openai
import pytest
from lab.testing import Console, wait_for
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from .conftest import MODEL, Service

QUESTION: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
CITY = {"type": "string", "enum": ["Paris"]}
PARAMETERS = {"type": "object", "properties": {"city": CITY}, "required": ["city"], "additionalProperties": False}
TOOL: Any = {"type": "function", "function": {"name": "weather", "parameters": PARAMETERS, "strict": True}}
CHOICE: Any = {"type": "function", "function": {"name": "weather"}}
WRONG = "wrong-key-wrong-key-wrong-key-wrong"
TOKENS = 2000
LEFT = 8
LEFT_SECONDS = 10
BEGUN_SECONDS = 0.3


def trust(service: Service) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(service.authority))


def test_many_at_once_through_the_asynchronous_client(service: Service) -> None:
    async def ask() -> list[int]:
        http = httpx.AsyncClient(verify=trust(service), trust_env=False)
        async with openai.AsyncOpenAI(
            base_url=f"https://{service.address}/v1", api_key=service.key, http_client=http, max_retries=0, timeout=60
        ) as client:

            async def one() -> int:
                stream = await client.chat.completions.create(
                    model=MODEL,
                    messages=QUESTION,
                    max_tokens=16,
                    stream=True,
                    stream_options={"include_usage": True},
                    extra_body={"ignore_eos": True},
                )
                usage = [part.usage.completion_tokens async for part in stream if part.usage]
                return usage[-1]

            return await asyncio.gather(*(one() for _number in range(8)))

    assert asyncio.run(ask()) == [16] * 8


def test_a_tool_is_called(service: Service) -> None:
    answer = service.client().chat.completions.create(
        model=MODEL, messages=QUESTION, tools=[TOOL], tool_choice=CHOICE, max_tokens=400
    )
    (call,) = answer.choices[0].message.tool_calls or []
    assert (call.type, call.function.name) == ("function", "weather")
    assert json.loads(call.function.arguments) == {"city": "Paris"}


def test_a_tool_is_called_in_a_stream(service: Service) -> None:
    stream = service.client().chat.completions.create(
        model=MODEL, messages=QUESTION, tools=[TOOL], tool_choice=CHOICE, max_tokens=400, stream=True
    )
    calls = [call for part in stream for choice in part.choices for call in choice.delta.tool_calls or []]
    assert [call.function.name for call in calls if call.function and call.function.name] == ["weather"]
    arguments = "".join(call.function.arguments or "" for call in calls if call.function)
    assert json.loads(arguments) == {"city": "Paris"}


@contextlib.contextmanager
def anthropics(service: Service, key: str | None = None, **options: Any) -> Any:
    """Anthropic's client, which shows its key in a header of its own."""
    http = httpx.Client(verify=trust(service), trust_env=False)
    shown = options or {"api_key": key or service.key}
    with anthropic.Anthropic(
        base_url=f"https://{service.address}", http_client=http, max_retries=0, timeout=60, **shown
    ) as client:
        yield client


@pytest.mark.parametrize("shown", ["api_key", "auth_token"])
def test_anthropic_s_client(service: Service, shown: str) -> None:
    with anthropics(service, **{shown: service.key}) as client:
        answer = client.messages.create(model=MODEL, max_tokens=8, messages=QUESTION)
        assert answer.role == "assistant"
        assert 1 <= answer.usage.output_tokens <= 8
        assert client.messages.count_tokens(model=MODEL, messages=QUESTION).input_tokens > 1


def test_anthropic_s_client_streams(service: Service) -> None:
    with anthropics(service) as client, client.messages.stream(model=MODEL, max_tokens=16, messages=QUESTION) as stream:
        kinds = [event.type for event in stream]
        whole = stream.get_final_message()
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    assert "content_block_delta" in kinds
    assert 1 <= whole.usage.output_tokens <= 16


def test_errors_are_understood_by_the_clients(service: Service, journal: Callable[[], str]) -> None:
    with anthropics(service, key=WRONG) as client, pytest.raises(anthropic.AuthenticationError):
        client.messages.create(model=MODEL, max_tokens=8, messages=QUESTION)
    with pytest.raises(openai.NotFoundError) as unknown:
        service.client().responses.create(model=MODEL, input="a")
    assert unknown.value.type == "invalid_request_error"
    assert '"POST ' not in journal()
    # What vLLM itself finds wrong with a request reaches the client in vLLM's own words.
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        service.client().chat.completions.create(model="other", messages=QUESTION)


@pytest.mark.parametrize("protocol", ["--http1.1", "--http2"])
def test_curl(service: Service, protocol: str) -> None:
    written = "%{stderr}%{http_version} %{http_code} %{content_type}"
    url = f"https://{service.address}/v1/chat/completions"
    body = json.dumps({"model": MODEL, "messages": QUESTION, "max_tokens": 4, "stream": True})
    # The key comes from standard input, and so stands in no list of processes.
    argv = ["curl", "--silent", "--no-buffer", protocol, "--cacert", str(service.authority), "--noproxy", "*"]
    more = ["--config", "-", "--json", body, "--write-out", written, url]
    config = f'header = "Authorization: Bearer {service.key}"\n'
    done = subprocess.run([*argv, *more], input=config, capture_output=True, text=True, timeout=60, check=True)
    version, status, kind = done.stderr.split(" ", 2)
    assert (version, status) == ("2" if protocol == "--http2" else "1.1", "200")
    assert kind.startswith("text/event-stream")
    assert done.stdout.startswith("data: {")
    assert done.stdout.endswith("data: [DONE]\n\n")


def handshake(service: Service, path: str, key: str | None) -> int:
    """Ask for a WebSocket and return the status of the refusal; this model has none to give.

    Not by the client that has threads: on a busy machine what it sent did not arrive now and then, perhaps because one of them reads the session
    tickets of TLS 1.3 meanwhile.
    """

    async def ask() -> None:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        await connect(
            f"wss://{service.address}{path}",
            ssl=trust(service),
            additional_headers=headers,
            proxy=None,
            open_timeout=30,
        )

    with pytest.raises(InvalidStatus) as refused:
        asyncio.run(ask())
    return refused.value.response.status_code


@pytest.mark.parametrize("key", [None, WRONG])
def test_a_websocket_needs_a_key_first(service: Service, key: str | None, journal: Callable[[], str]) -> None:
    assert handshake(service, "/v1/realtime?model=tiny", key) == 401
    assert "/v1/" not in journal()


def test_a_websocket_is_asked_for_on_its_route_alone(service: Service, journal: Callable[[], str]) -> None:
    """With this model vLLM has no such route; that it was asked for a WebSocket, and by whom, is in its log."""
    assert handshake(service, "/v1/realtime?model=tiny", service.key) == 404
    asked = r'"WebSocket /v1/realtime\?model=tiny" 403'
    wait_for(lambda: re.search(asked, journal()) is not None, 30, "vLLM has logged no refused WebSocket")
    for path in ("/v1/models", "/v1/chat/completions", "/v1/realtime/", "/metrics"):
        assert handshake(service, path, service.key) in (200, 404, 405)
    assert journal().count('"WebSocket ') == 1


def metrics(console: Console) -> dict[str, float]:
    """The sums over both ranks of what these tests look at."""
    text = console.run("curl", "--silent", "--fail", "http://10.220.1.11:8000/metrics")
    names = ("num_requests_running", "num_requests_waiting", "request_generation_tokens_sum")
    return {
        name: sum(float(value) for value in re.findall(rf"(?m)^vllm:{name}\{{.*\}} (\S+)$", text)) for name in names
    }


def answered(service: Service, console: Console, seconds: float) -> float:
    """Wait until the engines have nothing to do; return the tokens of all answers they ever finished.

    A rank that drops its only request takes no further step and goes on saying that it runs. So both are given short
    requests before each look, which together stay far below the length of a stream.
    """
    client = service.client()
    deadline = time.monotonic() + seconds
    while True:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: client.completions.create(model=MODEL, prompt="a", max_tokens=1), range(4)))
        found = metrics(console)
        if found["num_requests_running"] + found["num_requests_waiting"] == 0:
            return found["request_generation_tokens_sum"]
        assert time.monotonic() < deadline, found
        time.sleep(0.2)


def open_stream(service: Service) -> openai.Stream[Any]:
    """A long stream that has been accepted."""
    more = {"ignore_eos": True}
    return service.client().completions.create(model=MODEL, prompt="a", max_tokens=TOKENS, stream=True, extra_body=more)


def test_streams_that_are_read_to_their_end(service: Service, console: Callable[[str], Console]) -> None:
    """The test after this one can fail: left alone, the engines answer every request to its end."""
    gateway = console("gateway")
    before = answered(service, gateway, 60)
    for stream in [open_stream(service) for _number in range(4)]:
        assert list(stream)[-1].choices[0].finish_reason == "length"
    assert (answered(service, gateway, LEFT_SECONDS) - before) // TOKENS == 4


def leave_one_that_has_begun(service: Service) -> int:
    """Leave a stream at its first part; return how many were over before, as happens where two cores bear it all."""
    for over in range(10 * LEFT):
        stream = open_stream(service)
        asked = time.monotonic()
        next(iter(stream))
        took = time.monotonic() - asked
        stream.close()
        if took < BEGUN_SECONDS:
            return over
    pytest.fail("the engines answer at once or not at all")


def test_streams_whose_client_leaves_are_given_up(service: Service, console: Callable[[str], Console]) -> None:
    """Were they not, all would end. A few may: the front end that is to stop them shares its cores with them.

    Counted are answers that ended, since vLLM counts no other: vllm:request_success_total has a label finished_reason="abort", but what a
    front end gives up (OutputProcessor.abort_requests of v1/engine/output_processor.py, 0.32.0) updates no statistics.
    """
    gateway = console("gateway")
    before = answered(service, gateway, 60)
    over = sum(leave_one_that_has_begun(service) for _number in range(LEFT))
    ended = (answered(service, gateway, LEFT_SECONDS) - before) // TOKENS - over
    assert ended < LEFT / 2, "what nobody waits for is not finished"
