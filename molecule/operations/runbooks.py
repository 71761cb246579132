"""Reads the commands out of the runbooks (docs/runbooks) and runs them as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from lab.paths import CHECKOUT

FOLDER = CHECKOUT / "docs" / "runbooks"
# Pages whose commands are not run, and why.
NOT_RUN = {"README": "the list of the others; what it exports the tests export"}
SECTIONS = ("Check", "Action", "Verify", "Undo")
# Further sections of a page, after those; another scenario runs them.
ELSEWHERE = {("rollback", "A container image"): "quadlet"}
SECONDS = 1200


class RunbookError(Exception):
    """A command of a runbook failed, or the runbook is not made as the others are."""


def pages() -> list[str]:
    """Return the names of all pages, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.md"))


def blocks(name: str) -> dict[str, list[str]]:
    """Return the shell commands of a page, a list of blocks by section; RunbookError when a section is missing or foreign."""
    text = (FOLDER / f"{name}.md").read_text(encoding="utf-8")
    parts = re.split(r"(?m)^## (.*)$", text)
    found = {
        title.strip(): re.findall(r"(?ms)^```sh\n(.*?)^```$", body)
        for title, body in zip(parts[1::2], parts[2::2], strict=True)
    }
    wanted = [*SECTIONS, *(section for page, section in ELSEWHERE if page == name)]
    if list(found) != wanted or "**Symptom.**" not in parts[0]:
        raise RunbookError(f"{name}: expected a symptom and the sections {', '.join(wanted)}, found {', '.join(found)}")
    return found


def run(script: str, inventory: Path, secrets: Path, **variables: str) -> str:
    """Run a block in a shell as an operator has it, with ``variables`` set; return what it says. RunbookError when a command of it fails."""
    environment = {
        **os.environ,
        **variables,
        "INVENTORY": str(inventory),
        "SECRETS": str(secrets),
        # Molecule forces colours.
        "ANSIBLE_FORCE_COLOR": "0",
        "ANSIBLE_NOCOLOR": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=CHECKOUT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SECONDS,
        check=False,
    )
    if done.returncode:
        raise RunbookError(f"exit code {done.returncode} from\n{script}\n{done.stdout}")
    return done.stdout
