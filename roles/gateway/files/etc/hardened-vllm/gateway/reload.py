"""Reload nginx and see that it took the new configuration.

nginx keeps its old workers, and tells only its log, when a new configuration cannot be used (an address that is
taken, a file that cannot be opened). So: signal the master, then wait until it has a worker it did not have before.
Usage: reload.py PID-OF-THE-MASTER
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

SECONDS = 10


def workers(master: int) -> set[str]:
    """Return the process ids of the master's children."""
    return set(Path(f"/proc/{master}/task/{master}/children").read_text(encoding="ascii").split())


def main() -> int:
    """Return 0 when nginx took the new configuration, 1 when it did not."""
    master = int(sys.argv[1])
    before = workers(master)
    os.kill(master, signal.SIGHUP)
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if workers(master) - before:
            return 0
        time.sleep(0.05)
    print(
        f"nginx did not take the new configuration within {SECONDS} seconds and serves the old one; "
        "its reason stands above",
        file=sys.stderr,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
