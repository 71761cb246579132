# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A policy as a plan gives it to the firewall, small enough to see through."""

from __future__ import annotations

from typing import Any

SETS = {
    "gateways": {"ipv4": ["10.0.0.20"], "ipv6": ["FD00::20"]},
    "operators": {"ipv4": ["10.1.0.0/24", "10.1.0.0/24"]},
    "unused": {"ipv4": ["10.9.9.9"]},
}


def listener(**changed: Any) -> dict[str, Any]:
    return {
        "name": "api",
        "protocol": "tcp",
        "ports": "8000",
        "interface": "eth0",
        "from": ["gateways"],
        "control": "NET-02",
        "why": "API for the gateways",
        "per_source": None,
        **changed,
    }


SSH = listener(
    **{"name": "ssh", "ports": "22,2200-2299", "interface": None, "from": ["operators"], "control": "NET-04"}
)
