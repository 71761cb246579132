# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The service of this scenario, as its clients and its operator see it."""

from __future__ import annotations

import json
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2 as httpx
import openai
import pytest
from lab.testing import Console

SCENARIO = Path(__file__).parents[1]
ROOT = SCENARIO.parents[1]
LAB = ROOT / ".lab" / "default"
UNIT = "hardened-vllm-engine"
MODEL = "tiny"


@dataclass
class Run:
    """An ended ansible-playbook."""

    code: int
    text: str

    def changed(self) -> dict[str, int]:
        return {host: int(count) for host, count in re.findall(r"(?m)^(\w+) +: .*changed=(\d+)", self.text)}


def play(playbook: str, *options: str, **variables: Any) -> Run:
    """Run a playbook of the collection against the scenario's lab, as its operator would."""
    command = [
        str(Path(sys.executable).parent / "ansible-playbook"),
        f"--inventory={LAB / 'inventory'}",
        f"--extra-vars={json.dumps(variables)}",
        *options,
        str(ROOT / "playbooks" / f"{playbook}.yml"),
    ]
    # Molecule asks for colours, which would be in the way of reading the output.
    plain = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"}
    environment = {**os.environ, **plain}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False)
    return Run(done.returncode, done.stdout + done.stderr)


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
        done = self.client().completions.create(model=MODEL, prompt="a", max_tokens=1)
        return done.usage is not None and done.usage.completion_tokens == 1


@pytest.fixture(scope="session")
def service() -> Service:
    key = (LAB / "secrets/tenants/acme/k1.key").read_text().strip()
    return Service("10.220.3.20", key, LAB / "tls/ca.pem")


@pytest.fixture(scope="session")
def secrets() -> dict[str, str]:
    """Every secret of this scenario, by the name of its file."""
    files = [*(LAB / "secrets").rglob("*.key")]
    return {str(path.relative_to(LAB)): path.read_text().strip() for path in files}


@pytest.fixture
def head(console: Callable[[str], Console]) -> Console:
    """The engine that serves the API."""
    return console("engine1")


@pytest.fixture
def journal(head: Console) -> Iterator[Callable[[], str]]:
    """What the engine has logged since the test began."""
    cursor = head.run("journalctl", f"--unit={UNIT}", "--lines=0", "--show-cursor").split("cursor: ")[1].strip()
    yield lambda: head.run("journalctl", f"--unit={UNIT}", "--output=cat", f"--after-cursor={cursor}")
