# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files on the controller that nobody but their owner may read: keys, and what is kept beside them."""

from __future__ import annotations

import os
import secrets

from ansible_collections.hardened.vllm.plugins.module_utils import files


def read(path, remedy):
    """Return the key in ``path`` (bytes). ValueError, with ``remedy`` for a file closed by a vault, when it cannot be replaced."""
    with open(path, "rb") as handle:
        content = handle.read().strip()
    if content.startswith(b"$ANSIBLE_VAULT;"):
        raise ValueError("%s is encrypted by a vault, which this module cannot write: %s" % (path, remedy))
    if not content:
        raise ValueError("%s is empty: remove it and run hardened.vllm.site, which makes a key" % path)
    return content


def fresh():
    """Return the content of a file with a new key: 256 random bits in hexadecimal digits."""
    return secrets.token_hex(32).encode() + b"\n"


def write(path, content):
    """Write ``content`` (bytes) to ``path`` with mode 0600, in directories nobody else may enter; the file is complete or as it was."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    files.write(path, files.State(files.FILE, content, 0o600, os.geteuid(), os.getegid()))
