# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Our table in the kernel: check, load, dump, and a fingerprint that only real changes alter."""

from __future__ import annotations

import hashlib
import json
import shutil

from ansible_collections.hardened.vllm.plugins.module_utils import commands
from ansible_collections.hardened.vllm.plugins.module_utils.firewall_common import (
    FAMILY,
    PROLOGUE,
    TABLE,
    FirewallProblem,
    without_counted,
)

NO_TABLE = PROLOGUE
NO_COUNTING = (
    "\nConnections of each source cannot be counted here: install the kernel's module nft_connlimit, or set "
    "vllm_cluster.gateway.limits.connections_per_source to 0."
)
VOLATILE = ("handle", "packets", "bytes")


def find_nft():
    """Absolute path of nft, None when the host has none."""
    return shutil.which("nft", path="/usr/sbin:/sbin:/usr/bin:/bin")


# Protocols as numbers: their names depend on /etc/protocols, which a minimal host does not have.
def _json(nft, *argv):
    return parsed(commands.run([nft, "-j", "-p", *argv], timeout=60))


def parsed(text):
    """Return the objects of what nft -j prints."""
    try:
        return json.loads(text)["nftables"]
    except (ValueError, KeyError, TypeError):
        raise FirewallProblem("nft -j gave no JSON; found: %s" % text[:200]) from None


def present(nft):
    """Whether our table is in the kernel."""
    names = [
        (entry["table"]["family"], entry["table"]["name"]) for entry in _json(nft, "list", "tables") if "table" in entry
    ]
    return (FAMILY, TABLE) in names


def check(nft, path):
    """Let nft check the file without loading it; FirewallProblem with nft's words."""
    try:
        commands.run([nft, "-c", "-f", path], timeout=120)
    except commands.CommandError as error:
        raise FirewallProblem(
            "nft refuses the rules, nothing was changed. %s%s"
            % (error, NO_COUNTING if "ct count" in str(error) else "")
        ) from None


def load(nft, path):
    """Load the file in one transaction: all of it or nothing."""
    commands.run([nft, "-f", path], timeout=120)


def dump(nft):
    """Text that brings the table back exactly as it is in the kernel now (or its absence), whoever wrote it."""
    if not present(nft):
        return NO_TABLE
    return PROLOGUE + commands.run([nft, "-s", "-p", "list", "table", FAMILY, TABLE], timeout=60)


def _normal(node):
    if isinstance(node, dict):
        result = {}
        for key in node:
            if key in VOLATILE:
                continue
            value = _normal(node[key])
            # Sets have no order, the kernel lists them by hash or tree.
            if key in ("elem", "set") and isinstance(value, list):
                value = sorted(value, key=lambda entry: json.dumps(entry, sort_keys=True))
            result[key] = value
        return result
    if isinstance(node, list):
        return [_normal(entry) for entry in node]
    return node


def normalised(objects):
    """Nft's JSON objects without handles, counters' values and the order of set elements."""
    found = []
    for entry in objects:
        if "metainfo" in entry:
            continue
        found.append(_normal(without_counted(entry)))
    return found


def fingerprint(nft):
    """SHA-256 of the table as it is in force, None when it is not there."""
    if not present(nft):
        return None
    objects = normalised(_json(nft, "list", "table", FAMILY, TABLE))
    return hashlib.sha256(json.dumps(objects, sort_keys=True).encode("utf-8")).hexdigest()
