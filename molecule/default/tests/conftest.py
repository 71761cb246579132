# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service of this scenario, as its clients and its operator see it."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
import pytest
from lab import hunt, runs
from lab.runs import Run
from lab.testing import Console

SCENARIO = Path(__file__).parents[1]
ROOT = SCENARIO.parents[1]
LAB = ROOT / ".lab" / "default"
UNIT = "hardened-vllm-engine"
MODEL = "tiny"
# More than a token: the first request of vLLM 0.32.0 on a processor with AMX ends its worker by SIGILL when it has one only.
PROMPT = "Hello, who is there?"


def play(playbook: str, *options: str, **variables: Any) -> Run:
    """Run a playbook of the collection against the scenario's lab, as its operator would."""
    return runs.play("default", ROOT / "playbooks" / f"{playbook}.yml", *options, **variables)


@dataclass
class Service:
    """The gateway from outside: where it is, its authority and the tenant's key."""

    address: str
    key: str
    authority: Path

    def client(self, key: str | None = None) -> openai.OpenAI:
        return openai.OpenAI(
            base_url=f"https://{self.address}/v1",
            api_key=self.key if key is None else key,
            http_client=httpx.Client(verify=ssl.create_default_context(cafile=str(self.authority)), trust_env=False),
            max_retries=0,
            timeout=60,
        )

    def http(self) -> httpx.Client:
        context = ssl.create_default_context(cafile=str(self.authority))
        return httpx.Client(base_url=f"https://{self.address}", verify=context, trust_env=False, timeout=60)

    def generates(self) -> bool:
        done = self.client().completions.create(model=MODEL, prompt=PROMPT, max_tokens=1)
        return done.usage is not None and done.usage.completion_tokens == 1


@pytest.fixture(scope="session")
def service() -> Service:
    key = (LAB / "secrets/tenants/acme/k1.key").read_text().strip()
    return Service("10.220.3.20", key, LAB / "tls/ca.pem")


@pytest.fixture
def secrets() -> dict[str, list[str]]:
    """What to look for of every secret of this scenario as it is now, by the name of its file."""
    files = [path for path in (LAB / "secrets").rglob("*") if path.is_file()]
    return hunt.needles([*files, *(LAB / "tls").glob("*.key")], LAB)


@pytest.fixture
def head(console: Callable[[str], Console]) -> Console:
    """The engine that serves the API."""
    return console("engine1")


@pytest.fixture
def journal(head: Console) -> Iterator[Callable[[], str]]:
    """What the engine has logged since the test began."""
    cursor = head.run("journalctl", f"--unit={UNIT}", "--lines=0", "--show-cursor").split("cursor: ")[1].strip()
    yield lambda: head.run("journalctl", f"--unit={UNIT}", "--output=cat", f"--after-cursor={cursor}")
