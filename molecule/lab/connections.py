"""SSH connections that Ansible keeps open to the nodes.

A kept connection to a node that was rebooted or made anew hangs until it times out, so the lab gives each of its labs
a directory of its own for the sockets and closes them when a node goes away.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from lab.paths import RUNTIME, private_directory


def _directory(lab: str) -> Path:
    # Below /run, because a socket's path may have no more than 108 characters and a checkout may lie deep.
    return RUNTIME / lab


def control_path(lab: str) -> Path:
    """Return ssh's ControlPath for a lab's nodes; ``%h`` stands for the node's address."""
    return _directory(lab) / "%h"


def prepare(lab: str) -> None:
    """Make the directory for a lab's sockets."""
    private_directory(RUNTIME)
    private_directory(_directory(lab))


def close(lab: str, address: str | None = None) -> None:
    """Close the kept connections to one address, or to all nodes of a lab."""
    if not _directory(lab).is_dir():
        return
    for socket in _directory(lab).iterdir():
        if address is None or socket.name == address:
            # A master that is gone already is what is wanted, so the exit code says nothing.
            subprocess.run(
                ["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "lab"],
                capture_output=True,
                check=False,
                timeout=10,
            )
            socket.unlink(missing_ok=True)


def forget(lab: str) -> None:
    """Close all kept connections of a lab and remove the directory of their sockets."""
    close(lab)
    shutil.rmtree(_directory(lab), ignore_errors=True)
