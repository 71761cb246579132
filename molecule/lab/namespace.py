"""One private mount namespace for all podman calls on a machine with the hybrid cgroup hierarchy.

crun refuses that hierarchy. In the namespace /sys/fs/cgroup is a plain cgroup2 mount. It must be one and the same for
every call and every lab of the machine, because podman keeps network namespaces as mounts, which another mount
namespace does not see. A ``sleep`` process holds it; its number lies in /run/hardened-vllm-lab/namespace.pid.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import IO

from lab.errors import LabError
from lab.paths import RUNTIME, private_directory, write_file

CGROUP = "/sys/fs/cgroup"
MARK = "HARDENED_VLLM_LAB_NAMESPACE"
CONTAINER_PREFIX = "hvl-"
# While this file exists, podman takes what it knows of running containers as true (its "refresh" at boot).
PODMAN_ALIVE = Path("/run/libpod/alive")
# podman's list of address leases.
LEASES = Path("/run/containers/networks/ipam.db")
# Beside the directory of the namespace, because that one is removed.
USE = RUNTIME.with_name(f"{RUNTIME.name}.lock")
_SCRIPT = f"umount -R {CGROUP} && mount -t cgroup2 cgroup2 {CGROUP} && exec sleep infinity"


def mount_type(mounts: str, path: str = CGROUP) -> str | None:
    """Return the file system type mounted last on ``path`` in the text of a ``/proc/*/mounts``; None if none is."""
    found = None
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) >= 3 and fields[1] == path:
            found = fields[2]
    return found


def is_pure_cgroup2(process: str = "self") -> bool:
    """Tell whether a process sees a plain cgroup2 hierarchy, the one podman and crun want."""
    try:
        return mount_type(Path(f"/proc/{process}/mounts").read_text()) == "cgroup2"
    except OSError:
        return False


class _Use:
    """A lock every command that works in the namespace holds until it ends, so that none ends it under another."""

    def __init__(self) -> None:
        self._file: IO[str] | None = None

    def hold(self) -> None:
        if self._file is None:
            self._file = USE.open("w")
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def alone(self) -> bool:
        """Whether no other command is at work; from then on others wait at ``hold`` until this one ends."""
        self._file = self._file or USE.open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


_use = _Use()


@contextmanager
def _locked() -> Iterator[None]:
    private_directory(RUNTIME)
    with (RUNTIME / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _holder() -> int | None:
    """Return the process number of the living holder, or None; a number that is not ours any more is ignored."""
    try:
        number = int((RUNTIME / "namespace.pid").read_text())
        environment = Path(f"/proc/{number}/environ").read_bytes()
    except (OSError, ValueError):
        return None
    return number if MARK.encode() in environment and is_pure_cgroup2(str(number)) else None


def _monitors() -> Iterator[tuple[int, bool]]:
    """Yield each conmon process, one per running container of this machine, and whether a lab's node is its container."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            arguments = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if Path(arguments[0]).name == "conmon":
            named = any(option == "-n" and name.startswith(CONTAINER_PREFIX) for option, name in pairwise(arguments))
            yield int(entry.name), named


def forget_lost_containers() -> None:
    """Make podman read anew what runs, where no container does.

    A machine that was stopped hard and keeps /run on its disk has containers "running" whose network namespaces were
    mounts of a mount namespace that is gone; podman then fails at every command, even at a listing, and their addresses
    stay taken.
    """
    if not any(_monitors()):
        PODMAN_ALIVE.unlink(missing_ok=True)
        LEASES.unlink(missing_ok=True)


def _start() -> int:
    monitor = next((number for number, ours in _monitors() if ours and is_pure_cgroup2(str(number))), None)
    if monitor is None:
        forget_lost_containers()
        argv = ["unshare", "-m", "--propagation", "private", "sh", "-c", _SCRIPT]
    else:
        argv = ["nsenter", "-t", str(monitor), "-m", "--", "sleep", "infinity"]
    process = subprocess.Popen(
        argv,
        env={**os.environ, MARK: "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        cwd="/",
    )
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and process.poll() is None:
        comm = Path(f"/proc/{process.pid}/comm")
        if comm.read_text().strip() == "sleep" and is_pure_cgroup2(str(process.pid)):
            return process.pid
        time.sleep(0.05)
    process.kill()
    _, errors = process.communicate()
    raise LabError(
        "this machine has hybrid cgroups and the lab could not make a namespace with a plain cgroup2 mount",
        "run as root with CAP_SYS_ADMIN, or boot with the unified hierarchy (systemd.unified_cgroup_hierarchy=1)",
        errors.decode(errors="replace"),
    )


def enter() -> list[str]:
    """Return the words to put before a podman command: none on plain cgroup2, else an ``nsenter`` into the namespace.

    Makes the namespace if it is not there. A run that is already inside needs nothing and does not nest.
    """
    if is_pure_cgroup2():
        return []
    _use.hold()
    with _locked():
        holder = _holder()
        if holder is None:
            holder = _start()
            write_file(RUNTIME / "namespace.pid", f"{holder}\n", 0o600)
    return ["nsenter", "-t", str(holder), "-m", "--"]


def leave() -> bool:
    """End the namespace's holder and remove its files; return whether there was one. Only for when no node is left.

    Does nothing while another lab command is at work, which may be about to make nodes.
    """
    if not RUNTIME.exists() or not _use.alone():
        return False
    with _locked():
        holder = _holder()
        if holder is not None:
            os.kill(holder, signal.SIGKILL)
    shutil.rmtree(RUNTIME)
    return holder is not None
