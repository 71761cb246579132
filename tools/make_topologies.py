# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pages of topologies: docs/topologies.md lists them, docs/topologies/ has one each with its whole inventory."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import plan
from ansible_collections.hardened.vllm.plugins.plugin_utils.inventory import clusters
from support.documents import hosts_of
from support.topologies import TOPOLOGIES, declaration

TODAY = datetime.date(2026, 11, 23)
OPTIONS = ("--tensor-", "--pipeline-", "--data-parallel", "--nnodes", "--node-rank", "--master", "--headless")
OPTIONS += ("--distributed", "--kv-", "--port")
GROUPS = {"engine": "vllm_nodes", "gateway": "vllm_gateways"}
INTRODUCTION = """\
# Topologies

Made from the declarations the tests plan (`tests/support/topologies.py`); the real `vllm serve` of 0.12.0, 0.22.1 and
0.32.0 takes every one of them (`make test` asks 0.32.0, `make acceptance` the older two). Each page has a whole inventory
with four engine hosts, which works with any number that comes out even, a picture of who talks to whom, and every port.
Everything else is closed. What a page leaves out of `vllm_cluster` has its [default](declaration.md).

The lab runs replicas, data parallel (internal) and tensor parallel over two nodes with real engines on CPU. The others
were planned, linted and read by vLLM's own parser and configuration, and not run: they need accelerators, Ray, or
connectors that are built for them.

| topology | is |
|---|---|
"""
MEANING = {
    "replicas": "each host serves alone; the gateway spreads requests",
    "several engines on a node": "each host runs several engines, each on accelerators and a port of its own",
    "tensor parallel": "one engine; every layer is split over all hosts",
    "tensor parallel twice": "two engines, each with its layers split over two hosts",
    "pipeline parallel": "one engine; each host has some of the layers",
    "data parallel, internal": "one engine with one API; each host has whole copies of the model (ranks)",
    "data parallel, split ranks": "the same, with each rank split over several accelerators",
    "data parallel, hybrid": "one engine with an API on each host, which spreads over its own ranks",
    "data parallel, external": "one engine with an API for each rank; the gateway spreads (mixture-of-experts models only)",
    "tensor parallel, ray": "tensor parallel, with workers started by a Ray cluster",
    "pipeline parallel, ray": "pipeline parallel, with workers started by a Ray cluster",
    "data parallel, ray": "data parallel, with workers started by a Ray cluster",
    "disaggregated, nixl": "prefill and decode on hosts of their own, KV caches moved by NIXL",
    "disaggregated, several engines on a node": "the same, with several engines on each host",
    "disaggregated, data parallel, nixl": "prefill and decode, each data parallel over its hosts",
    "disaggregated, mooncake": "prefill and decode, KV caches moved by Mooncake",
    "disaggregated, tensor parallel, mooncake": "prefill and decode, each with its layers split over its hosts",
    "cache": "replicas that keep KV caches outside of the accelerator with LMCache, and share them by its server",
    "disaggregated with cache": "prefill and decode, with LMCache on each host",
    "events": "data parallel, with events of the KV cache for subscribers you name",
    "events of several engines": "the same with several engines on each host",
}


def inventory(name: str) -> dict[str, Any]:
    """Return an inventory with four engine hosts and a gateway that gives topology ``name``."""
    cluster, hosts = declaration(name, (1, 2, 3, 4))
    cluster["secrets_directory"] = "{{ inventory_dir }}/secrets"
    cluster["gateway"]["tls"] = {part: f"{{{{ inventory_dir }}}}/tls/{part}.pem" for part in ("certificate", "key")}
    cluster["networks"]["fabric"]["cidrs"] = ["10.20.0.0/16"]
    groups: dict[str, Any] = {}
    for host, facts in hosts.items():
        addresses = {net: [one for one in own if ":" not in one] for net, own in facts["node"]["addresses"].items()}
        stage = {"stage": facts["node"]["stage"]} if "stage" in facts["node"] else {}
        told = {"ansible_host": addresses["management"][0], "vllm_node": {**stage, "addresses": addresses}}
        groups.setdefault(GROUPS[facts["roles"][0]], {"hosts": {}})["hosts"][host] = told
    return {"all": {"vars": {"vllm_cluster": cluster}, "children": groups}}


