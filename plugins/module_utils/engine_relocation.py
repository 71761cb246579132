# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prepares a virtual environment for a place other than the one it was made in."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os


def relocate(present, final):
    """Let scripts in the environment at ``present``, and the records of them, name the directory ``final``.

    Console scripts start with the path of their interpreter, so an environment is not free to move as it is.
    """
    old, new = os.fsencode(present), os.fsencode(final)
    changed = {}
    folder = os.path.join(present, "bin")
    for entry in [
        os.path.join(present, "pyvenv.cfg"),
        *(os.path.join(folder, name) for name in os.listdir(folder)),
    ]:
        if os.path.islink(entry) or not os.path.isfile(entry):
            continue
        with open(entry, "rb") as handle:
            before = handle.read()
        if b"\0" in before or old not in before:
            continue
        after = before.replace(old, new)
        with open(entry, "wb") as handle:
            handle.write(after)
        changed[entry] = after
    for folder, _folders, names in os.walk(present):
        if folder.endswith(".dist-info") and "RECORD" in names:
            _correct_record(os.path.join(folder, "RECORD"), changed)


def _correct_record(record, changed):
    """Give the rewritten scripts in a RECORD (PEP 376) their new digest and size."""
    with open(record, encoding="utf-8", newline="") as handle:
        rows = list(csv.reader(handle))
    top = os.path.dirname(os.path.dirname(record))
    touched = False
    for row in rows:
        content = changed.get(os.path.normpath(os.path.join(top, row[0]))) if len(row) == 3 else None
        if content is not None:
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            row[1:] = ["sha256=" + digest, str(len(content))]
            touched = True
    if touched:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        with open(record, "w", encoding="utf-8", newline="") as handle:
            handle.write(text.getvalue())
