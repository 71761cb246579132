# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the gateway's processor time goes: its configuration without one of its parts at a time, interleaved.

Usage: PYTHONPATH=.cache:tests python tests/benchmarks/bench_gateway_parts.py [RUNS [PAGE]]; PAGE is a file the result is added to.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tests" / "benchmarks")]

import bench_gateway  # noqa: E402
import costs  # noqa: E402
import load  # noqa: E402
import proxies  # noqa: E402

PAGE = """
## Where the time of the gateway goes

Written by tests/benchmarks/bench_gateway_parts.py: the configuration without one of its parts at a time, {runs} interleaved rounds.

"""
TLS_PAGE = """
Where TLS's share goes, {runs} interleaved rounds of {requests} requests over {connections} kept connections:

"""
HANDSHAKES = 200
DIGEST = hashlib.sha256(proxies.KEY.encode()).hexdigest()
Change = Callable[[Path], None]


def without(file: str, expression: str, instead: str = "") -> Change:
    """Return what replaces an expression of a configuration file, and refuses when it is not there."""

    def change(directory: Path) -> None:
        text, found = re.subn(expression, instead, (directory / file).read_text(), flags=re.MULTILINE)
        if not found:
            raise RuntimeError(f"{file} has nothing of {expression}: this benchmark is older than the role")
        (directory / file).write_text(text)

    return change


def all_of(*changes: Change) -> Change:
    """Return several changes as one."""

    def change(directory: Path) -> None:
        for each in changes:
            each(directory)

    return change


PARTS: dict[str, Change] = {
    "nothing": lambda directory: None,
    "the key's digest (njs)": all_of(
        without("nginx.conf", r"^ *js_set \$gateway_digest .*$"),
        without("keys.conf", r"\A", f"map $http_authorization $gateway_digest {{ default {DIGEST}; }}\n"),
    ),
    "the digest, but not the call of njs": without(
        "gateway.js", r"^    const shown = .*\n.*$", f"    return '{DIGEST}';"
    ),
    "the access log": without("log.conf", r"^access_log .*$", "access_log off;"),
    "rate and concurrency": without("limits.conf", r"^limit_(req|conn) .*$"),
    "the headers of answers": without("answers-headers.conf", r"^add_header .*$"),
}

# Tenants whose limits differ in this many ways: nginx asks the zone of each kind at every request.
KINDS, TENANTS = 100, 1000
OF_KINDS: dict[str, Change] = {
    f"nothing, {TENANTS:,} tenants of {KINDS} kinds of limits": lambda directory: None,
    "rate and concurrency of these": PARTS["rate and concurrency"],
}


# With TLS, and one property of it changed at a time.
TLS_PARTS: dict[str, Change] = {
    "ours, TLS": lambda directory: None,
    "ours, TLS, never HTTP/2": without("nginx.conf", r" ssl http2", " ssl"),
    "ours, TLS, ChaCha20 in place of AES": without(
        "nginx.conf",
        r"^( *)ssl_protocols .*$",
        r"\1ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites TLS_CHACHA20_POLY1305_SHA256;",
    ),
    "ours, TLS, answers buffered": without("upstreams.conf", r"^proxy_buffering off;", "proxy_buffering on;"),
    "ours, TLS, answers without our headers": without("answers-headers.conf", r"^add_header .*$"),
}


async def _cpu(proxy: proxies.Proxy) -> float:
    before = proxy.cpu_seconds()
    answered, _seconds = await bench_gateway.throughput(proxy)
    return (proxy.cpu_seconds() - before) / answered * 1e6


async def _handshake(proxy: proxies.Proxy) -> float:
    """Return the processor time of a connection that asks nothing, in microseconds; no session is resumed."""
    before = proxy.cpu_seconds()
    for _number in range(HANDSHAKES):
        client = await load.Client(proxy).open()
        client.writer.transport.abort()
    await asyncio.sleep(0.2)
    return (proxy.cpu_seconds() - before) / HANDSHAKES * 1e6


