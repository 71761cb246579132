"""Run ansible-playbook with its output in a log file and its progress in a few lines."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.commands import last_lines
from lab.errors import LabError
from lab.paths import CHECKOUT
from lab.progress import Progress

_TASK = re.compile(r"^TASK \[(?:(?P<role>[\w.]+) : )?(?P<task>.+?)\] \**$")
_RECAP = re.compile(r"^(?P<host>\S+)\s+: ok=\d+\s+changed=(?P<changed>\d+)\s")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
FAILURE_LINES = 40


@dataclass(frozen=True)
class Step:
    """One ``TASK`` line: the role's short name ('' outside roles) and the task's name."""

    role: str
    task: str


def read_task(line: str) -> Step | None:
    """Return the task that a line of ansible-playbook's output announces.

    None for any other line, and for the check of arguments that Ansible puts before every role.
    """
    found = _TASK.match(_COLOUR.sub("", line.rstrip()))
    if found is None or found["task"].startswith("Validating arguments against arg spec"):
        return None
    return Step((found["role"] or "").rpartition(".")[2], found["task"])


def changed_tasks(output: str) -> dict[str, int]:
    """Return the number of changed tasks of every host from the recap at the end of the output."""
    recap = output.rpartition("PLAY RECAP")[2]
    matches = (_RECAP.match(_COLOUR.sub("", line)) for line in recap.splitlines())
    return {found["host"]: int(found["changed"]) for found in matches if found}


def run(playbook: Path, inventory: Path, log: Path, progress: Progress, extra: Sequence[str] = ()) -> dict[str, int]:
    """Run a playbook of this checkout; return the number of changed tasks per host.

    A failure becomes a LabError with the last lines of the output and the log's path.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    programs = Path(sys.executable).parent
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
        "ANSIBLE_NOCOLOR": "1",
        "PATH": f"{programs}:{os.environ['PATH']}",
    }
    argv = [str(programs / "ansible-playbook"), "-i", str(inventory), str(playbook), *extra]
    with (
        log.open("w") as file,
        subprocess.Popen(
            argv, cwd=CHECKOUT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace",
        ) as process,
    ):  # fmt: skip
        assert process.stdout is not None  # noqa: S101 - tells the type checker what stdout=PIPE means
        role = None
        try:
            for line in process.stdout:
                file.write(line)
                file.flush()
                step = read_task(line)
                if step and step.role and step.role != role:
                    role = step.role
                    progress.say(f"  {role}: {step.task}")
                elif step:
                    progress.hint(f"  {step.role or 'playbook'}: {step.task}")
        except KeyboardInterrupt:
            # The terminal sent the signal to ansible-playbook too; it ends its own work before this run does.
            process.wait()
            raise
    progress.hint("")
    if process.returncode != 0:
        raise LabError(
            f"ansible-playbook {playbook.name} ended with exit code {process.returncode}; its output is in {log}",
            "read what failed above and in the log, mend it, and run the same command again: it goes on from here",
            last_lines(log.read_text(), FAILURE_LINES),
        )
    return changed_tasks(log.read_text())
