# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Expressions with filters and lookups, evaluated by Ansible itself."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

Run = Callable[..., subprocess.CompletedProcess[str]]


def evaluate(ansible: Run, place: Path, expressions: Iterable[str]) -> subprocess.CompletedProcess[str]:
    """Show every expression in one play; one that cannot be evaluated does not end it."""
    tasks = [
        {"name": f"case {number}", "ansible.builtin.debug": {"msg": f"{{{{ {one} }}}}"}, "ignore_errors": True}
        for number, one in enumerate(expressions)
    ]
    play = {"name": "Cases", "hosts": "localhost", "gather_facts": False, "tasks": tasks}
    (place / "cases.json").write_text(json.dumps([play]), encoding="utf-8")
    return ansible("ansible-playbook", "cases.json", ANSIBLE_CALLBACK_RESULT_FORMAT="json")


def answers(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What was printed for each case, its white space made one blank."""
    return [" ".join(part.split()) for part in re.split(r"TASK \[case \d+\] \*+", done.stdout)[1:]]
