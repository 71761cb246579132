# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The declaration after reading: typed values the planner works on. Shapes only, no decisions."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Block = ipaddress.IPv4Network | ipaddress.IPv6Network
ROLES = ("engine", "gateway", "monitor", "observer")


class PortRange(NamedTuple):
    """Ports from ``low`` to ``high``, both included."""

    low: int
    high: int

    @classmethod
    def parse(cls, text: str) -> PortRange:
        """Read ``N`` or ``N-M``; ValueError when they are no ports or the range is empty."""
        low, _dash, high = text.partition("-")
        result = cls(int(low), int(high or low))
        if not 0 < result.low <= result.high <= 65535:
            raise ValueError(f"{text} is no range of ports")
        return result

    def __str__(self) -> str:
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"


@dataclass(frozen=True)
class Leg:
    """A host's foot in one network; ``interface`` is None until it is declared or probed."""

    network: str
    addresses: tuple[Address, ...]
    interface: str | None = None

    def first(self, version: int) -> Address | None:
        """Return the first address of IP ``version`` (4 or 6), if there is one."""
        return next((address for address in self.addresses if address.version == version), None)

    @property
    def primary(self) -> Address:
        """The address that is pinned: the first IPv4 one, else the first."""
        return self.first(4) or self.addresses[0]


@dataclass(frozen=True)
class Host:
    """A host of the cluster. ``rank`` is None when the declaration leaves it open, ``stage`` when it has none.

    ``declared`` names the networks it was given addresses on, usable (then there is a leg) or not.
    """

    name: str
    roles: tuple[str, ...]
    legs: Mapping[str, Leg]
    declared: frozenset[str] = frozenset()
    rank: int | None = None
    stage: str | None = None

    @property
    def order(self) -> tuple[int, list[tuple[int, str]]]:
        """Sort key: declared rank, then the name with its numbers read as numbers."""
        parts = [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", self.name)]
        return (-1 if self.rank is None else self.rank, parts)


@dataclass(frozen=True)
class Declaration:
    """One cluster: its values as read by the schema (defaults filled in) and its hosts in order."""

    values: Mapping[str, Any]
    hosts: tuple[Host, ...]
    blocks: Mapping[str, tuple[Block, ...]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.values["name"])

    def with_role(self, role: str) -> tuple[Host, ...]:
        """Return the hosts that have ``role``, in order."""
        return tuple(host for host in self.hosts if role in host.roles)
