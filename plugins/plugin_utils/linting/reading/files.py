# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files to be linted below some paths."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..texts import UnreadableError
from .kinds import by_name
from .library import head

_LEFT_OUT = frozenset({".git", ".venv", "node_modules", "__pycache__", ".tox", ".cache"})


def found_files(paths: Sequence[str]) -> tuple[list[tuple[str, bool]], list[tuple[str, UnreadableError]]]:
    """Return the files below ``paths``, each once, with whether it was named itself, and what cannot be read.

    Below a folder only files whose name tells a kind are taken; links to folders are not followed.
    """
    files: dict[str, bool] = {}
    refused: list[tuple[str, UnreadableError]] = []
    for given in paths:
        path = Path(given)
        try:
            there, folder = path.exists(), path.is_dir()
        except OSError as error:
            found = f"a path that cannot be opened ({error.strerror})"
            why = UnreadableError(found, "Check the path and its permissions.", expected="a file or a folder")
            refused.append((given, why))
            continue
        if not there:
            refused.append((given, UnreadableError("nothing", "Check the path.", expected="a file or a folder")))
        elif folder:
            for item in _below(path, refused):
                shown = item.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
                if shown == item:
                    files.setdefault(item, False)
                else:
                    why = UnreadableError("a name that is no UTF-8", "Rename the file.", expected="a name in UTF-8")
                    refused.append((shown, why))
        else:
            files[given] = True
    return sorted(files.items()), refused


def _below(folder: Path, refused: list[tuple[str, UnreadableError]]) -> Iterator[str]:
    def failed(error: OSError) -> None:
        why = UnreadableError(f"a folder that cannot be opened ({error.strerror})", "Check its permissions.")
        refused.append((str(error.filename), why))

    for parent, folders, names in os.walk(folder, onerror=failed):
        folders[:] = sorted(name for name in folders if name not in _LEFT_OUT)
        for name in sorted(names):
            path = Path(parent, name)
            telling = by_name(str(path)) is not None
            if (telling or "." not in name) and _regular(path) and (telling or _is_script(path)):
                yield str(path)


def _is_script(path: Path) -> bool:
    try:
        return head(path, 2) == b"#!"
    except OSError:
        # Nobody knows whether it is one; the name says nothing.
        return False


def _regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        # A link to nowhere is no file of anybody.
        return False
