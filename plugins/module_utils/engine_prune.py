# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds releases and revisions of models that nobody plans or runs any more, among those this collection has put in place."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
from dataclasses import dataclass

from ansible_collections.hardened.vllm.plugins.module_utils import (
    engine_generation,
    engine_model,
    engine_quadlet,
    engine_venv,
    files,
    placement,
)

PROC = "/proc"
UNITS = "/etc/systemd/system/hardened-vllm-*.service"
QUADLETS = engine_quadlet.quadlet("hardened-vllm-*")
NOTES = "/var/lib/hardened-vllm/*-before.json"


@dataclass(frozen=True)
class Found:
    """A release or revision at ``path``, put there at ``placed`` (seconds since 1970). ``strange``: files nobody fetched, list of str."""

    path: str
    placed: float
    strange: list


def releases(root):
    """Return the releases (Found) that were installed below ``root``; what has no manifest that fits its name is none."""
    return _found(root, engine_venv.MANIFEST, lambda name, told: told["version"] == name, lambda _path: [])


def revisions(folder, repository):
    """Return the revisions (Found) of ``repository`` that were fetched into ``folder``."""

    def fits(name, told):
        return told["repository"] == repository and told["revision"] == name

    return _found(folder, engine_model.MANIFEST, fits, engine_model.strangers)


def _found(root, manifest, fits, strange):
    try:
        names = sorted(os.listdir(root))
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        path = os.path.join(root, name)
        place = os.path.join(path, manifest)
        if name.startswith(".") or os.path.islink(path) or not os.path.isdir(path):
            continue
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            with open(place, encoding="utf-8") as handle:
                told = json.load(handle)
            if told["format"] == 1 and fits(name, told):
                found.append(Found(path, os.stat(place).st_mtime, strange(path) or []))
    return found


def texts():
    """Return all that may name what is in use, list of str: units, former states of them, and what processes were started with and have mapped."""
    read = []
    for path in glob.glob(UNITS) + glob.glob(QUADLETS):
        read.append(_read(path))
    for path in glob.glob(NOTES):
        states = engine_generation.Kept(path).states().values()
        read += [state.content.decode("utf-8", "replace") for state in states if state.kind == files.FILE]
    for process in glob.glob(os.path.join(PROC, "[0-9]*")):
        read += [_read(os.path.join(process, name)) for name in ("cmdline", "maps", "environ")]
    return read


def _read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as handle:
            return handle.read()
    except OSError:  # it has ended meanwhile, or is a thread of the kernel
        return ""


def judge(found, planned, keep, said):
    """Return {path: why it stays, None when it goes} for ``found``.

    What is among ``planned`` (paths) or named in ``said`` stays, and besides those the ``keep`` that were put in place last.
    """
    verdicts, spare = {}, []
    for one in sorted(found, key=lambda one: -one.placed):
        # The kernel names what is mapped by where it lies, whichever links lead there.
        ways = "|".join(re.escape(path) for path in sorted({one.path, os.path.realpath(one.path)}))
        named = re.compile(r"(?:%s)(?![\w.+-])" % ways)
        if one.path in planned:
            verdicts[one.path] = "planned"
        elif any(named.search(text) for text in said):
            verdicts[one.path] = "in use"
        elif one.strange:
            verdicts[one.path] = "holds files that nobody fetched: " + ", ".join(one.strange[:5])
        elif len(spare) < keep:
            spare.append(one)
            verdicts[one.path] = "to go back to"
        else:
            verdicts[one.path] = None
    return verdicts


def remove(path, lock=None):
    """Remove a release or revision while nobody installs or fetches beside it. FileProblem when that does not end, OSError."""
    with files.exclusive(os.path.dirname(path), 60, lock), contextlib.suppress(FileNotFoundError):
        # Another host that shares the directory may have been quicker.
        placement.remove(path)
