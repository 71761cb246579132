# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the plan fits the hosts and the model as the probes found them; vLLM would find out at its start."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..declaration.model import PortRange
from ..problems import Problem, Severity
from .reality import Probes

CARDS = re.compile(r"/dev/(nvidia|accel/accel|davinci|dri/renderD)[0-9]+")
# Programs of the services the plan itself brings: their sockets are the planned ones.
OWN = ("nginx", "ray", "sshd", "systemd", "vllm", "python")
# A distribution's squid takes the very port of the proxy for media; it is the plan's own only where that proxy is installed.
MEDIA_UNIT = "/etc/systemd/system/hardened-vllm-media.service"


def misfits(plan: Mapping[str, Any], probes: Probes) -> list[Problem]:
    """Return what on the probed hosts contradicts ``plan``; hosts without a probe are not judged."""
    found: dict[tuple[str, str], Problem] = {}
    for host, part in sorted(plan["hosts"].items()):
        if host not in probes:
            continue
        for problem in _host(host, part, probes[host]):
            # What is wrong with the model is wrong on every host that has it.
            found.setdefault((problem.rule, problem.found), problem)
        for problem in _names(host, probes[host]):
            found.setdefault((problem.rule, problem.path), problem)
    return sorted(found.values())


def _host(host: str, part: Mapping[str, Any], probe: Mapping[str, Any]) -> Iterator[Problem]:
    for engine in part["engines"]:
        sizes = (probe.get("models") or {}).get(engine["argv"][1])
        if sizes is not None:
            yield from _model(f"hosts.{host}.{engine['name']}", engine["argv"], sizes)
    yield from _containers(host, part, probe)
    yield from _cards(host, part, probe)
    yield from _ports(host, part, probe)


def _number(argv: list[str], option: str, default: int = 1) -> int:
    return int(argv[argv.index(option) + 1]) if option in argv else default


def _model(where: str, argv: list[str], sizes: Mapping[str, int | None]) -> Iterator[Problem]:
    tensor, stages = _number(argv, "--tensor-parallel-size"), _number(argv, "--pipeline-parallel-size")
    heads, layers = sizes["attention_heads"], sizes["layers"]
    if heads is not None and heads % tensor:
        yield Problem(
            f"{where}.argv.--tensor-parallel-size",
            "heads-uneven",
            f"{tensor} for a model of {heads} attention heads",
            "a number the heads can be shared out to evenly",
            "Change the number of nodes or engine.ranks_per_node.",
        )
    if layers is not None and layers < stages:
        yield Problem(
            f"{where}.argv.--pipeline-parallel-size",
            "layers-few",
            f"{stages} stages for a model of {layers} layers",
            "at least one layer for each stage",
            "Use fewer nodes.",
        )
    if "--data-parallel-rank" in argv and sizes["experts"] is None and _number(argv, "--data-parallel-size") > 1:
        yield Problem(
            f"{where}.argv.--data-parallel-rank",
            "balancing-dense",
            "external load balancing for a model without experts",
            "a mixture of experts",
            "vLLM refuses it: choose topology replicas, or internal load balancing.",
        )


def _containers(host: str, part: Mapping[str, Any], probe: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what keeps podman from starting a planned image here as a unit of systemd."""
    podman, install = probe.get("podman"), part["install"]
    if install is None or install["method"] != "image" or podman is None:
        return
    if not podman["quadlet"]:
        found = "no podman" if podman["version"] is None else f"podman {podman['version']} without Quadlet"
        yield Problem(
            f"hosts.{host}",
            "quadlet-missing",
            found,
            "podman 4.4 or newer with its generator for systemd",
            "Debian 13 and EL 9 have it, Debian 12 has not. Install it, or choose install.method index.",
        )
    elif probe.get("cgroup") in ("hybrid", "legacy"):
        yield Problem(
            f"hosts.{host}",
            "cgroup-split",
            f"the {probe['cgroup']} control group hierarchy",
            "the unified one (v2)",
            "Only there the unit's limits and walls hold for the container. Boot with it, or choose install.method index.",
        )


def _cards(host: str, part: Mapping[str, Any], probe: Mapping[str, Any]) -> Iterator[Problem]:
    devices: list[str] = [path for path in probe.get("accelerators") or [] if CARDS.fullmatch(path)]
    engines = [engine for engine in part["engines"] if engine["devices"]]
    wanted = sum(engine["accelerators"] for engine in engines)
    if devices and wanted > len(devices):
        yield Problem(
            f"hosts.{host}",
            "accelerators-few",
            f"{len(devices)} accelerators for {wanted} workers",
            "an accelerator for each worker",
            "Lower engine.ranks_per_node, or see why the driver shows no more.",
        )


def _ports(host: str, part: Mapping[str, Any], probe: Mapping[str, Any]) -> Iterator[Problem]:
    taken: dict[int, str] = {}
    units = (probe.get("installed") or {}).get("units") or []
    own = (*OWN, "squid") if MEDIA_UNIT in units else OWN
    for entry in probe.get("listeners") or []:
        names = sorted(process["name"] for process in entry["processes"])
        if entry["protocol"] == "tcp" and names and not any(name.lower().startswith(own) for name in names):
            taken.setdefault(entry["port"], ", ".join(names))
    for listener in part["listeners"]:
        if listener["name"] == "fabric-ephemeral" or listener["why"].startswith("a service of the operator"):
            continue
        ports = PortRange.parse(listener["ports"])
        for port in sorted(taken):
            if ports.low <= port <= ports.high:
                yield Problem(
                    f"hosts.{host}.listeners.{listener['name']}",
                    "port-taken",
                    f"port {port}, where {taken[port]} listens",
                    "a port nothing else uses",
                    "Stop that program, or declare another port.",
                )


def _names(host: str, probe: Mapping[str, Any]) -> Iterator[Problem]:
    for name, addresses in sorted((probe.get("names") or {}).items()):
        if not addresses:
            yield Problem(
                "vllm_cluster.install.index_url",
                "name-unresolved",
                f"{name}, which {host} cannot resolve",
                "a name its nodes can resolve",
                "Mend the name, or the resolver of the nodes.",
                Severity.WARNING,
            )
