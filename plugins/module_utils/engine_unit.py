# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What systemd says about the engine's unit, and the few things asked of it."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass

from ansible_collections.hardened.vllm.plugins.module_utils import commands, placement

JOURNAL_LINES = 20
# For a stop; systemd ends it before, after the unit's TimeoutStopSec.
STOP_SECONDS = 3600
_CAUSE = re.compile(r"(?!.*\b(?:WARNING|INFO|DEBUG)\b).*\b(?:[A-Za-z]+(?:Error|Exception)|error): \S")
_PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "ExecMainStatus",
    "NRestarts",
    "UnitFileState",
    "Job",
)


@dataclass(frozen=True)
class Unit:
    """The state of a unit. ``queued``: systemd has not begun to carry out what it was asked last."""

    name: str
    load: str
    active: str
    sub: str
    result: str
    status: int
    restarts: int
    enabled: bool
    queued: bool

    @property
    def running(self):
        return self.active == "active" and self.sub == "running"

    def ended(self):
        """Why the unit does not run any more (str), or None while it runs or is about to."""
        if self.load != "loaded":
            return "the unit cannot be loaded (%s)" % self.load
        if self.active in ("failed", "inactive") and not self.queued:
            return "the unit does not run (%s, result %s, exit status %d)" % (self.active, self.result, self.status)
        if self.sub.startswith("auto-restart"):
            return "the process ended (result %s, exit status %d)" % (self.result, self.status)
        return None


def show(name):
    """Return the Unit called ``name``. Raises CommandError when systemd cannot be asked."""
    output = commands.run(["systemctl", "show", "--property", ",".join(_PROPERTIES), name], 30)
    said = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    return Unit(
        name=name,
        load=said.get("LoadState", "unknown"),
        active=said.get("ActiveState", "unknown"),
        sub=said.get("SubState", "unknown"),
        result=said.get("Result", "unknown"),
        status=int(said.get("ExecMainStatus") or 0),
        restarts=int(said.get("NRestarts") or 0),
        enabled=said.get("UnitFileState") == "enabled",
        queued=said.get("Job", "0") not in ("", "0"),
    )


def age(name):
    """Seconds (float) since systemd started the unit's process, 0.0 when it does not run or cannot be asked."""
    try:
        output = commands.run(
            ["systemctl", "show", "--property", "ActiveState,ExecMainStartTimestampMonotonic", name], 30
        )
    except commands.CommandError:
        return 0.0
    said = dict(line.split("=", 1) for line in output.splitlines() if "=" in line)
    begun = int(said.get("ExecMainStartTimestampMonotonic") or 0) / 1e6
    if said.get("ActiveState") != "active" or not begun:
        return 0.0
    return round(time.monotonic() - begun, 1)


def started_without(name, manifests):
    """Return the directories of ``manifests`` (paths) that were put in place after the unit's process was started, list of str."""
    running = age(name) if manifests else 0.0
    begun = time.time() - running
    return [os.path.dirname(path) for path in manifests if running and placement.placed(path) > begun]


def start(name):
    """Ask systemd to start the unit, which must not run, and return at once.

    Earlier failures count neither against its start limit nor as restarts of what begins now. Raises CommandError.
    """
    before = show(name)
    if before.active not in ("inactive", "failed"):
        raise commands.CommandError("%s still runs and was to be stopped; look why it does not stop" % name)
    # Also for a unit that never failed: planned starts would use up its start limit.
    commands.run(["systemctl", "reset-failed", name], 30)
    commands.run(["systemctl", "start", "--no-block", name], 30)


def journal(name):
    """Return (last lines, lines that look like the cause), lists of str, of the unit's last quarter of an hour.

    A traceback of vLLM ends far below the line that names the cause, so both are worth showing.
    """
    argv = ["journalctl", "--unit", name, "--since", "-15min", "--output", "cat", "--no-pager", "--lines", "2000"]
    # With --since, the first lines are the ones counted (systemd 252): an engine that logs its requests would hide its end.
    argv.append("--reverse")
    try:
        lines = [line.rstrip() for line in reversed(commands.run(argv, 60).splitlines()) if line.strip()]
    except commands.CommandError as error:
        return ["the journal cannot be read: %s" % error], []
    tail = lines[-JOURNAL_LINES:]
    causes = list(dict.fromkeys(line for line in lines[:-JOURNAL_LINES] if _CAUSE.match(line)))
    return tail, causes[:5]
