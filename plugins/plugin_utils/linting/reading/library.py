# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a reader finds the files an artefact refers to."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Protocol

from ..texts import UnreadableError

LIMIT = 2 * 1024 * 1024


class Library(Protocol):
    """The files at hand. Paths are as the user gave them, so findings name them likewise."""

    def read(self, name: str, beside: str) -> tuple[str, str] | None:
        """Return path and text of the file ``name`` refers to from the artefact ``beside``; None when not at hand."""

    def was_read(self, path: str) -> bool:
        """Tell whether some artefact referred to ``path`` and so was judged with it."""

    def folder(self, name: str, beside: str) -> list[str]:
        """Return the names of the files in folder ``name``, sorted, as paths from the artefact ``beside``."""


class NoLibrary:
    """No files: what came as text stands alone."""

    def read(self, name: str, beside: str) -> tuple[str, str] | None:
        """Return None: nothing is at hand."""

    def was_read(self, path: str) -> bool:
        """Return False: nothing was."""
        del path
        return False

    def folder(self, name: str, beside: str) -> list[str]:
        """Return no names."""
        del name, beside
        return []


class DiskLibrary:
    """Files below the folders that were given to be linted, and no others.

    An artefact of unknown origin may refer to anything (``env_file: /etc/shadow``); what lies outside is not opened.
    """

    def __init__(self, roots: list[Path]) -> None:
        self.roots = [root.resolve() for root in roots]
        self.used: set[Path] = set()

    def read(self, name: str, beside: str) -> tuple[str, str] | None:
        """Return path and text of a file below the roots; None for any other and for what cannot be read."""
        path = self._within(name, beside)
        if path is None:
            return None
        try:
            content = contents(path)
        except UnreadableError:
            # Said where the file itself is linted; for the one that refers to it, it is not at hand.
            return None
        self.used.add(path.resolve())
        return str(path), content

    def was_read(self, path: str) -> bool:
        """Tell whether some artefact referred to ``path``."""
        return Path(path).resolve() in self.used

    def folder(self, name: str, beside: str) -> list[str]:
        """Return the files of a folder below the roots."""
        path = self._within(name, beside)
        if path is None or not path.is_dir():
            return []
        try:
            return sorted(f"{name}/{item.name}" for item in path.iterdir())
        except OSError:
            # Said where the folder itself is linted.
            return []

    def _within(self, name: str, beside: str) -> Path | None:
        if not name or "\0" in name:
            return None
        path = Path(beside).parent / name
        try:
            real = path.resolve()
            if not any(real.is_relative_to(root) for root in self.roots) or not real.exists():
                return None
            # The short spelling, unless a link on the way makes it another file.
            short = Path(os.path.normpath(path))
            return short if short.resolve() == real else path
        except (OSError, RuntimeError):
            return None


def head(path: Path, size: int) -> bytes:
    """Return the first ``size`` bytes of ``path`` without waiting for anybody; raise OSError when they cannot be had.

    Some files of the kernel look regular and are read as they are written.
    """
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
        data: bytes | None = stream.read(size)
    if data is None:
        raise BlockingIOError(errno.EAGAIN, "nothing to read yet")
    return data


def contents(path: Path) -> str:
    """Return the text of ``path``.

    Raises UnreadableError for what is no regular file, is too large, is binary or is no UTF-8.
    """
    try:
        if not path.is_file():
            raise UnreadableError("no regular file", "Name a file or a folder.", expected="a regular file")
        data = head(path, LIMIT + 1)
    except OSError as error:
        why = error.strerror or str(error)
        raise UnreadableError(f"a file that cannot be opened ({why})", "Check the path and its permissions.") from error
    return decoded(data)


def decoded(data: bytes) -> str:
    """Return ``data`` as text; raise UnreadableError when it is too large, binary or no UTF-8."""
    if len(data) > LIMIT:
        raise UnreadableError(
            f"more than {LIMIT} bytes",
            "Nothing that starts vLLM is that large; lint the part that does.",
            expected=f"at most {LIMIT} bytes",
        )
    if b"\0" in data:
        raise UnreadableError("binary data", "Leave the file out.", expected="text")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise UnreadableError(
            f"no UTF-8 (byte {error.start})",
            "Store the file as UTF-8.",
            data.count(b"\n", 0, error.start) + 1,
            "UTF-8 text",
        ) from error
