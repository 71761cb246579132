# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the gateway costs in front of the same mock upstream, beside a bare nginx and, where they are there, other proxies.

Runs are interleaved; the table shows the median of the runs and, in brackets, the smallest and largest. Client and upstream
share the processors with the proxy, so requests a second are limited by the client; processor time is the proxy's alone.
vllm-router and LiteLLM are measured when .cache/bench/vllm-router and .cache/bench/litellm are virtual environments that hold them.

Usage: PYTHONPATH=.cache python tests/benchmarks/bench_gateway.py [RUNS]
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import proxies  # noqa: E402

CONNECTIONS, REQUESTS, SECONDS = 16, 4000, 4
RATE, RATE_SECONDS = 100, 2
STREAMS, EVENTS, EVENT_SECONDS = 8, 100, 0.005
ALONE = 5
IDLE_STREAMS = 1000
BODY = json.dumps({"model": proxies.MODEL, "messages": [{"role": "user", "content": "x" * 400}]})
ANSWER = json.dumps(
    {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": proxies.MODEL,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "y" * 400}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
)
EVENT = "data: " + json.dumps(
    {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": proxies.MODEL,
        "choices": [{"index": 0, "delta": {"content": "word "}}],
    }
)
Numbers = dict[str, float]


async def _upstream_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            lengths = [line[15:] for line in head.split("\r\n") if line.startswith("content-length:")]
            body = await reader.readexactly(int(lengths[0]) if lengths else 0)
            if b'"stream":true' in body.replace(b" ", b""):
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
                await _upstream_events(writer, b'"idle"' in body)
            else:
                writer.write(
                    f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(ANSWER)}\r\n\r\n{ANSWER}".encode()
                )
            await writer.drain()
    writer.close()


async def _upstream_events(writer: asyncio.StreamWriter, idle: bool) -> None:
    event = (EVENT + "\n\n").encode()
    for _number in range(1 if idle else EVENTS):
        writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        await writer.drain()
        await asyncio.sleep(EVENT_SECONDS)
    if idle:
        await asyncio.sleep(3600)
    writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")


def _serve(port: int) -> None:
    async def serve() -> None:
        server = await asyncio.start_server(_upstream_connection, "127.0.0.1", port, backlog=2048)
        await server.serve_forever()

    asyncio.run(serve())


def _request(body: str) -> bytes:
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {proxies.KEY}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


class Client:
    """One kept connection to a proxy."""

    def __init__(self, proxy: proxies.Proxy) -> None:
        self.proxy = proxy

    async def open(self) -> Client:
        context = None
        if self.proxy.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.proxy.port, ssl=context)
        return self

    async def ask(self, request: bytes) -> None:
        """Send a request and read the whole of its answer, which must be a good one."""
        self.writer.write(request)
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        lower = head.lower()
        if b"transfer-encoding: chunked" in lower:
            await self.reader.readuntil(b"0\r\n\r\n")
        else:
            await self.reader.readexactly(int(lower.split(b"content-length: ")[1].split(b"\r\n")[0]))

    async def stream(self) -> tuple[float, float]:
        """Read a stream as it comes; return events per read that brought any, and the milliseconds until the first."""
        started = time.perf_counter()
        self.writer.write(_request(BODY.replace("{", '{"stream": true, ', 1)))
        events = reads = 0
        first = 0.0
        data = b""
        while not data.endswith(b"0\r\n\r\n"):
            data = await self.reader.read(1 << 20)
            assert data, "the stream was cut short"
            found = data.count(b"data: {")
            if found and not events:
                first = (time.perf_counter() - started) * 1000
            events += found
            reads += 1 if found else 0
        assert events >= EVENTS, f"{events} events"
        return events / reads, first