def measured(found: dict[str, proxies.Proxy], runs: int) -> dict[str, list[float]]:
    """Return the processor time per request in every round, by name; the rounds take turns."""
    numbers: dict[str, list[float]] = {name: [] for name in found}
    for proxy in found.values():
        asyncio.run(bench_gateway.warm(proxy))
    for _run in range(runs):
        for name, proxy in found.items():
            numbers[name].append(asyncio.run(_cpu(proxy)))
    return numbers


def plain_parts(program: tuple[str, str], runs: int) -> list[str]:
    """Return the table of what is left without a part."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        place, upstream = Path(name), stack.enter_context(load.upstream()).port
        found = {"everything: bare nginx": stack.enter_context(proxies.plain_nginx(program, place / "bare", upstream))}
        configured = [(part, change, 10, 1) for part, change in PARTS.items()]
        configured += [(part, change, TENANTS, KINDS) for part, change in OF_KINDS.items()]
        for number, (part, change, tenants, kinds) in enumerate(configured):
            settings = proxies.gateway_part(proxies.free_port(), upstream, tenants, kinds=kinds)
            context = proxies.gateway(program, place / str(number), settings, False, change)
            found[part] = stack.enter_context(context)
        numbers = measured(found, runs)
    whole = statistics.median(numbers["nothing"])
    lines = ["| ours, plain, without | CPU per request, us | saved |", "|---|---|---|"]
    for part, values in numbers.items():
        lines.append(f"| {part} | {bench_gateway.shown(values, 1)} | {whole - statistics.median(values):.1f} |")
    return lines


def tls_parts(program: tuple[str, str], runs: int) -> list[str]:
    """Return the table of what TLS costs, bare and ours, and a sentence that adds it up."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        place, upstream = Path(name), stack.enter_context(load.upstream()).port
        found = {
            f"bare nginx{', TLS' if tls else ''}": stack.enter_context(
                proxies.plain_nginx(program, place / f"bare-{tls}", upstream, tls=tls)
            )
            for tls in (False, True)
        }
        found["ours, plain"] = stack.enter_context(proxies.ours(program, place / "plain", upstream, False, 10))
        for number, (part, change) in enumerate(TLS_PARTS.items()):
            settings = proxies.gateway_part(proxies.free_port(), upstream, 10)
            context = proxies.gateway(program, place / str(number), settings, True, change)
            found[part] = stack.enter_context(context)
        numbers = measured(found, runs)
        opened = {part: asyncio.run(_handshake(found[part])) for part in ("ours, plain", "ours, TLS")}
    middle = {part: statistics.median(values) for part, values in numbers.items()}
    base = middle["ours, plain"]
    lines = ["| proxy | CPU per request, us | over ours, plain |", "|---|---|---|"]
    for part, values in numbers.items():
        lines.append(f"| {part} | {bench_gateway.shown(values, 1)} | {middle[part] - base:.1f} |")
    handshake = opened["ours, TLS"] - opened["ours, plain"]
    share = handshake * bench_gateway.CONNECTIONS / bench_gateway.REQUESTS
    ours, bare = middle["ours, TLS"] - base, middle["bare nginx, TLS"] - middle["bare nginx"]
    told = (
        f"TLS adds {ours:.1f} us to a request of ours and {bare:.1f} us to one of bare nginx: that much is OpenSSL's and the "
        f"kernel's. A whole handshake costs {handshake:.0f} us, of which {share:.1f} us fall to each request here; the rest are records "
        "to decrypt and encrypt."
    )
    return [*lines, "", told]


def main() -> int:
    """Print the tables."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    program = proxies.nginx(ROOT / ".cache" / "nginx")
    if program is None:
        print("the gateway's parts are not measured: no nginx with njs is installed (bench_gateway.py fetches one)")
        return 0
    parts, tls = plain_parts(program, runs), tls_parts(program, runs)
    print("\n".join([*parts, "", *tls]))
    if len(sys.argv) > 2:
        head = TLS_PAGE.format(runs=runs, requests=bench_gateway.REQUESTS, connections=bench_gateway.CONNECTIONS)
        costs.keep(Path(sys.argv[2]), PAGE.format(runs=runs) + "\n".join(parts) + "\n" + head + "\n".join(tls))
    return 0


if __name__ == "__main__":
    sys.exit(main())
