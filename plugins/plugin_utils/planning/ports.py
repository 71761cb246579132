# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the listeners of a host can live together: no port twice, none inside the range the kernel draws from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..declaration.model import PortRange
from ..problems import Problem


def collisions(plan: Mapping[str, Any]) -> list[Problem]:
    """Return a problem for each pair of listeners of one host that would share a port.

    Addresses do not matter: several of vLLM's own sockets listen on all of them. Hosts of one shape give one problem.
    """
    found: dict[tuple[str, str, str], Problem] = {}
    for host, part in sorted(plan["hosts"].items()):
        for protocol in ("tcp", "udp"):
            spans = sorted(
                (PortRange.parse(listener["ports"]), listener["name"])
                for listener in part["listeners"]
                if listener["protocol"] == protocol
            )
            left, one = PortRange(0, 0), ""
            for right, other in spans:
                if right.low <= left.high:
                    problem = Problem(
                        f"hosts.{host}.listeners.{other}",
                        "listener-collision",
                        f"{protocol} {right}, which {one} has ({left})",
                        "ports of its own for every listener of a host",
                        f"Move {one} or {other} to other ports.",
                    )
                    found.setdefault((protocol, one, other), problem)
                if right.high > left.high:
                    left, one = right, other
    return sorted(found.values())
