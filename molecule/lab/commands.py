"""Run programs; a failure becomes a LabError with the command, its exit code and the last lines of its output."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.errors import LabError

DETAIL_LINES = 15


def last_lines(text: str, count: int = DETAIL_LINES) -> str:
    """Return the last ``count`` lines of a text that are not blank."""
    return "\n".join([line for line in text.splitlines() if line.strip()][-count:])


def shortened(argv: Sequence[str], limit: int = 300) -> str:
    """Return a command as a shell would take it, cut to ``limit`` characters."""
    line = shlex.join(argv)
    return line if len(line) <= limit else line[:limit] + " ..."


def run(
    argv: Sequence[str],
    *,
    remedy: str,
    stdin: bytes | None = None,
    timeout: float = 300,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Run a command and return its standard output as text.

    ``remedy`` is what the user can do when it fails; ``timeout`` is in seconds. Raises LabError when the program is
    missing, takes too long or exits with another code than 0.
    """
    try:
        done = subprocess.run(
            list(argv), input=stdin, capture_output=True, timeout=timeout, env=env, cwd=cwd, check=False
        )
    except FileNotFoundError as error:
        raise LabError(f"the program '{error.filename}' was not found", f"run scripts/bootstrap; {remedy}") from error
    except subprocess.TimeoutExpired as error:
        output = ((error.stdout or b"") + (error.stderr or b"")).decode(errors="replace")
        raise LabError(
            f"no end after {timeout:.0f} s: {shortened(argv)}",
            f"see whether the machine is overloaded; {remedy}",
            last_lines(output),
        ) from error
    if done.returncode != 0:
        output = (done.stdout + done.stderr).decode(errors="replace")
        raise LabError(f"exit code {done.returncode} from: {shortened(argv)}", remedy, last_lines(output))
    return done.stdout.decode(errors="replace")


def succeeds(argv: Sequence[str], *, timeout: float = 60) -> bool:
    """Tell whether a command exits with 0; a missing program or no end within ``timeout`` seconds is False."""
    try:
        return subprocess.run(list(argv), capture_output=True, timeout=timeout, check=False).returncode == 0
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
