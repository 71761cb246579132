# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of this scenario share: the engine's node and API, and runs of the scenario's playbooks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

SCENARIO = Path(__file__).parents[1]
ROOT = SCENARIO.parents[1]
UNIT = "hardened-vllm-engine.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
SECRETS_FILE = "/etc/hardened-vllm/engine/secrets.yaml"
KEPT = "/var/lib/hardened-vllm/engine-before.json"
READY_SECONDS = 300
PLAY_SECONDS = 600


@dataclass(frozen=True)
class Engine:
    """The node with the engine, seen from its console, and the API, seen from the client's."""

    shell: Callable[[str], str]
    client: Callable[..., str]
    key_file: Path
    port: int = 8000

    @property
    def key(self) -> str:
        return self.key_file.read_text().strip()

    def request(
        self, path: str, key: str | None = None, body: object = None, *, broken: bool = False
    ) -> tuple[int, str]:
        """Send a request from the client's node; return status and body. The key goes by standard input.

        An answer that is ``broken`` off is returned as far as it came.
        """
        argv = ["curl", "-sS", "--max-time", "60", "-w", "\n%{http_code}", "-H", "@-"]
        argv += [f"http://10.208.1.11:{self.port}{path}"]
        argv += ["-d", json.dumps(body), "-H", "Content-Type: application/json"] if body is not None else []
        if broken:
            argv = ["sh", "-c", '"$@" || true', "sh", *argv]
        answer = self.client(*argv, given=f"Authorization: Bearer {key}\n" if key else "")
        text, _, status = answer.rpartition("\n")
        return int(status), text

    def tokens(self, key: str | None = None) -> int:
        """Return the number of tokens of a completion that asks for three."""
        body = {"model": "tiny", "prompt": "Hello, who is there?", "max_tokens": 3, "ignore_eos": True}
        status, text = self.request("/v1/completions", key or self.key, body)
        return json.loads(text)["usage"]["completion_tokens"] if status == 200 else 0

    def running(self) -> int:
        """Return the number of requests under way."""
        found = re.findall(r"^vllm:num_requests_running\S* (\d+)", self.request("/metrics")[1], re.MULTILINE)
        return sum(map(int, found))

    def show(self, name: str) -> str:
        return self.shell(f"systemctl show -P {name} {UNIT}").strip()

    def wait(self) -> None:
        """Wait until the engine completes again by itself."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self.shell(f"systemctl is-active {UNIT} || true").strip() == "active":
                try:
                    if self.tokens() == 3:
                        return
                except pytest.fail.Exception:  # curl: not listening yet
                    pass
            time.sleep(1)
        pytest.fail(f"the engine gave no completion within {READY_SECONDS} s")


def playbook(name: str, *extra: str, **variables: object) -> subprocess.Popen[str]:
    """Start one of the scenario's playbooks."""
    argv = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(ROOT / ".lab" / "engine" / "inventory")]
    argv += [str(SCENARIO / name), *extra]
    if variables:
        argv += ["--extra-vars", json.dumps(variables)]
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    return subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, cwd=ROOT
    )


def play(name: str, *extra: str, **variables: object) -> tuple[int, str]:
    """Run one of the scenario's playbooks; return its exit code and output."""
    process = playbook(name, *extra, **variables)
    try:
        output = process.communicate(timeout=PLAY_SECONDS)[0]
    except subprocess.TimeoutExpired:
        process.terminate()
        pytest.fail(f"{name} was still running after {PLAY_SECONDS} s:\n{process.communicate()[0]}")
    return process.returncode, output


def converge(*extra: str, **variables: object) -> str:
    """Run the role, which must succeed; return the output."""
    code, output = play("converge.yml", *extra, **variables)
    assert code == 0, output
    return output


def fails(*extra: str, **variables: object) -> str:
    """Run the role, which must fail; return the output."""
    code, output = play("converge.yml", *extra, **variables)
    assert code != 0, output
    return output
