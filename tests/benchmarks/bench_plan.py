# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How long a declaration takes from the inventory to the plan, by number of nodes, and how much memory.

Each row is measured in a process of its own, so that its peak memory is its own. "facts" is what every host carries
besides, which must make no difference.

Usage: PYTHONPATH=.cache:tests python tests/benchmarks/bench_plan.py [NUMBER ...]
"""

from __future__ import annotations

import datetime
import itertools
import json
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

from ansible_collections.hardened.vllm.plugins.plugin_utils.core import plan, validate
from ansible_collections.hardened.vllm.plugins.plugin_utils.inventory import clusters
from support.topologies import declaration

ROUNDS = 3
FACTS = 2_000
TODAY = datetime.date(2026, 11, 23)
TOPOLOGIES = ("replicas", "tensor parallel twice", "data parallel, internal")
HEADER = (
    "| topology | nodes | facts | clusters, s | validate, s | plan, s | all, s of CPU (median, min-max) | peak memory, MiB |"
    "\n|---|---|---|---|---|---|---|---|"
)


def inventory(name: str, number: int, facts: int) -> tuple[dict[str, list[str]], dict[str, dict[str, Any]]]:
    """Return groups and variables of an inventory of ``number`` engine hosts, each with ``facts`` facts."""
    cluster, hosts = declaration(name, range(1, number + 1))
    groups = {"vllm_nodes": [host for host in hosts if host != "gateway1"], "vllm_gateways": ["gateway1"]}
    variables = {
        host: {
            "vllm_cluster": cluster,
            "vllm_node": part["node"],
            "ansible_facts": {f"fact{fact}": f"{host} {fact}" for fact in range(facts)},
        }
        for host, part in hosts.items()
    }
    return groups, variables


def once(name: str, number: int, facts: int) -> dict[str, float]:
    """Return the seconds of CPU of each stage, and the peak memory of this process in MiB."""
    groups, variables = inventory(name, number, facts)
    marks = [time.process_time()]
    found, problems = clusters(groups, variables)
    marks.append(time.process_time())
    part = found["chat"]
    errors = [
        problem for problem in validate(part["declaration"], part["hosts"], TODAY) if problem.severity.name == "ERROR"
    ]
    marks.append(time.process_time())
    made = plan(part["declaration"], part["hosts"], TODAY)
    marks.append(time.process_time())
    assert not problems
    assert not errors
    assert len(made["hosts"]) == number + 1
    stages = dict(zip(("clusters", "validate", "plan"), (b - a for a, b in itertools.pairwise(marks)), strict=True))
    return {**stages, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}


def row(name: str, number: int, facts: int) -> str:
    """Return a row of the table, each round in a process of its own."""
    command = [sys.executable, __file__, "--once", name, str(number), str(facts)]
    rounds = [json.loads(subprocess.check_output(command, text=True)) for _round in range(ROUNDS)]
    whole = [found["clusters"] + found["validate"] + found["plan"] for found in rounds]
    stages = " | ".join(
        f"{statistics.median(found[stage] for found in rounds):.2f}" for stage in ("clusters", "validate", "plan")
    )
    spread = f"{statistics.median(whole):.2f} ({min(whole):.2f}-{max(whole):.2f})"
    memory = statistics.median(found["memory"] for found in rounds)
    return f"| {name} | {number} | {facts} | {stages} | {spread} | {memory:.0f} |"


def main() -> None:
    """Print the table for the numbers given, 100, 1,000 and 10,000 when there are none."""
    if sys.argv[1:2] == ["--once"]:
        print(json.dumps(once(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
        return
    print(HEADER)
    numbers = [int(word) for word in sys.argv[1:]] or [100, 1000, 10_000]
    for name in TOPOLOGIES:
        for number in numbers:
            print(row(name, number, 0), flush=True)
    print(row(TOPOLOGIES[0], 1000, FACTS), flush=True)


if __name__ == "__main__":
    main()
