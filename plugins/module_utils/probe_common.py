# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every part of the probe shares: one way to say "unknown", one way to read, one way to run."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import threading
from typing import Any, Callable, Dict, List, Optional

# Administrative directories are missing from the PATH of unprivileged logins.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/bin", "/bin"])


# A longer text is none of those a probe reads.
MOST_CHARACTERS = 64 << 20
_PIECE = 1 << 16


class Unknown(Exception):
    """A fact that cannot be had on this host; the text says why."""


def find_tool(name: str) -> str:
    """Absolute path of the program `name`; Unknown when the host has none."""
    path = shutil.which(name, path=SEARCH_PATH)
    if path is None:
        raise Unknown("the program %s is not installed" % name)
    return path


def run(argv: List[str], timeout: float = 15.0, accept: tuple = (0,)) -> str:
    """Return the standard output of `argv` (text, C locale).

    Unknown when the program is missing, ends with a code not in `accept` or runs longer than `timeout` seconds.
    """
    command = [find_tool(argv[0]), *argv[1:]]
    environment = {"PATH": SEARCH_PATH, "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=timeout,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise Unknown("%s gave no answer within %d seconds" % (argv[0], timeout)) from None
    except OSError as error:
        raise Unknown("%s could not be started: %s" % (argv[0], error)) from None
    if done.returncode not in accept:
        reason = done.stderr.decode("utf-8", "replace").strip() or "no message"
        raise Unknown("%s ended with code %d: %s" % (" ".join(argv), done.returncode, reason))
    return done.stdout.decode("utf-8", "replace")


def read_text(path: str, allowed: Callable[[os.stat_result], bool] = lambda _state: True) -> str:
    """Content of a text file; Unknown when it is missing, unreadable, no regular file or not `allowed`."""
    try:
        # A FIFO in the place of a file would otherwise hold up whoever opens it.
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(number, encoding="utf-8", errors="replace") as handle:
            state = os.fstat(number)
            if not stat.S_ISREG(state.st_mode):
                raise Unknown("%s cannot be read: it is no regular file" % path)
            if not allowed(state):
                raise Unknown("%s is not read: who names it may not read it" % path)
            text = _text_of(handle)
    except OSError as error:
        raise Unknown("%s cannot be read: %s" % (path, error.strerror)) from None
    if len(text) > MOST_CHARACTERS:
        raise Unknown("%s cannot be read: it is longer than %d characters" % (path, MOST_CHARACTERS))
    return text


def _text_of(handle: Any) -> str:
    # In pieces: the kernel has no memory for a file of its own that is asked for as much at once.
    pieces: List[str] = []
    left = MOST_CHARACTERS + 1
    while left > 0:
        piece = handle.read(min(left, _PIECE))
        if not piece:
            break
        pieces.append(piece)
        left -= len(piece)
    return "".join(pieces)


def read_optional(path: str) -> str:
    """Content of a text file, empty when it is missing or unreadable: for files whose absence is an answer."""
    try:
        return read_text(path)
    except Unknown:
        return ""


def under(root: str, path: str) -> str:
    """`path` seen from another root directory (the tests look at a made-up host)."""
    return os.path.join(root, path.lstrip("/"))


class Collector:
    """Gathers facts one by one; a fact that fails becomes null plus an entry in `unknown`."""

    def __init__(self) -> None:
        self.facts: Dict[str, Any] = {}
        self.unknown: List[Dict[str, str]] = []

    def add(self, name: str, fact: Callable[..., Any], *args: Any, **kwargs: Any) -> Optional[Any]:
        """Store `fact(*args, **kwargs)` under `name` and return it."""
        try:
            value = fact(*args, **kwargs)
        except Unknown as error:
            value = None
            self.note(name, str(error))
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            # Odd content of a file or of a tool's output is a fact we do not have, not a reason to stop.
            value = None
            self.note(name, "unexpected content: %s: %s" % (type(error).__name__, error))
        self.facts[name] = value
        return value

    def note(self, name: str, reason: str) -> None:
        """Say that `name` is not (fully) known."""
        self.unknown.append({"fact": name, "reason": reason})


class Timed(Collector):
    """Gathers facts each of which may take so many seconds; one that takes longer is not known."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def add(self, name: str, fact: Callable[..., Any], *args: Any, **kwargs: Any) -> Optional[Any]:
        """Store `fact(*args, **kwargs)` under `name` and return it."""
        return super().add(name, lambda: limited(self.seconds, lambda: fact(*args, **kwargs)))


def limited(seconds: float, fact: Callable[[], Any]) -> Any:
    """Return `fact()`; Unknown when it takes longer. What hangs in the kernel holds up a thread that ends with the process."""
    answer: Dict[str, Any] = {}

    def run_it() -> None:
        try:
            answer["value"] = fact()
        except Exception as error:  # the caller's, not this thread's
            answer["error"] = error

    thread = threading.Thread(target=run_it, daemon=True)
    thread.start()
    thread.join(seconds)
    if "error" in answer:
        raise answer["error"]
    if "value" not in answer:
        raise Unknown("it took longer than %d seconds" % seconds)
    return answer["value"]
