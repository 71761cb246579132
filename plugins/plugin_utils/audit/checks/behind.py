# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What answers on a port of a host: a process of the host's own, or one in a container's namespace the port leads to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from . import nft
from .redirections import published

EVERY = ("0.0.0.0", "::")  # noqa: S104 - compared


def behind(host: Mapping[str, Any], address: str, port: int) -> list[Mapping[str, Any]]:
    """Return the owners (``Owner``) of what answers on TCP ``port`` at ``address`` of a host; empty when nobody is seen.

    ``host`` is the host's evidence, of which every part may be missing. Where neither a rule nor a socket of the host says who
    answers, containers that listen on the same port do: what publishes ports without nftables mostly keeps their number.
    """
    listeners = [one for one in host.get("listeners") or () if one["protocol"] == "tcp"]
    spaces = {space["id"]: space for space in host.get("namespaces") or ()}
    own = {number for number, space in spaces.items() if space["host"]}
    for target, there in _led_to(host, port):
        inside = {number for number, space in spaces.items() if target in space["addresses"]} if target else own
        found = _owners(listeners, target, there, inside)
        if found:
            return found
    return _owners(listeners, address, port, own) or _owners(listeners, None, port, spaces.keys() - own)


def _owners(
    listeners: list[Mapping[str, Any]], address: str | None, port: int, spaces: set[int]
) -> list[Mapping[str, Any]]:
    return [
        owner
        for one in listeners
        if one["port"] == port
        and one["namespace"] in spaces
        and (address is None or one["address"] in (address, *EVERY))
        for owner in one["processes"]
    ]


def _led_to(host: Mapping[str, Any], port: int) -> Iterator[tuple[str | None, int]]:
    """Yield address (None: the host's own) and port to which rules lead those who connect to TCP ``port`` from elsewhere."""
    for rule, protocol, ports in published(host.get("nftables") or ()):
        if protocol == "tcp" and any(low <= port <= high for low, high in ports):
            target = nft.target(rule, port)
            if target is not None:
                yield target
