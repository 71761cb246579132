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
import load  # noqa: E402
import proxies  # noqa: E402

PAGE = """
### Where the time goes

Written by tests/benchmarks/bench_gateway_parts.py: the configuration without one of its parts at a time, {runs} interleaved rounds.

"""
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


async def _cpu(proxy: proxies.Proxy) -> float:
    before = proxy.cpu_seconds()
    answered, _seconds = await bench_gateway.throughput(proxy)
    return (proxy.cpu_seconds() - before) / answered * 1e6


def main() -> int:
    """Print the table."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    program = proxies.nginx(ROOT / ".cache" / "nginx")
    if program is None:
        print("the gateway's parts are not measured: no nginx with njs is installed (bench_gateway.py fetches one)")
        return 0
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        place, upstream = Path(name), stack.enter_context(load.upstream()).port
        found = {"everything: bare nginx": stack.enter_context(proxies.plain_nginx(program, place / "bare", upstream))}
        for number, (part, change) in enumerate(PARTS.items()):
            settings = proxies.gateway_part(proxies.free_port(), upstream, 10)
            context = proxies.gateway(program, place / str(number), settings, False, change)
            found[part] = stack.enter_context(context)
        numbers: dict[str, list[float]] = {part: [] for part in found}
        for proxy in found.values():
            asyncio.run(bench_gateway.warm(proxy))
        for _run in range(runs):
            for part, proxy in found.items():
                numbers[part].append(asyncio.run(_cpu(proxy)))
    whole = statistics.median(numbers["nothing"])
    lines = ["| ours, plain, without | CPU per request, us | saved |", "|---|---|---|"]
    for part, values in numbers.items():
        lines.append(f"| {part} | {bench_gateway.shown(values, 1)} | {whole - statistics.median(values):.1f} |")
    print("\n".join(lines))
    if len(sys.argv) > 2:
        with Path(sys.argv[2]).open("a", encoding="utf-8") as page:
            page.write(PAGE.format(runs=runs) + "\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