async def _throughput(proxy: proxies.Proxy) -> tuple[int, float]:
    """Return how many requests were answered, at most REQUESTS, and in how many seconds, a little over SECONDS at most."""
    request = _request(BODY)
    clients = [await Client(proxy).open() for _number in range(CONNECTIONS)]

    async def work(client: Client) -> int:
        for number in range(REQUESTS // CONNECTIONS):
            if time.perf_counter() > started + SECONDS:
                return number
            await client.ask(request)
        return REQUESTS // CONNECTIONS

    started = time.perf_counter()
    answered = sum(await asyncio.gather(*map(work, clients)))
    seconds = time.perf_counter() - started
    for client in clients:
        client.writer.close()
    return answered, seconds


async def _latencies(proxy: proxies.Proxy) -> tuple[float, float]:
    request = _request(BODY)
    clients = [await Client(proxy).open() for _number in range(CONNECTIONS)]
    free: asyncio.Queue[Client] = asyncio.Queue()
    for client in clients:
        free.put_nowait(client)
    took: list[float] = []

    async def one() -> None:
        started = time.perf_counter()
        client = await free.get()
        await client.ask(request)
        took.append(time.perf_counter() - started)
        free.put_nowait(client)

    tasks = []
    begin = time.perf_counter()
    for number in range(RATE * RATE_SECONDS):
        await asyncio.sleep(max(0.0, begin + number / RATE - time.perf_counter()))
        tasks.append(asyncio.ensure_future(one()))
    await asyncio.gather(*tasks)
    for client in clients:
        client.writer.close()
    quantiles = statistics.quantiles(took, n=100)
    return quantiles[49] * 1000, quantiles[98] * 1000


async def _streams(proxy: proxies.Proxy) -> tuple[float, float]:
    """Return events per read of streams side by side, and the median time to the first event of one after the other."""
    clients = [await Client(proxy).open() for _number in range(STREAMS)]
    together = await asyncio.gather(*(client.stream() for client in clients))
    alone = [(await clients[0].stream())[1] for _number in range(ALONE)]
    for client in clients:
        client.writer.close()
    return statistics.mean(events for events, _first in together), statistics.median(alone)


async def _idle(proxy: proxies.Proxy) -> float:
    before = proxy.memory_bytes()
    request = _request(BODY.replace("{", '{"stream": true, "user": "idle", ', 1))
    clients = []
    for _number in range(IDLE_STREAMS):
        client = await Client(proxy).open()
        client.writer.write(request)
        clients.append(client)
        await client.reader.readuntil(b"data: {")
    grown = proxy.memory_bytes() - before
    for client in clients:
        client.writer.transport.abort()
    return grown / IDLE_STREAMS / 1024


async def _warm(proxy: proxies.Proxy) -> None:
    client = await Client(proxy).open()
    for _number in range(50):
        await client.ask(_request(BODY))
    await client.stream()
    client.writer.close()


async def measure(proxy: proxies.Proxy) -> Numbers:
    """Return one run's numbers."""
    await Client(proxy).open()
    before = proxy.cpu_seconds()
    answered, seconds = await _throughput(proxy)
    cpu = (proxy.cpu_seconds() - before) / answered * 1e6
    p50, p99 = await _latencies(proxy)
    per_read, first = await _streams(proxy)
    return {"cpu": cpu, "rate": answered / seconds, "p50": p50, "p99": p99, "per_read": per_read, "first": first}


def candidates(
    program: tuple[str, str], place: Path, upstream: int
) -> dict[str, AbstractContextManager[proxies.Proxy]]:
    """Return what is compared, by name."""
    found: dict[str, AbstractContextManager[proxies.Proxy]] = {
        "bare nginx": proxies.plain_nginx(program, place / "bare", upstream),
        "nginx of vLLM's docs": proxies.plain_nginx(program, place / "docs", upstream, proxies.OF_THE_DOCS),
        "ours, plain": proxies.ours(program, place / "plain", upstream, False, 10),
        "ours, plain, 10,000 tenants": proxies.ours(program, place / "many", upstream, False, 10_000),
        "ours, TLS": proxies.ours(program, place / "tls", upstream, True, 10),
    }
    environments = ROOT / ".cache" / "bench"
    if (environments / "vllm-router/bin/vllm-router").exists():
        found["vllm-router"] = proxies.vllm_router(environments / "vllm-router", upstream)
    if (environments / "litellm/bin/litellm").exists():
        found["LiteLLM"] = proxies.litellm(environments / "litellm", place / "litellm", upstream)
    return found


def shown(values: list[float], digits: int) -> str:
    """Return a median with its spread."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


HEADER = (
    "| proxy | CPU per request, us | of bare nginx | requests a second | p50 at 100/s, ms | p99, ms | added p50 | added p99 | "
    "first event, ms | added | SSE events per read | memory, MiB | KiB per idle stream |\n"
    "|---|---|---|---|---|---|---|---|---|---|---|---|---|"
)


def table(runs: dict[str, list[Numbers]], memory: dict[str, tuple[float, float]]) -> Iterator[str]:
    """Yield the rows."""
    middle = {
        name: {key: statistics.median(run[key] for run in found) for key in found[0]} for name, found in runs.items()
    }
    for name, found in runs.items():
        columns = {key: [run[key] for run in found] for key in found[0]}
        share = f"{middle[name]['cpu'] / middle['bare nginx']['cpu']:.2f}" if name != "direct" else ""
        added = [middle[name][key] - middle["direct"][key] for key in ("p50", "p99")]
        idle = [f"{value:.1f}" for value in memory[name]] if name in memory else ["", ""]
        cpu = shown(columns["cpu"], 0) if name != "direct" else ""
        parts = [name, cpu, share, shown(columns["rate"], 0), shown(columns["p50"], 2), shown(columns["p99"], 2)]
        parts += [f"{value:.2f}" for value in added] + [shown(columns["first"], 2)]
        parts += [f"{middle[name]['first'] - middle['direct']['first']:.2f}", shown(columns["per_read"], 3), *idle]
        yield f"| {' | '.join(parts)} |"


def main() -> int:
    """Print the table."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    cache = ROOT / ".cache" / "nginx"
    reason = "" if proxies.nginx(cache) else proxies.unpack(cache)
    program = proxies.nginx(cache)
    if program is None:
        print(f"the gateway is not measured: no nginx with njs is installed, and none could be fetched ({reason})")
        return 0
    upstream = proxies.free_port()
    server = multiprocessing.get_context("spawn").Process(target=_serve, args=(upstream,), daemon=True)
    server.start()
    proxies.listening(upstream, server.is_alive)
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        direct = proxies.Proxy(upstream, False, server.pid or 0)
        found = {"direct": direct}
        for name, context in candidates(program, Path(place), upstream).items():
            try:
                found[name] = stack.enter_context(context)
                asyncio.run(_warm(found[name]))
            except (RuntimeError, AssertionError, OSError, asyncio.IncompleteReadError) as error:
                found.pop(name, None)
                print(f"{name} is not measured: {error}")
        numbers: dict[str, list[Numbers]] = {name: [] for name in found}
        for _run in range(runs):
            for name, proxy in found.items():
                numbers[name].append(asyncio.run(measure(proxy)))
        memory = {}
        for name, proxy in found.items():
            if name != "direct":
                base = proxy.memory_bytes() / 2**20
                try:
                    memory[name] = (base, asyncio.run(asyncio.wait_for(_idle(proxy), 60)))
                except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                    print(f"{name} does not hold {IDLE_STREAMS} idle streams: {type(error).__name__} {error}")
        print(HEADER)
        for row in table(numbers, memory):
            print(row, flush=True)
    server.terminate()
    return 0


if __name__ == "__main__":
    sys.exit(main())
