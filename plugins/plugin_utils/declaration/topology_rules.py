# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules on how engines are placed: what vLLM would refuse at its start, or silently do otherwise."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from .. import catalogue
from ..problems import Problem, shown
from .kinds import Report
from .model import Declaration, PortRange
from .topology_schema import CONNECTORS, STAGES

with contextlib.suppress(ImportError):  # ansible-core needs it; only the bare interpreter of ansible-test lacks it
    from packaging.version import InvalidVersion, Version

# Token authentication; older ones run code for whoever reaches them (facts 4.5).
RAY_FLOOR = "2.52.0"
RAY_SERVICES = 5
DATA_PARALLEL_ONLY = {"load_balancing": "internal", "accelerators_per_rank": 1}


def check_topology(declaration: Declaration, report: Report) -> None:
    """Report what does not fit the topology. Needs ``engine`` and ``topology`` to have been read."""
    values = declaration.values
    _check_options(values, report)
    _check_balancing(declaration, report)
    if values["engine"]["executor"] == "ray":
        _check_ray(values, report)
    _check_stages(declaration, report)
    _check_nodes(declaration, report)
    if values["release"] in catalogue.releases():
        _check_connectors(values, report)


def _check_options(values: Mapping[str, Any], report: Report) -> None:
    engine, topology = values["engine"], values["topology"]
    wrong: dict[str, str] = {}
    if topology != "data_parallel":
        wrong |= {name: "data_parallel" for name, plain in DATA_PARALLEL_ONLY.items() if engine[name] != plain}
    if topology != "replicas" and engine["engines_per_node"] != 1:
        wrong["engines_per_node"] = "replicas"
    for name, needed in wrong.items():
        report(
            Problem(
                f"vllm_cluster.engine.{name}",
                "topology-option",
                f"{shown(engine[name])} with topology {topology}",
                f"it with topology {needed} only",
                f"Leave {name} out, or choose topology {needed}.",
            )
        )
    if topology == "replicas" and engine["nodes_per_engine"] not in (None, 1):
        report(
            Problem(
                "vllm_cluster.engine.nodes_per_engine",
                "topology-option",
                f"{engine['nodes_per_engine']} with topology replicas",
                "1, because each node serves alone",
                "Leave nodes_per_engine out, or choose a topology that spans nodes.",
            )
        )


def _check_balancing(declaration: Declaration, report: Report) -> None:
    engine = declaration.values["engine"]
    if engine["load_balancing"] == "hybrid" and engine["ranks_per_node"] == 1:
        report(
            Problem(
                "vllm_cluster.engine.load_balancing",
                "balancing-unfit",
                "hybrid with one rank on each node",
                "at least 2 for ranks_per_node",
                "Choose external; vLLM would switch to it by itself.",
            )
        )
    if engine["load_balancing"] != "internal" and engine["executor"] == "ray":
        report(
            Problem(
                "vllm_cluster.engine.load_balancing",
                "balancing-unfit",
                f"{engine['load_balancing']} with executor ray",
                "internal",
                "Ray starts all ranks behind one API: choose internal, or executor mp.",
            )
        )


def _check_ray(values: Mapping[str, Any], report: Report) -> None:
    engine, install = values["engine"], values["install"]
    if values["topology"] == "replicas":
        report(
            Problem(
                "vllm_cluster.engine.executor",
                "executor-unused",
                "ray with topology replicas",
                "mp",
                "An engine on one node needs no Ray cluster: leave executor out.",
            )
        )
    for name in ("transfer", "cache", "events"):
        if values[name] is not None:
            report(
                Problem(
                    f"vllm_cluster.{name}",
                    "executor-unfit",
                    f"{name} with executor ray",
                    f"{name} with executor mp only",
                    "Ray chooses the node of each rank, so that nobody can say beforehand whose port it opens.",
                )
            )
    services = _range(engine["ray"] or {}, "service_ports", RAY_SERVICES, report)
    workers = _range(engine["ray"] or {}, "worker_ports", 100, report)
    if services is not None and workers is not None and services.low <= workers.high and workers.low <= services.high:
        report(
            Problem(
                "vllm_cluster.engine.ray.worker_ports",
                "port-collision",
                f"{workers}, which overlaps engine.ray.service_ports {services}",
                "ranges that do not overlap",
                "Move one of them.",
            )
        )
    if install is None or install["method"] != "index":
        return
    pins = {
        name.split("[")[0].lower(): version
        for name, _equal, version in (text.partition("==") for text in install["requirements"] or [])
    }
    found = pins.get("ray")
    if found is None or not _at_least(found):
        report(
            Problem(
                "vllm_cluster.install.requirements",
                "ray-unsafe",
                "no ray" if found is None else f"ray=={found}",
                f"ray=={RAY_FLOOR} or newer",
                "Older releases know no token authentication and run code for whoever reaches them.",
            )
        )