def planned(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plan of the one cluster of an inventory; ValueError when there is a problem with it."""
    found, problems = clusters(*hosts_of(given))
    if problems or len(found) != 1:
        raise ValueError(f"{len(found)} clusters, {problems}")
    (cluster,) = found.values()
    return plan(cluster["declaration"], cluster["hosts"], TODAY)


def _interesting(argv: list[str]) -> Iterator[str]:
    shown = False
    for word in argv:
        if word.startswith("--"):
            shown = word.startswith(OPTIONS)
        if shown:
            yield f"'{word}'" if word.startswith("{") else word


def _arrows(host: Mapping[str, Any]) -> tuple[str, ...]:
    listeners = [item for item in host["listeners"] if item["name"] != "ssh"]
    return tuple(f"    ^ {item['name']} {item['ports']}, from {', '.join(item['from'])}" for item in listeners)


def _picture(made: Mapping[str, Any]) -> Iterator[str]:
    """Yield lines: hosts that are called alike together, and below them each port with who calls it."""
    alike: dict[tuple[str, ...], list[str]] = {}
    for name in sorted(made["hosts"], key=lambda one: (not made["hosts"][one]["gateway"], one)):
        alike.setdefault(_arrows(made["hosts"][name]), []).append(name)
    for arrows, names in alike.items():
        yield from (f"[{'] ['.join(names)}]", *arrows, "")


def _members(made: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the sources of the picture are, by host where they are hosts."""
    hosts = {
        address: name
        for name, host in made["hosts"].items()
        for own in host["addresses"].values()
        for address in own.values()
    }
    listeners = (item for host in made["hosts"].values() for item in host["listeners"] if item["name"] != "ssh")
    for name in sorted({who for item in listeners for who in item["from"]} - {"everyone"}):
        blocks = (one for family in made["sets"][name].values() for one in family)
        yield f"- {name}: {', '.join(dict.fromkeys(hosts.get(one, one) for one in blocks)) or 'nobody'}"


def page_of(name: str) -> str:
    """Return the page of one topology."""
    given = inventory(name)
    made = planned(given)
    lines = [f"# {name[0].upper()}{name[1:]}", "", f"{MEANING[name][0].upper()}{MEANING[name][1:]}.", "", "```yaml"]
    lines.append(yaml.safe_dump(given, sort_keys=False, default_flow_style=None, width=110).rstrip())
    lines += ["```", "", "## Who talks to whom", "", "```text", *list(_picture(made))[:-1], "```", ""]
    lines += [*_members(made), "", "SSH is open to `admin.ssh_from` on every host.", "", "## Ports", ""]
    lines += ["| host | listener | ports | bound to | open to |", "|---|---|---|---|---|"]
    for host in sorted(made["hosts"]):
        for item in made["hosts"][host]["listeners"]:
            lines.append(f"| {host} | {item['name']} | {item['ports']} | {item['bind']} | {', '.join(item['from'])} |")
    lines += ["", "## What vLLM is told", ""]
    for host in ("engine1", "engine2"):
        for part in made["hosts"][host]["engines"][:2]:
            lines.append(f"- {host}, `{part['name']}`: `{' '.join(_interesting(part['argv']))}`")
        if made["hosts"][host]["ray"] is not None:
            lines.append(f"- {host}, Ray: `ray {' '.join(made['hosts'][host]['ray']['argv'])}`")
    return "\n".join([*lines, "", "[All topologies](../topologies.md)"]) + "\n"


def slug(name: str) -> str:
    """Return the name of a topology's page, without its ending."""
    return re.sub(r"[^a-z]+", "-", name)


def pages() -> dict[str, str]:
    """Return the pages by their path below docs."""
    rows = (f"| [{name}](topologies/{slug(name)}.md) | {MEANING[name]} |" for name in TOPOLOGIES)
    index = INTRODUCTION + "\n".join(rows) + "\n"
    return {"topologies.md": index, **{f"topologies/{slug(name)}.md": page_of(name) for name in TOPOLOGIES}}
