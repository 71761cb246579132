# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of topologies, docs/topologies.md: what to declare for each, and what the plan makes of it."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import plan
from support.topologies import TOPOLOGIES, declaration

TODAY = datetime.date(2026, 11, 23)
OPTIONS = ("--tensor-", "--pipeline-", "--data-parallel", "--nnodes", "--node-rank", "--master", "--headless")
OPTIONS += ("--distributed", "--kv-", "--port")
INTRODUCTION = """\
# Topologies

Made from the declarations the tests plan (`tests/support/topologies.py`); the real `vllm serve` of 0.12.0, 0.22.1 and
0.32.0 takes every one of them (`make test` asks 0.32.0, `make acceptance` the older two). Each has four engine hosts
here and works with any number that comes out even. What is declared is said in addition to the rest of `vllm_cluster`;
the listeners are those of the first engine host, all on the fabric. Everything else is closed.

The lab runs replicas, data parallel (internal) and tensor parallel over two nodes with real engines on CPU. The others
were planned, linted and read by vLLM's own parser and configuration, and not run: they need accelerators, Ray, or
connectors that are built for them.
"""


def _interesting(argv: list[str]) -> Iterator[str]:
    shown = False
    for word in argv:
        if word.startswith("--"):
            shown = word.startswith(OPTIONS)
        if shown:
            yield f"'{word}'" if word.startswith("{") else word


def _section(name: str, changed: Mapping[str, Any]) -> str:
    cluster, hosts = declaration(name)
    made = plan(cluster, hosts, TODAY)
    declared = {key: value for key, value in changed.items() if key != "stages"}
    lines = [f"## {name[0].upper()}{name[1:]}", "", "```yaml"]
    lines.append(
        yaml.safe_dump({"vllm_cluster": declared}, sort_keys=False, default_flow_style=None, width=120).rstrip()
    )
    lines.append("```")
    if "stages" in changed:
        lines += ["", "Each engine host also says `vllm_node: {stage: prefill}` or `{stage: decode}`."]
    first, second = (made["hosts"][host] for host in ("engine11", "engine12"))
    lines.append("")
    for title, host in (("first", first), ("second", second)):
        for part in host["engines"][:2]:
            lines.append(f"- {title} host, `{part['name']}`: `{' '.join(_interesting(part['argv']))}`")
        if host["ray"] is not None:
            lines.append(f"- {title} host, Ray: `ray {' '.join(host['ray']['argv'])}`")
    lines += ["", "| listener | ports | bound to | open to |", "|---|---|---|---|"]
    for item in first["listeners"]:
        if item["name"] != "ssh":
            lines.append(f"| {item['name']} | {item['ports']} | {item['bind']} | {', '.join(item['from'])} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """Return docs/topologies.md."""
    return "\n".join([INTRODUCTION, *(_section(name, changed) for name, changed in TOPOLOGIES.items())])
