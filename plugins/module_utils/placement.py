# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Directories that are made beside their place, moved there when they are complete, and go again as a whole."""

from __future__ import annotations

import json
import os
import shutil
import time


def swap(made, path):
    """Rename the directory ``made`` to ``path``, beside it. One that is there is replaced; who has its files open keeps them."""
    former = _former(path)
    shutil.rmtree(former, ignore_errors=True)
    if os.path.isdir(path):
        os.rename(path, former)
    try:
        os.rename(made, path)
    except OSError:
        if os.path.isdir(former):
            os.rename(former, path)
        raise
    shutil.rmtree(former, ignore_errors=True)


def place(made, path, name, manifest):
    """Swap the directory ``made`` for ``path`` with ``manifest`` (a dict) in it as ``name``, on disk before anybody sees it."""
    os.sync()
    with open(os.path.join(made, name), "w", encoding="utf-8") as handle:
        json.dump({**manifest, "placed": time.time()}, handle, indent=1, sort_keys=True)
        handle.write("\n")
        handle.flush()
        os.fsync(handle.fileno())
    swap(made, path)


def placed(manifest):
    """Return when the directory of a ``manifest`` (its path) was put in place, in seconds since 1970; 0.0 when that is not known."""
    try:
        with open(manifest, encoding="utf-8") as handle:
            return float(json.load(handle)["placed"])
    except (OSError, ValueError, LookupError, TypeError):
        return 0.0


def remove(path):
    """Remove the directory ``path``, which is gone at once for whoever looks for it. Raises OSError."""
    former = _former(path)
    shutil.rmtree(former, ignore_errors=True)
    os.rename(path, former)
    shutil.rmtree(former)


def _former(path):
    return os.path.join(os.path.dirname(path), ".%s.former" % os.path.basename(path))


def disk_size(path):
    """Return the bytes that everything below ``path`` takes on disk."""
    total = 0
    for folder, _folders, names in os.walk(path):
        for name in names:
            total += os.lstat(os.path.join(folder, name)).st_blocks * 512
    return total
