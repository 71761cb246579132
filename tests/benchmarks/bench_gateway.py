# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the gateway costs in front of the same mock upstream, beside a bare nginx and, where they are there, other proxies.

Runs are interleaved; the table shows the median of the runs and, in brackets, the smallest and largest. Client and upstream
share the processors with the proxy, so requests a second are limited by the client; processor time is the proxy's alone.
vllm-router and LiteLLM are measured when .cache/bench/vllm-router and .cache/bench/litellm are virtual environments that hold them:
make bench-proxies makes them, of the versions in tests/benchmarks/proxies.

Usage: PYTHONPATH=.cache:tests python tests/benchmarks/bench_gateway.py [RUNS [PAGE]]; PAGE is a file the result is added to.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import costs  # noqa: E402
import load  # noqa: E402
import proxies  # noqa: E402
from ansible_collections.hardened.vllm.plugins.plugin_utils import catalogue  # noqa: E402

# One tenant alone may read stored answers, and the benchmark has many.
EVERY_GROUP = [group for group in catalogue.user_groups("0.32.0") if group != "responses-store"]
OTHERS = {"vllm-router": "vllm-router", "LiteLLM": "litellm"}

CONNECTIONS, REQUESTS, SECONDS = 16, 4000, 4
RATE, RATE_SECONDS = 100, 2
STREAMS = 8
ALONE = 5
IDLE_STREAMS = 1000
Numbers = dict[str, float]


async def throughput(proxy: proxies.Proxy) -> tuple[int, float]:
    """Return how many requests were answered, at most REQUESTS, and in how many seconds, a little over SECONDS at most."""
    request = load.request(load.BODY)
    clients = [await load.Client(proxy).open() for _number in range(CONNECTIONS)]

    async def work(client: load.Client) -> int:
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
    request = load.request(load.BODY)
    clients = [await load.Client(proxy).open() for _number in range(CONNECTIONS)]
    free: asyncio.Queue[load.Client] = asyncio.Queue()
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
    clients = [await load.Client(proxy).open() for _number in range(STREAMS)]
    together = await asyncio.gather(*(client.stream() for client in clients))
    alone = [(await clients[0].stream())[1] for _number in range(ALONE)]
    for client in clients:
        client.writer.close()
    return statistics.mean(events for events, _first in together), statistics.median(alone)


async def _idle(proxy: proxies.Proxy) -> float:
    before = proxy.memory_bytes()
    request = load.request(load.BODY.replace("{", '{"stream": true, "user": "idle", ', 1))
    clients = []
    for _number in range(IDLE_STREAMS):
        client = await load.Client(proxy).open()
        client.writer.write(request)
        clients.append(client)
        await client.reader.readuntil(b"data: {")
    grown = proxy.memory_bytes() - before
    for client in clients:
        client.writer.transport.abort()
    return grown / IDLE_STREAMS / 1024


async def warm(proxy: proxies.Proxy) -> None:
    client = await load.Client(proxy).open()
    for _number in range(50):
        await client.ask(load.request(load.BODY))
    await client.stream()
    client.writer.close()


async def measure(proxy: proxies.Proxy) -> Numbers:
    """Return one run's numbers."""
    await load.Client(proxy).open()
    before = proxy.cpu_seconds()
    answered, seconds = await throughput(proxy)
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
        "ours, plain, 1,000 tenants of 100 kinds of limits": proxies.ours(
            program, place / "kinds", upstream, False, 1000, 100
        ),
        "ours, plain, one group of routes": proxies.ours(program, place / "one", upstream, False, 10, routes=["chat"]),
        f"ours, plain, {len(EVERY_GROUP)} groups of routes": proxies.ours(
            program, place / "all", upstream, False, 10, routes=EVERY_GROUP
        ),
        "ours, TLS": proxies.ours(program, place / "tls", upstream, True, 10),
    }
    environments = ROOT / ".cache" / "bench"
    if installed("vllm-router"):
        found["vllm-router"] = proxies.vllm_router(environments / "vllm-router", upstream)
    if installed("LiteLLM"):
        found["LiteLLM"] = proxies.litellm(environments / "litellm", place / "litellm", upstream)
    return found


def installed(proxy: str) -> str:
    """Return the version of another proxy that lies in its environment, empty when there is none."""
    name = OTHERS[proxy]
    python = ROOT / ".cache" / "bench" / name / "bin" / "python"
    if not (python.with_name(name)).exists():
        return ""
    ask = f"import importlib.metadata; print(importlib.metadata.version({name!r}))"
    return subprocess.run([str(python), "-c", ask], capture_output=True, text=True, check=True).stdout.strip()


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
        idle = [f"{value:.1f}" for value in memory[name]] if name in memory else ["-", "-"]
        cpu = shown(columns["cpu"], 0) if name != "direct" else ""
        parts = [name, cpu, share, shown(columns["rate"], 0), shown(columns["p50"], 2), shown(columns["p99"], 2)]
        parts += [f"{value:.2f}" for value in added] + [shown(columns["first"], 2)]
        parts += [f"{middle[name]['first'] - middle['direct']['first']:.2f}", shown(columns["per_read"], 3), *idle]
        yield f"| {' | '.join(parts)} |"


