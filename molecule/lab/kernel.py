"""Machine-wide kernel values that starting a node changes, put back afterwards.

netavark turns forwarding on, and systemd in a privileged node raises the file limits. The lab's networks need neither;
forwarding would even join networks that must be apart.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.paths import RUNTIME, private_directory, write_file

SYSCTL = Path("/proc/sys")
NAMES = (
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/default/forwarding",
    "fs/nr_open",
    "fs/file-max",
)
# Every systemd takes some of the machine's inotify instances, all nodes' root being this machine's: the usual 128 are enough for some 27
# nodes, and the next one does not start. Raised as long as there are labs.
LIMIT = "fs/inotify/max_user_instances"
LEAST = 4096


@contextmanager
def values_kept() -> Iterator[None]:
    """Put the values back when the body ends, however it ends; one run on the machine at a time.

    The values lie in a file meanwhile: a run that was killed before it could put them back leaves it, and the next one
    goes by it.
    """
    private_directory(RUNTIME)
    memory = RUNTIME / "kernel.json"
    with (RUNTIME / "kernel.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not memory.exists():
            write_file(memory, json.dumps(_read()), 0o600)
        try:
            yield
        finally:
            _put_back(json.loads(memory.read_text()))
            memory.unlink()


def put_back() -> None:
    """Put back what a killed run left changed; nothing to do otherwise."""
    if (RUNTIME / "kernel.json").exists():
        with values_kept():
            pass


def raise_limit() -> None:
    """Let many nodes run; nothing to do where the limit is high enough."""
    with _limit_locked() as memory:
        now = int((SYSCTL / LIMIT).read_text())
        if now < LEAST:
            write_file(memory, f"{now}\n", 0o600)
            (SYSCTL / LIMIT).write_text(str(LEAST))


def lower_limit() -> None:
    """Put the limit back, when no lab is left on the machine."""
    with _limit_locked() as memory:
        if memory.exists():
            (SYSCTL / LIMIT).write_text(memory.read_text())
            memory.unlink()


@contextmanager
def _limit_locked() -> Iterator[Path]:
    private_directory(RUNTIME)
    with (RUNTIME / "limit.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield RUNTIME / "limit"


def _read() -> dict[str, str]:
    return {name: (SYSCTL / name).read_text().strip() for name in NAMES if (SYSCTL / name).exists()}


def _put_back(values: dict[str, str]) -> None:
    now = _read()
    for name, value in values.items():
        if now.get(name) != value:
            (SYSCTL / name).write_text(value)
