# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The attack side of what the unit's arguments promise: the same vLLM beside it, without them.

Without --shutdown-timeout streams have no end, which test_change.py shows them to have; with requests logged, prompts are in the journal.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from engine_lab import Engine
from lab.hunt import hunt
from lab.testing import Console, wait_for

PORT = 8200
STOP_SECONDS = 15
# What the engine runs with, but for its port, the time to end requests in, and the silence about them.
START = f"""
import json, os, subprocess, sys
pid = subprocess.run(["systemctl", "show", "-P", "MainPID", "hardened-vllm-engine"], capture_output=True, text=True).stdout.strip()
argv = open(f"/proc/{{pid}}/cmdline").read().split("\\0")[:-1]
environment = dict(one.split("=", 1) for one in open(f"/proc/{{pid}}/environ").read().split("\\0") if "=" in one)
for option in ("--shutdown-timeout", "--config"):
    at = argv.index(option)
    del argv[at : at + 2]
argv[argv.index("--port") + 1] = "{PORT}"
told = {{name: value for name, value in environment.items() if name.startswith(("VLLM", "TORCH", "OMP", "GLOO")) and "/" not in value}}
told |= {{"HOME": "/root", "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "DEBUG"}}
unit = ["systemd-run", "--quiet", "--collect", "--unit=plain-vllm", "--property=KillMode=mixed", "--property=TimeoutStopSec={STOP_SECONDS}"]
sys.exit(subprocess.run([*unit, *(f"--setenv={{name}}={{value}}" for name, value in told.items()), *argv, "--enable-log-requests"]).returncode)
"""


@pytest.fixture(scope="module")
def plain(engine: Engine, console: Callable[[str], Console]) -> Iterator[Engine]:
    """A vLLM as the engine's, that was not told what the collection tells it, until a test stops it."""
    where = console("engine1")
    where.run("python3", "-c", START)
    other = replace(engine, port=PORT)

    def answers() -> bool:
        try:
            return other.request("/health")[0] == 200
        except pytest.fail.Exception:  # not listening yet
            assert where.start("systemctl", "is-active", "plain-vllm").returncode == 0, "it ended"
            return False

    try:
        wait_for(answers, 300, "it did not start")
        yield other
    finally:
        where.start("systemctl", "stop", "plain-vllm")


def test_prompts_are_in_the_journal_when_requests_are_logged_and_else_nowhere(
    engine: Engine, plain: Engine, console: Callable[[str], Console]
) -> None:
    canaries = {"hardened": f"canary-{secrets.token_hex(12)}", "plain": f"canary-{secrets.token_hex(12)}"}
    for name, one in (("hardened", engine), ("plain", plain)):
        shared = {"model": "tiny", "max_tokens": 2}
        asked = {
            "/v1/chat/completions": {"messages": [{"role": "user", "content": canaries[name]}]},
            "/v1/completions": {"prompt": canaries[name]},
        }
        for path, body in asked.items():
            status, text = one.request(path, engine.key, shared | body)
            assert status == 200, text
    found = hunt(console("engine1"), {name: [canary] for name, canary in canaries.items()})
    assert found == {"journal": ["plain"]}


def test_without_the_timeout_a_stream_that_runs_has_no_end(plain: Engine, console: Callable[[str], Console]) -> None:
    # Many answers to each request: the more vLLM has to write at once the longer a stream runs, however fast this machine is.
    body = {
        "model": "tiny",
        "prompt": "Hello, who is there?",
        "max_tokens": 480,
        "ignore_eos": True,
        "stream": True,
        "n": 32,
    }

    def stream() -> tuple[int, str]:
        return plain.request("/v1/completions", None, body, broken=True)

    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(stream) for _number in range(8)]
        wait_for(lambda: plain.running() > 0, 60, "no stream was seen")
        begun = time.monotonic()
        console("engine1").run("systemctl", "stop", "plain-vllm")
        assert time.monotonic() - begun < STOP_SECONDS + 20
    ended = [text for status, text in (one.result() for one in asked) if status == 200 and "data: " in text]
    cut = [text for text in ended if "data: [DONE]" not in text]
    assert any(json.loads(text.split("data: ")[1].split("\n")[0]) for text in cut), "one that had begun has no end"
