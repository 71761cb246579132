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
PLACES = "/etc /var/lib/hardened-vllm /var/log /run /proc/*/environ /proc/*/cmdline"
ENGINES = {"engine1": "10.223.1.11", "engine2": "10.223.1.12"}

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


def status(console: Console, address: str, key: str) -> str:
    """Return what an engine answers to whoever shows ``key``, 000 while it does not listen."""
    argv = [
        "curl",
        "-s",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "-H",
        "@-",
        "-d",
        '{"model": "stand-in", "prompt": "x"}',
    ]
    url = f"http://{address}:8000/v1/completions"
    return console.start(*argv, url, given=f"Authorization: Bearer {key}\n").stdout


def found(console: Console, key: str) -> list[str]:
    """Return the files of a node that hold ``key``, and ``journal`` where it is in the journal."""
    # By a file: grep's own arguments are in /proc too.
    script = f"umask 077; cat > /root/searched; grep -rlsaF -f /root/searched {PLACES} || true"
    script += "; journalctl -q --no-pager | grep -qaF -f /root/searched && echo journal; rm /root/searched"
    return console.run("sh", "-c", script, given=key + "\n").split()
