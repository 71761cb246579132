"""Progress lines with the seconds since the start."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class Progress:
    """Writes one line per event, flushed: ``[  12 s] text``.

    The stream defaults to standard output. ``steps`` keeps (name, seconds) of every finished step for a summary.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stdout
        self._start = time.monotonic()
        self.steps: list[tuple[str, float]] = []

    def say(self, text: str) -> None:
        """Write one line."""
        elapsed = time.monotonic() - self._start
        clear = "\r\x1b[K" if self._stream.isatty() else ""
        print(f"{clear}[{elapsed:4.0f} s] {text}", file=self._stream, flush=True)

    def hint(self, text: str) -> None:
        """Show a passing text on a terminal, over the one before; elsewhere nothing is written."""
        if self._stream.isatty():
            elapsed = time.monotonic() - self._start
            print(
                f"\r\x1b[K{f'[{elapsed:4.0f} s] {text}'[:100] if text else ''}", end="", file=self._stream, flush=True
            )

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Announce a step and, when its body has finished without an error, how long it took."""
        self.say(f"{name} ...")
        begun = time.monotonic()
        yield
        took = time.monotonic() - begun
        self.steps.append((name, took))
        self.say(f"{name}: done in {took:.1f} s")
