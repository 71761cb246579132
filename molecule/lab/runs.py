"""Playbooks as the tests of a scenario run them: against its lab, output plain and kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import inventory
from lab.paths import CHECKOUT
from lab.playbook import changed_tasks


@dataclass(frozen=True)
class Run:
    """An ended ansible-playbook: its exit code and everything it wrote."""

    code: int
    text: str

    def changed(self) -> dict[str, int]:
        """Return the number of changed tasks of each host the run came to."""
        return changed_tasks(self.text)


def start_play(lab: str, playbook: Path, *options: str, **variables: Any) -> subprocess.Popen[str]:
    """Start a playbook in a process group of its own, with ``variables`` as extra variables."""
    # Molecule asks for colours, which would be in the way of reading the output.
    plain = {"ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_NOCOLOR": "1"}
    program = str(Path(sys.executable).parent / "ansible-playbook")
    argv = [program, f"--inventory={inventory.path(lab).parent}", f"--extra-vars={json.dumps(variables)}", *options]
    return subprocess.Popen(
        [*argv, str(playbook)],
        env={**os.environ, **plain},
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def play(lab: str, playbook: Path, *options: str, timeout: float = 900, **variables: Any) -> Run:
    """Run a playbook to its end, ``timeout`` seconds at most."""
    process = start_play(lab, playbook, *options, **variables)
    try:
        text, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return Run(process.returncode, text)