PAGE = """
## The gateway

Written by tests/benchmarks/bench_gateway.py.
Client, mock of vLLM and proxy share the processors, so that processor time is the honest figure and requests a second are the client's limit.
Medians of interleaved rounds, with the smallest and largest in brackets; "added" is in milliseconds over no proxy at all.

"""


def machine(program: str, runs: int) -> str:
    """Return what the numbers were measured on, and the versions of what was measured."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.split(": ", 1)[1] for line in lines if line.startswith("model name")]
    version = subprocess.run([program, "-v"], capture_output=True, text=True, check=False).stderr.split("/")[-1].strip()
    others = "".join(f", {name} {installed(name)}" for name in OTHERS if installed(name))
    where = f"{len(models)} processors ({models[0] if models else 'unknown'})"
    return f"{where}, nginx {version} with one worker{others}, {runs} rounds."


def goals(runs: dict[str, list[Numbers]]) -> Iterator[str]:
    """Yield what the gateway is to cost at most, and whether it did in these runs."""
    middle = {name: {key: statistics.median(run[key] for run in of) for key in of[0]} for name, of in runs.items()}
    cpu = {name: found["cpu"] for name, found in middle.items()}
    (one,) = (name for name in cpu if name.endswith("one group of routes"))
    (every,) = (name for name in cpu if name.endswith(" groups of routes"))
    wanted = [
        ("CPU per request, ours plain / bare nginx", cpu["ours, plain"] / cpu["bare nginx"], 1.15),
        ("CPU per request, ours with TLS / bare nginx", cpu["ours, TLS"] / cpu["bare nginx"], 2.0),
        ("CPU per request, 10,000 tenants / 10", cpu["ours, plain, 10,000 tenants"] / cpu["ours, plain"], 1.1),
        (
            "CPU per request, 1,000 tenants of 100 kinds of limits / 10 of one kind",
            cpu["ours, plain, 1,000 tenants of 100 kinds of limits"] / cpu["ours, plain"],
            1.1,
        ),
        (f"CPU per request, {len(EVERY_GROUP)} groups of routes / one", cpu[every] / cpu[one], 1.1),
        ("SSE events per read, ours with TLS", middle["ours, TLS"]["per_read"], 1.02),
    ]
    for name, share in (("vllm-router", 1.0), ("LiteLLM", 0.05)):
        if name in middle:
            wanted.append((f"CPU per request, ours with TLS / {name}", cpu["ours, TLS"] / cpu[name], share))
    for what, found, most in wanted:
        yield f"{'met' if found <= most else 'MISSED'}: {what}: {found:.3g}, at most {most:g}"


def main() -> int:
    """Print the table."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    cache = ROOT / ".cache" / "nginx"
    reason = "" if proxies.nginx(cache) else proxies.unpack(cache)
    program = proxies.nginx(cache)
    if program is None:
        print(f"the gateway is not measured: no nginx with njs is installed, and none could be fetched ({reason})")
        return 0
    notes: list[str] = []
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        direct = stack.enter_context(load.upstream())
        found = {"direct": direct}
        for name, context in candidates(program, Path(place), direct.port).items():
            try:
                found[name] = stack.enter_context(context)
                asyncio.run(warm(found[name]))
            except (RuntimeError, AssertionError, OSError, asyncio.IncompleteReadError) as error:
                found.pop(name, None)
                notes.append(f"{name}: not measured, {type(error).__name__} {error}")
        numbers: dict[str, list[Numbers]] = {name: [] for name in found}
        for _run in range(runs):
            for name, proxy in found.items():
                numbers[name].append(asyncio.run(measure(proxy)))
        notes += [f"{name}: not measured, make bench-proxies installs it" for name in OTHERS if not installed(name)]
        memory = {}
        for name, proxy in found.items():
            if name != "direct":
                base = proxy.memory_bytes() / 2**20
                try:
                    memory[name] = (base, asyncio.run(asyncio.wait_for(_idle(proxy), 60)))
                except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                    found_out = f"{type(error).__name__} {error}".strip()
                    notes.append(
                        f"{name}: memory not measured, since {IDLE_STREAMS} streams at once failed: {found_out}"
                    )
    lines = [HEADER, *table(numbers, memory), "", *(f"- {line}" for line in [*goals(numbers), *notes])]
    print("\n".join(lines))
    if len(sys.argv) > 2:
        costs.keep(Path(sys.argv[2]), f"{PAGE}{machine(program[0], runs)}\n\n" + "\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
