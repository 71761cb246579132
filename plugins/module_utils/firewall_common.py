# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all parts of the firewall share: the name of our table, what of it is no rule, and the one exception."""

from __future__ import annotations

FAMILY = "inet"
TABLE = "hardened_vllm"
# Loading what follows these statements is one atomic replacement of the table, whatever was there before.
PROLOGUE = "table %s %s\ndelete table %s %s\n" % (FAMILY, TABLE, FAMILY, TABLE)
# Sets that packets fill, one for each family and listener: what they hold is no part of what was applied. Nobody else's
# start so, and nft 1.0.6 does not list which ones are dynamic.
COUNTED = "held_"
OPERATORS = """\
    # Address and port of a live connection that the policy itself would not let in.
    set operator_ipv4 {
        type ipv4_addr . inet_service
    }

    set operator_ipv6 {
        type ipv6_addr . inet_service
    }
"""


class FirewallProblem(Exception):
    """The firewall cannot be what was asked for. The text is for the user."""


def without_counted(entry):
    """Return an object of nft's JSON list without what packets put into it, when it is such a set of our table."""
    found = entry.get("set") or {}
    if found.get("table", TABLE) != TABLE or not found.get("name", "").startswith(COUNTED):
        return entry
    return {"set": {key: value for key, value in found.items() if key != "elem"}}
