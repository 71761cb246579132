# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine of this scenario over its two nodes: how it stands, what it answers, and playbooks."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from lab import runs
from lab.paths import CHECKOUT
from lab.testing import Console

UNIT = "hardened-vllm-engine.service"
NODES = ("engine1", "engine2")
PLAY_SECONDS = 2400
# From the death of a rank to a token: both parts end, load anew and meet. Idle, this machine takes some 100 s for it.
BACK_SECONDS = 900
# More than a token: the first request of vLLM 0.32.0 on a processor with AMX ends its worker by SIGILL when it has one only.
ASK = """curl -s -o /dev/null -w '%{http_code}' --max-time 60 --cacert CA -H @- -H 'Content-Type: application/json' \\
    --resolve gateway.example.org:443:10.237.3.20 -d '{"model": "tiny", "prompt": "Hello, who is there?", "max_tokens": 1}' \\
    https://gateway.example.org/v1/completions || true"""


@dataclass(frozen=True)
class Part:
    """A node's part of the engine: the run of its unit, the state of the unit, and the sequences its unit names."""

    run: str
    state: str
    sequences: str


@pytest.fixture(scope="session")
def secrets(lab_inventory: Path) -> Path:
    return lab_inventory.parents[1] / "secrets"


@pytest.fixture
def parts(console: Callable[[str], Console]) -> Callable[[], list[Part]]:
    """A function that returns both parts of the engine."""

    def look(name: str) -> Part:
        script = f"systemctl show -P InvocationID {UNIT}; systemctl show -P ActiveState {UNIT}"
        script += f"; grep -o 'max-num-seqs [0-9]*' /etc/systemd/system/{UNIT}"
        run, state, sequences = console(name).shell(script).splitlines()
        return Part(run, state, sequences.split()[1])

    return lambda: [look(name) for name in NODES]


@pytest.fixture
def answers(console: Callable[[str], Console], secrets: Path) -> Callable[[], str]:
    """A function that asks for a token through the gateway, from the gateway; returns the status, 000 without an answer."""
    key = (secrets / "tenants/acme/k1.key").read_text().strip()
    authority = (secrets.parent / "tls/ca.pem").read_text()
    gateway = console("gateway")
    gateway.run("sh", "-c", "cat > /root/ca.pem", given=authority)
    argv = ["sh", "-c", ASK.replace("CA", "/root/ca.pem")]
    return lambda: gateway.start(*argv, given=f"Authorization: Bearer {key}\n").stdout


@pytest.fixture
def play() -> Callable[..., tuple[int, str]]:
    """A function that runs one of the collection's playbooks; returns its exit code and output, each gap in it as one space."""

    def run(name: str, *options: str, **variables: object) -> tuple[int, str]:
        file = CHECKOUT / "playbooks" / f"{name}.yml"
        done = runs.play("spanning", file, *options, timeout=PLAY_SECONDS, **variables)
        return done.code, re.sub(r"\s+", " ", done.text)

    return run


@pytest.fixture
def begins_anew(
    parts: Callable[[], list[Part]], answers: Callable[[], str]
) -> Callable[[list[Part], float], tuple[float, float]]:
    """A function that waits until both nodes have other runs than before, and a token comes; returns how long either took."""

    def wait(before: list[Part], seconds: float) -> tuple[float, float]:
        begun, anew = time.monotonic(), 0.0
        while time.monotonic() - begun < seconds:
            now = parts()
            if all(one.run not in ("", other.run) for one, other in zip(now, before, strict=True)):
                anew = anew or time.monotonic() - begun
                if answers() == "200":
                    return anew, time.monotonic() - begun
            time.sleep(2)
        pytest.fail(f"both parts anew after {anew or None} s, no token within {seconds:g} s: {before} {parts()}")

    return wait