def _range(ports: Mapping[str, Any], name: str, least: int, report: Report) -> PortRange | None:
    if ports.get(name) is None:
        return None
    try:
        found = PortRange.parse(ports[name])
    except ValueError:
        found = PortRange(1, 0)
    if found.high - found.low + 1 >= least:
        return found
    report(
        Problem(
            f"vllm_cluster.engine.ray.{name}",
            "out-of-range",
            shown(ports[name]),
            f"a range of at least {least} ports between 1 and 65535, low to high",
            "Mend the range.",
        )
    )
    return None


def _at_least(text: str) -> bool:
    try:
        return Version(text) >= Version(RAY_FLOOR)
    except InvalidVersion:
        return False


def _check_stages(declaration: Declaration, report: Report) -> None:
    engines = declaration.with_role("engine")
    if declaration.values["transfer"] is None:
        for host in engines:
            if host.stage is not None:
                report(
                    Problem(
                        f"hosts.{host.name}.vllm_node.stage",
                        "stage-unused",
                        host.stage,
                        "a stage with vllm_cluster.transfer only",
                        "Declare transfer, or remove the stage.",
                    )
                )
        return
    for host in engines:
        if host.stage is None:
            report(
                Problem(
                    f"hosts.{host.name}.vllm_node.stage",
                    "stage-missing",
                    "nothing",
                    " or ".join(STAGES),
                    "With transfer every engine host does one of them: say which.",
                )
            )
    for stage in STAGES:
        if engines and all(host.stage is not None for host in engines) and not any(h.stage == stage for h in engines):
            report(
                Problem(
                    "vllm_cluster.transfer",
                    "stage-empty",
                    f"no host for {stage}",
                    f"at least one engine host with stage {stage}",
                    "Requests need both stages: set vllm_node.stage.",
                )
            )


def _check_nodes(declaration: Declaration, report: Report) -> None:
    size = declaration.values["engine"]["nodes_per_engine"]
    if size is None or declaration.values["topology"] == "replicas":
        return
    for stage in (None, *STAGES):
        count = sum(host.stage == stage for host in declaration.with_role("engine"))
        if count % size:
            what = "engine hosts" if stage is None else f"hosts for {stage}"
            report(
                Problem(
                    "vllm_cluster.engine.nodes_per_engine",
                    "nodes-uneven",
                    f"{count} {what} for engines of {size} nodes",
                    f"a multiple of {size}",
                    "Add or remove hosts, or change nodes_per_engine.",
                )
            )


def _check_connectors(values: Mapping[str, Any], report: Report) -> None:
    wanted = {}
    if values["transfer"] is not None and values["transfer"]["connector"] is not None:
        wanted["transfer.connector"] = CONNECTORS[values["transfer"]["connector"]]
    if values["cache"] is not None:
        wanted["cache"] = "LMCacheConnectorV1"
    known = catalogue.connectors("kv", values["release"])
    for path, name in wanted.items():
        if name not in known:
            report(
                Problem(
                    f"vllm_cluster.{path}",
                    "not-in-release",
                    name,
                    f"a connector vLLM {values['release']} has: {', '.join(sorted(known))}",
                    "Choose another release or another connector.",
                )
            )
