# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures of this scenario: the load, and how the two engines stand."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from lab.testing import Console

EDGE, NAME = "10.223.3.20", "gateway.example.org"
STOP, KEY = "/root/stop", "/root/tenant.key"
UNIT = "hardened-vllm-engine.service"


@dataclass(frozen=True)
class Standing:
    """How an engine stands: digests of its files, the id of its process's run, and the release its unit names."""

    files: str
    run: str
    release: str


@pytest.fixture
def standing(console: Callable[[str], Console]) -> Callable[[], list[Standing]]:
    """A function that returns how both engines stand."""

    def look(name: str) -> Standing:
        unit = f"/etc/systemd/system/{UNIT}"
        script = f"sha256sum {unit} /etc/hardened-vllm/engine/* | sha256sum; systemctl show -P InvocationID {UNIT}"
        script += f"; systemctl is-active {UNIT} >&2; grep -o 'engine/[0-9.]*/bin' {unit} | head -n 1"
        files, run, release = console(name).shell(script).splitlines()
        return Standing(files, run, release.split("/")[1])

    return lambda: [look("engine1"), look("engine2")]


Load = Callable[[], AbstractContextManager[dict[str, Any]]]


@pytest.fixture
def load(console: Callable[[str], Console], secrets: Path) -> Load:
    """Requests and streams for as long as a block runs; the dict it gives holds the ledger afterwards."""
    observer = console("observer")

    @contextmanager
    def run():
        key = (secrets / "tenants/acme/k1.key").read_text()
        observer.run("sh", "-c", f"rm -f {STOP}; umask 077; cat > {KEY}", given=key)
        found: dict[str, Any] = {}
        with ThreadPoolExecutor(1) as pool:
            booked = pool.submit(observer.run, "python3", "/opt/ledger.py", EDGE, NAME, KEY, STOP)
            try:
                time.sleep(3)
                yield found
                time.sleep(3)
            finally:
                observer.run("touch", STOP)
            found.update(json.loads(booked.result()))
            print("ledger:", {**found, "failed": found["failed"][:3]})

    return run


@pytest.fixture(scope="session")
def secrets(lab_inventory: Path) -> Path:
    """The directory of keys and of what is drained, on the controller."""
    return lab_inventory.parents[1] / "secrets"
