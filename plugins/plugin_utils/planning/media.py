# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way to media by URL: a forward proxy on the gateways that knows the declared hosts and reaches no private address.

Two programs read one URL differently (CVE-2026-24779, CVE-2026-25960), names change their answers, and allowed hosts
redirect. All of that ends at a proxy that resolves the name itself, and at the firewall around the proxy's account.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ..declaration.model import Block, Declaration, Host

CONTROL = "NET-08"
USER = "hardened-vllm-media"
ENGINES, PROXIES, REFUSED, RESOLVERS = "engines", "media-proxy", "media-refused", "media-resolvers"
LOCAL = ("localhost", "127.0.0.1", "::1")

# What no host of the world has: this host, private, shared (Alibaba's metadata), link-local, the protocols' own
# (Oracle's metadata), relays, benchmarks, multicast, reserved; then Azure's metadata, which has a public address.
NOWHERE_IPV4 = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/3",
    "168.63.129.16/32",
)
# Everything but global unicast (2000::/3), and within it the protocols' own (Teredo) and 6to4, which lead into IPv4.
NOWHERE_IPV6 = ("::/3", "4000::/2", "8000::/1", "2001::/23", "2002::/16")
# An address of this block is an IPv4 address to a program and on the wire, and judged as that; a program that keeps
# IPv4 addresses in this form would take the block for all of them.
MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


def own_proxy(declaration: Declaration) -> bool:
    """Whether the gateways are to be the way to media: hosts are declared, and no proxy that leads to them."""
    media = declaration.values["media"]
    return bool(media["allowed_domains"]) and media["proxy"] is None


def media_sets(declaration: Declaration) -> dict[str, list[Block]]:
    """Return the named addresses of the way to media; none when there is none."""
    media = declaration.values["media"]
    if media["proxy"] is not None:
        return {PROXIES: [ipaddress.ip_network(media["proxy"]["address"])]}
    if not own_proxy(declaration):
        return {}
    return {
        ENGINES: _single(host.legs["fabric"].addresses for host in declaration.with_role("engine")),
        PROXIES: _single([host.legs["fabric"].primary] for host in declaration.with_role("gateway")),
        REFUSED: _refused(declaration),
        RESOLVERS: [ipaddress.ip_network(text) for text in media["resolvers"]],
    }


def _single(addresses: Iterable[Iterable[Any]]) -> list[Block]:
    return [ipaddress.ip_network(address) for group in addresses for address in group]


def _refused(declaration: Declaration) -> list[Block]:
    """Return what is no host of the world, and whatever else is the cluster's own."""
    blocks: list[Block] = [ipaddress.ip_network(text) for text in (*NOWHERE_IPV4, *NOWHERE_IPV6)]
    blocks += [block for name in ("fabric", "management") for block in declaration.blocks.get(name, ())]
    blocks += _single(leg.addresses for host in declaration.hosts for leg in host.legs.values())
    fours = ipaddress.collapse_addresses(block for block in blocks if isinstance(block, ipaddress.IPv4Network))
    sixes = ipaddress.collapse_addresses(block for block in blocks if isinstance(block, ipaddress.IPv6Network))
    return [*fours, *(part for block in sixes for part in _without_mapped(block))]


def _without_mapped(block: ipaddress.IPv6Network) -> Iterable[ipaddress.IPv6Network]:
    return block.address_exclude(MAPPED) if MAPPED.subnet_of(block) else [block]


def proxy_of(declaration: Declaration, host: Host) -> tuple[str, int] | None:
    """Return address and port of the proxy the engines of ``host`` are given, None without media by URL.

    A program takes one proxy: each engine host has its gateway, which another host that comes or goes does not change.
    """
    media = declaration.values["media"]
    if media["proxy"] is not None:
        return media["proxy"]["address"], media["proxy"]["port"]
    if not own_proxy(declaration):
        return None
    gateway = max(declaration.with_role("gateway"), key=lambda one: _weight(one, host))
    return str(gateway.legs["fabric"].primary), media["port"]


