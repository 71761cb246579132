# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The distribution's nginx on this machine with the role's own configuration, and a stand-in for vLLM that keeps what it is sent."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
# First in line: the scenario gateway is a package of the same name as the support module the proxies import.
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "molecule/gateway/files")]

import proxies  # noqa: E402

Program = tuple[str, str]
Start = Callable[..., "Door"]


@pytest.fixture(scope="session")
def nginx() -> Program:
    """nginx and the directory of its modules, fetched from the distribution where it is not installed."""
    cache = ROOT / ".cache" / "nginx"
    reason = "" if proxies.nginx(cache) else proxies.unpack(cache)
    found = proxies.nginx(cache)
    assert found is not None, f"no nginx with njs is installed, and none could be fetched ({reason})"
    return found


@dataclass(frozen=True)
class Recorder:
    """A running stand-in for vLLM."""

    port: int
    record: Path

    def seen(self) -> list[dict[str, Any]]:
        """Return what has reached it."""
        text = self.record.read_text(encoding="utf-8") if self.record.exists() else ""
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    port, record = proxies.free_port(), tmp_path / "record.jsonl"
    program = ROOT / "molecule/gateway/files/recorder.py"
    process = subprocess.Popen([sys.executable, str(program), "127.0.0.1", str(port), str(record)])
    try:
        assert proxies.listening(port, lambda: process.poll() is None)
        yield Recorder(port, record)
    finally:
        process.terminate()
        process.wait(timeout=10)


@dataclass(frozen=True)
class Door:
    """A running gateway: its processes and its directory."""

    proxy: proxies.Proxy
    directory: Path

    def log(self, at_least: int = 0) -> list[dict[str, Any]]:
        """Return the lines of the access log. A line may come after its answer: ``at_least`` so many are waited for."""
        deadline = time.monotonic() + 10
        while True:
            lines = (self.directory / "access.log").read_text(encoding="utf-8").splitlines()
            if len(lines) >= at_least or time.monotonic() > deadline:
                return [json.loads(line) for line in lines]
            time.sleep(0.05)


@pytest.fixture
def start(nginx: Program, recorder: Recorder, tmp_path: Path) -> Iterator[Start]:
    """Return a function that starts a gateway before the stand-in.

    ``variables`` are the role's; other arguments are those of proxies.gateway_part.
    """
    with ExitStack() as stack:

        def run(variables: dict[str, Any] | None = None, **options: Any) -> Door:
            directory = tmp_path / "gateway"
            part = proxies.gateway_part(proxies.free_port(), recorder.port, **options)
            return Door(stack.enter_context(proxies.gateway(nginx, directory, part, **(variables or {}))), directory)

        yield run
