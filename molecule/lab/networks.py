"""Isolated podman networks, one set per lab: a bridge on this machine, no way out, no name server."""

from __future__ import annotations

import json
from ipaddress import ip_network
from typing import Any

from lab.commands import run
from lab.errors import LabError
from lab.host import LABEL, LABEL_CHECKOUT, LABEL_DIGEST, Host
from lab.namespace import LEASES
from lab.paths import CHECKOUT
from lab.progress import Progress
from lab.spec import LabSpec, NetworkSpec, controller_address, digest, overlap


def full_name(lab: str, network: str) -> str:
    """Return podman's name of a lab's network."""
    return f"hvl-{lab}-{network}"


def _digest(network: NetworkSpec) -> str:
    return digest("network", *[str(subnet) for subnet in network.subnets])


def existing(host: Host, lab: str | None = None) -> list[dict[str, Any]]:
    """Return podman's description of the networks of one lab, or of all labs."""
    selection = f"--filter=label={LABEL}" + (f"={lab}" if lab else "")
    names = host.podman("network", "ls", "--quiet", selection).split()
    found: list[dict[str, Any]] = host.podman_json("network", "inspect", *names) if names else []
    return found


def is_current(host: Host, spec: LabSpec) -> bool:
    """Tell whether no network of the lab has to be made anew because its subnets changed or another checkout made it.

    A lab taken over from a checkout that let it lie would otherwise still be called that checkout's.
    """
    wanted = {full_name(spec.name, name): _digest(network) for name, network in spec.networks.items()}
    for network in existing(host, spec.name):
        labels = network["labels"]
        if (wanted.get(network["name"]), str(CHECKOUT)) != (labels.get(LABEL_DIGEST), labels.get(LABEL_CHECKOUT)):
            return False
    return True


def ensure(host: Host, spec: LabSpec, progress: Progress) -> None:
    """Make the networks of a lab that are missing; LabError when a subnet is taken on this machine."""
    present = {str(network["name"]) for network in existing(host, spec.name)}
    for name, network in spec.networks.items():
        if full_name(spec.name, name) in present:
            continue
        _refuse_taken(spec, name)
        flags = [f"--subnet={subnet}" for subnet in network.subnets]
        # Without a gateway this machine would have no address of its own on the bridge and could not reach the nodes.
        flags += [f"--gateway={controller_address(subnet)}" for subnet in network.subnets]
        if any(subnet.version == 6 for subnet in network.subnets):
            flags.append("--ipv6")
        labels = {LABEL: spec.name, LABEL_DIGEST: _digest(network), LABEL_CHECKOUT: str(CHECKOUT)}
        flags += [f"--label={key}={value}" for key, value in labels.items()]
        host.podman("network", "create", "--internal", "--disable-dns", *flags, full_name(spec.name, name))
        progress.say(f"network {name}: {', '.join(str(subnet) for subnet in network.subnets)}")


def _refuse_taken(spec: LabSpec, name: str) -> None:
    for family in ("-4", "-6"):
        for route in json.loads(run(["ip", "-j", family, "route", "show", "table", "all"], remedy="install iproute2")):
            if route["dst"] == "default" or route.get("type") in ("multicast", "anycast"):
                continue
            taken = ip_network(route["dst"], strict=False)
            for subnet in spec.networks[name].subnets:
                if overlap(subnet, taken):
                    raise LabError(
                        f"networks.{name}: {subnet} of lab '{spec.name}' overlaps {taken}, "
                        f"which this machine already has on {route.get('dev', 'a route')}",
                        "give the network another subnet in the lab's file, or take the other lab down "
                        "('lab list' names the labs)",
                    )


def remove(host: Host, lab: str) -> None:
    """Remove a lab's networks and any bridge of theirs that stayed behind."""
    for network in existing(host, lab):
        host.podman("network", "rm", str(network["name"]))
        bridge = str(network["network_interface"])
        links = json.loads(run(["ip", "-j", "link", "show", "type", "bridge"], remedy="install iproute2") or "[]")
        if any(link.get("ifname") == bridge for link in links):
            run(["ip", "link", "delete", bridge], remedy=f"remove the bridge by hand: ip link delete {bridge}")


def forget_leases(host: Host) -> None:
    """Remove podman's list of address leases when no container, of whomever, is left that could hold one.

    podman keeps the entries of networks that are gone.
    """
    if not host.podman("ps", "--all", "--quiet").strip():
        LEASES.unlink(missing_ok=True)
