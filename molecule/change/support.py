"""What the tests of this scenario share: changes under load, and the figures they leave."""

from __future__ import annotations

import re
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

HEADER = (
    "| what | whole run, s | engines changed | requests and streams meanwhile | failed | remote executions a host |\n"
    "|---|---|---|---|---|---|\n"
)
INTRODUCTION = """
## A change of what serves

Written by the scenario change (`COSTS=docs/costs.md make molecule-change`): two replicas with a real vLLM {release} on the processor and a real small
model (SmolLM2-135M), on one machine that is all nodes and their clients (load {load:.0f} on {processors} processors). An engine's own start is most of the
time. Releases are small wheels here, which are installed before the first engine is touched. Goal: nothing fails.

"""


@dataclass
class Figure:
    """What one run of a playbook cost."""

    what: str
    seconds: float
    engines: int
    executions: dict[str, int] = field(default_factory=dict)
    ledger: dict[str, Any] = field(default_factory=dict)

    def row(self) -> str:
        """Return it as a row of the table."""
        load = f"{self.ledger['requests']} and {self.ledger['streams']}" if self.ledger else ""
        failed = str(len(self.ledger["failed"])) if self.ledger else ""
        counts = ", ".join(f"{name} {count}" for name, count in sorted(self.executions.items()))
        return f"| {self.what} | {self.seconds:.0f} | {self.engines} | {load} | {failed} | {counts} |\n"


def executions(text: str, names: dict[str, str]) -> dict[str, int]:
    """Return the remote executions of each host in what a run with -vvv said; ``names`` are the hosts by address."""
    found = Counter(re.findall(r"^<([^>]+)> SSH: EXEC ", text, re.MULTILINE))
    return {name: found[address] for address, name in names.items()}


def seconds_of(delta: str) -> float:
    """Return the seconds of a duration as Ansible writes it, ``0:01:02.5``."""
    hours, minutes, seconds = delta.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


class Clock:
    """Seconds of a block."""

    def __enter__(self) -> Clock:
        self.begun = time.monotonic()
        return self

    def __exit__(self, *_error: object) -> None:
        self.seconds = time.monotonic() - self.begun


def nothing_lost(ledger: dict[str, Any]) -> None:
    """Assert that there was load, of both kinds, and that every part of it was answered whole."""
    assert ledger["failed"] == []
    assert ledger["requests"] > 10 and ledger["streams"] > 10, "there was load"
    assert sum(ledger["releases"].values()) == ledger["requests"] + ledger["streams"]
