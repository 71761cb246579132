# Copyright (c) 2026 hardened.vllm maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a program on the node and turns every way it can fail into one readable error."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess

OUTPUT_LINES = 40


class CommandError(Exception):
    """A program is missing, took too long or ended with a status other than 0. The text is for the user."""


def run(argv, timeout=300.0):
    """Run ``argv`` without a shell and return its standard output (str).

    ``timeout`` is in seconds; the whole process group is killed when it passes.
    Raises CommandError with the program, what happened and the last lines it wrote.
    """
    words = [str(word) for word in argv]
    shown = " ".join(words)
    environment = dict(os.environ, LC_ALL="C.UTF-8", LANGUAGE="C")
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except FileNotFoundError:
        raise CommandError("%s: the program %s is not on this host" % (shown, words[0])) from None
    except OSError as error:
        raise CommandError("%s: cannot be started: %s" % (shown, error.strerror)) from None
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except BaseException as error:
        _kill_group(process)
        if isinstance(error, subprocess.TimeoutExpired):
            raise CommandError("%s: still running after %g seconds, killed" % (shown, timeout)) from None
        raise
    out = stdout.decode("utf-8", "backslashreplace")
    err = stderr.decode("utf-8", "backslashreplace")
    if process.returncode != 0:
        raise CommandError("%s: %s%s" % (shown, _ending(process.returncode), _tail(out, err)))
    return out


def _kill_group(process):
    # It may have ended by itself in between.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _ending(returncode):
    if returncode < 0:
        return "killed by signal %d" % -returncode
    return "ended with status %d" % returncode


def _tail(out, err):
    lines = (out.rstrip() + "\n" + err.rstrip()).strip().splitlines()
    if not lines:
        return " and wrote nothing"
    dropped = len(lines) - OUTPUT_LINES
    head = ["[%d earlier lines left out]" % dropped] if dropped > 0 else []
    return ":\n" + "\n".join(head + lines[-OUTPUT_LINES:])
