"""What scenarios with stand-in engines share: how engines stand, and load with its ledger."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from lab.testing import Console

NAME = "gateway.example.org"
STOP, KEY = "/root/stop", "/root/tenant.key"
UNIT = "hardened-vllm-engine.service"

Load = Callable[[], AbstractContextManager[dict[str, Any]]]


@dataclass(frozen=True)
class Standing:
    """How an engine stands: digests of its files, the id of its process's run, and the release its unit names."""

    files: str
    run: str
    release: str


def stand(engine: Console) -> Standing:
    """Return how an engine stands, which has to run."""
    unit = f"/etc/systemd/system/{UNIT}"
    script = f"sha256sum {unit} /etc/hardened-vllm/engine/* | sha256sum; systemctl show -P InvocationID {UNIT}"
    script += f"; systemctl is-active {UNIT} >&2; grep -o 'engine/[0-9.]*/bin' {unit} | head -n 1"
    files, run, release = engine.shell(script).splitlines()
    return Standing(files, run, release.split("/")[1])


@contextmanager
def load(observer: Console, edge: str, key: str, program: str = "/opt/ledger.py") -> Iterator[dict[str, Any]]:
    """Keep requests and streams coming for as long as the block runs; the dict it gives holds the ledger afterwards."""
    observer.run("sh", "-c", f"rm -f {STOP}; umask 077; cat > {KEY}", given=key)
    found: dict[str, Any] = {}
    with ThreadPoolExecutor(1) as pool:
        booked = pool.submit(observer.run, "python3", program, edge, NAME, KEY, STOP)
        try:
            time.sleep(3)
            yield found
            time.sleep(3)
        finally:
            observer.run("touch", STOP)
        found.update(json.loads(booked.result()))
        print("ledger:", {**found, "failed": found["failed"][:3]})


def nothing_lost(ledger: dict[str, Any]) -> None:
    """Assert that there was load and that every request and stream of it was answered whole."""
    assert ledger["failed"] == []
    assert ledger["requests"] > 100 and ledger["streams"] > 30, "there was load"
    assert sum(ledger["releases"].values()) == ledger["requests"] + ledger["streams"]