def _weight(gateway: Host, host: Host) -> bytes:
    """Return what ``gateway`` weighs for ``host``; the highest wins (rendezvous hashing)."""
    return hashlib.sha256(f"{gateway.name}\0{host.name}".encode()).digest()


def proxy_environment(declaration: Declaration, host: Host, members: Sequence[Host]) -> dict[str, str]:
    """Return what sends an engine's requests through the proxy, but for those to ``host`` itself and to its peers."""
    proxy = proxy_of(declaration, host)
    if proxy is None:
        return {}
    address = ipaddress.ip_address(proxy[0])
    url = f"http://[{address}]:{proxy[1]}" if address.version == 6 else f"http://{address}:{proxy[1]}"
    direct = ",".join(dict.fromkeys([*LOCAL, *_direct(declaration, host, members)]))
    # Which spelling counts, and which of two, differs by library.
    chosen = {"HTTP_PROXY": url, "HTTPS_PROXY": url, "NO_PROXY": direct}
    return chosen | {name.lower(): value for name, value in chosen.items()}


def _direct(declaration: Declaration, host: Host, members: Sequence[Host]) -> Iterator[str]:
    """Yield whom an engine reaches over HTTP itself: libraries take names and addresses, and only some of them blocks.

    Engines speak other protocols to each other, but for Mooncake's bootstrap server and what Ray asks its nodes.
    """
    values = declaration.values
    near = [host]
    if values["engine"]["executor"] == "ray":
        near += members
    if values["transfer"] is not None and values["transfer"]["connector"] == "mooncake":
        prefill = [other for other in declaration.with_role("engine") if other.stage == "prefill"]
        near += members[:1] if host.stage == "prefill" else prefill
    yield from (str(other.legs["fabric"].primary) for other in near)
    declared = [*values["egress"], *(values["cache"] or {}).get("servers", ())]
    for block in (ipaddress.ip_network(text) for entry in declared for text in entry["to"]):
        yield str(block.network_address) if block.num_addresses == 1 else str(block)


def item_limits(declaration: Declaration) -> dict[str, str]:
    """Return the engine's own limits for one item, of which the proxy sees the half that is not encrypted."""
    if not declaration.values["media"]["allowed_domains"]:
        return {}
    return {"VLLM_MAX_MEDIA_DOWNLOAD_SIZE_MB": str(declaration.values["media"]["item_megabytes"])}


def media_part(declaration: Declaration, host: Host) -> dict[str, Any] | None:
    """Return the plan of the proxy on gateway ``host``, None when there is none.

    Keys: ``user``, ``listen`` (``{address, port}``), ``domains``, ``resolvers``, ``item_megabytes``, ``item_seconds``, and
    ``rules``, whom its account may call, in the shape of an engine's; ``except`` names a set that is left out of ``to``.
    """
    if not own_proxy(declaration):
        return None
    media = declaration.values["media"]
    return {
        "user": USER,
        "listen": {"address": str(host.legs["fabric"].primary), "port": media["port"]},
        "domains": sorted(set(media["allowed_domains"])),
        "resolvers": list(media["resolvers"]),
        "item_megabytes": media["item_megabytes"],
        "item_seconds": media["item_seconds"],
        "rules": [
            *(_call(f"media-names-{protocol}", RESOLVERS, protocol, "53", None) for protocol in ("tcp", "udp")),
            _call("media-hosts", "everyone", "tcp", "80,443", REFUSED),
        ],
    }


def _call(name: str, to: str, protocol: str, ports: str, other_than: str | None) -> dict[str, Any]:
    why = "names of the allowed hosts" if to == RESOLVERS else "media of the allowed hosts, on public addresses only"
    return {
        "name": name,
        "caller": "media",
        "to": to,
        "except": other_than,
        "protocol": protocol,
        "ports": ports,
        "control": CONTROL,
        "why": why,
    }
