"""The machine the lab runs on: how podman is called here, and what its limits are."""

from __future__ import annotations

import json
import os
import resource
from pathlib import Path
from typing import Any

from lab import namespace
from lab.commands import run, succeeds
from lab.errors import LabError

LABEL = "hardened-vllm.lab"
LABEL_DIGEST = "hardened-vllm.lab.digest"
LABEL_CHECKOUT = "hardened-vllm.lab.checkout"

PODMAN_REMEDY = "read podman's message above; 'make demo-down' or 'lab down NAME' removes what is half made"
# What podman itself would set; a process may only lower its limits, so a host that gives less decides.
WANTED_FILES = 1048576
WANTED_PROCESSES = 1048576


def ulimit_flags(files: int, processes: int, pid_max: int) -> list[str]:
    """Return podman's --ulimit flags for a host with these hard limits (-1 means unlimited)."""
    allowed_files = WANTED_FILES if files < 0 else min(files, WANTED_FILES)
    allowed_processes = min(pid_max, WANTED_PROCESSES) if processes < 0 else min(processes, pid_max, WANTED_PROCESSES)
    return [
        f"--ulimit=nofile={allowed_files}:{allowed_files}",
        f"--ulimit=nproc={allowed_processes}:{allowed_processes}",
    ]


class Host:
    """Calls podman, inside the lab's mount namespace where this machine needs it."""

    def __init__(self) -> None:
        if os.geteuid() != 0:
            raise LabError("the lab makes containers that boot systemd, which only root can", "run this as root")
        self._prefix: list[str] | None = None

    @property
    def prefix(self) -> list[str]:
        """The words before every podman command."""
        if self._prefix is None:
            self._prefix = namespace.enter()
        return self._prefix

    def podman(
        self, *arguments: str, stdin: bytes | None = None, timeout: float = 300, remedy: str = PODMAN_REMEDY
    ) -> str:
        """Run podman and return its standard output; LabError when it fails."""
        return run([*self.prefix, "podman", *arguments], stdin=stdin, timeout=timeout, remedy=remedy)

    def podman_json(self, *arguments: str) -> Any:
        """Run podman and return its output parsed as JSON."""
        return json.loads(self.podman(*arguments) or "[]")

    def podman_succeeds(self, *arguments: str) -> bool:
        """Tell whether a podman command exits with 0."""
        return succeeds([*self.prefix, "podman", *arguments])

    def ulimits(self) -> list[str]:
        """Return the --ulimit flags that this machine allows."""
        pid_max = int(Path("/proc/sys/kernel/pid_max").read_text())
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        processes = resource.getrlimit(resource.RLIMIT_NPROC)[1]
        return ulimit_flags(files, processes, pid_max)
