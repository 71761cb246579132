# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The real vLLM takes what the plan of every topology starts, and understands it as the plan means it.

Needs a Python with vLLM in HARDENED_VLLM_PYTHON and a model directory in HARDENED_VLLM_MODEL (the lab's are taken when
there are none). Any release of the catalogue will do: the plans are made for the one that Python has.
"""

from __future__ import annotations

import copy
import json
import subprocess
from dataclasses import dataclass
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.core import InvalidDeclarationError, plan
from support.topologies import TOPOLOGIES, declaration

from .conftest import MODEL, PYTHON, ROOT, TODAY, needs_vllm, of

CHILD = ROOT / "tests/support/vllm_accepts.py"
STAGES = {"prefill": "kv_producer", "decode": "kv_consumer"}
NO_RAY = "No module named 'ray'"


@dataclass
class Process:
    """A planned process, what it was planned from, and what vLLM made of it."""

    topology: str
    cluster: dict[str, Any]
    plan: dict[str, Any]
    host: str
    part: dict[str, Any]
    answer: dict[str, Any]

    @property
    def id(self) -> str:
        return f"{self.topology}: {self.host} {self.part['name']}"


def ask(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Let one process of the real vLLM answer for all cases."""
    done = subprocess.run(
        [str(PYTHON), str(CHILD)], input=json.dumps(cases), capture_output=True, text=True, check=False, timeout=500
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("ANSWERS ")]
    assert len(lines) == 1, done.stdout[-2000:] + done.stderr[-4000:]
    answers: list[dict[str, Any]] = json.loads(lines[0].removeprefix("ANSWERS "))
    return answers


def case(argv: list[str], environment: dict[str, str]) -> dict[str, Any]:
    return {"argv": argv, "environment": environment, "model": MODEL}


@pytest.fixture(scope="session")
def processes(release: str) -> list[Process]:
    """Every process of every topology the release can have."""
    found: list[Process] = []
    for name in sorted(TOPOLOGIES):
        cluster, hosts = declaration(name)
        cluster |= of(release)
        try:
            made = plan(cluster, hosts, TODAY)
        except InvalidDeclarationError as error:
            # A connector the release does not have yet.
            assert {problem.rule for problem in error.problems} <= {"not-in-release"}, str(error)
            assert all("connector" in problem.expected for problem in error.problems), str(error)
            continue
        for host, planned in made["hosts"].items():
            found += [Process(name, cluster, made, host, part, {}) for part in planned["engines"]]
    answers = ask([case(process.part["argv"], process.part["environment"]) for process in found])
    for process, answer in zip(found, answers, strict=True):
        process.answer = answer
    return found


@needs_vllm
def test_every_process_is_taken(processes: list[Process]) -> None:
    refused = {process.id: process.answer["refused"] for process in processes if process.answer["refused"]}
    assert refused == {}
    unfit = {
        process.id: process.answer["config_error"]
        for process in processes
        # Ray is no part of the lab's environment; its processes are judged by what the parser read.
        if process.answer["config_error"] and NO_RAY not in process.answer["config_error"]
    }
    assert unfit == {}
    assert len({process.topology for process in processes}) > len(TOPOLOGIES) // 2


@needs_vllm
def test_the_server_is_understood_as_planned(processes: list[Process]) -> None:
    for process in processes:
        parsed, part = process.answer["parsed"], process.part
        assert parsed["model_tag"] == process.cluster["model"]["path"], process.id
        assert parsed["served_model_name"] == [process.cluster["model"]["name"]], process.id
        assert parsed["allowed_media_domains"] == ["media-disabled.invalid"], process.id
        assert parsed["api_key"] is None, process.id
        assert parsed["headless"] == (part["api"] is None), process.id
        if part["api"] is not None:
            assert (parsed["host"], parsed["port"]) == (part["api"]["address"], part["api"]["port"]), process.id


@needs_vllm
def test_the_place_in_the_engine_is_understood_as_planned(processes: list[Process]) -> None:
    compared = 0
    for process in processes:
        config = process.answer["config"]
        if config is None:
            continue
        compared += 1
        part, engine = process.part, {"ranks_per_node": 1, **process.cluster.get("engine", {})}
        nodes = process.plan["members"][part["group_name"]]
        head = process.plan["hosts"][nodes[0]]["addresses"]["fabric"]["ipv4"]
        ray = process.plan["hosts"][process.host]["ray"]
        members, topology = len(nodes), process.cluster["topology"]
        tensor = {
            "replicas": engine["ranks_per_node"],
            "tensor_parallel": engine["ranks_per_node"] * members,
            "pipeline_parallel": engine["ranks_per_node"],
            "data_parallel": engine.get("accelerators_per_rank", 1),
        }[topology]
        assert config["tensor_parallel_size"] == tensor, process.id
        assert config["pipeline_parallel_size"] == (members if topology == "pipeline_parallel" else 1), process.id
        if topology != "data_parallel":
            assert config["data_parallel_size"] == 1, process.id
            if members > 1 and ray is None:
                place = (config["nnodes"], config["node_rank"], config["master_addr"], config["master_port"])
                assert place == (members, part["rank"], head, 29501), process.id
            continue
        balancing = engine.get("load_balancing", "internal")
        assert config["data_parallel_size"] == engine["ranks_per_node"] * members, process.id
        assert (config["data_parallel_master_ip"], config["data_parallel_rpc_port"]) == (head, 29550), process.id
        assert config["data_parallel_hybrid_lb"] == (balancing == "hybrid"), process.id
        assert config["data_parallel_external_lb"] == (balancing == "external"), process.id
        local = 1 if balancing == "external" else engine["ranks_per_node"]
        assert config["data_parallel_size_local"] == local, process.id
        first = part["rank"] * engine["ranks_per_node"]
        if balancing == "external":
            first += int(part["name"].partition("-")[2] or 0)
        assert config["data_parallel_rank"] == first, process.id
    assert compared > 40


@needs_vllm
def test_the_connectors_are_understood_as_planned(processes: list[Process]) -> None:
    for process in processes:
        config = process.answer["config"]
        if config is None:
            continue
        transfer, cluster = config["kv_transfer_config"], process.cluster
        wanted = []
        if "transfer" in cluster:
            name = {"nixl": "NixlConnector", "mooncake": "MooncakeConnector"}[cluster["transfer"]["connector"]]
            wanted.append((name, STAGES[process.part["stage"]]))
        if "cache" in cluster:
            wanted.append(("LMCacheConnectorV1", "kv_both"))
        if not wanted:
            assert transfer is None, process.id
        elif len(wanted) == 1:
            assert (transfer["kv_connector"], transfer["kv_role"]) == wanted[0], process.id
        else:
            joined = transfer["kv_connector_extra_config"]["connectors"]
            assert transfer["kv_connector"] == "MultiConnector", process.id
            assert [(item["kv_connector"], item["kv_role"]) for item in joined] == wanted, process.id
        events = config["kv_events_config"]
        if "events" not in cluster:
            assert not (events or {}).get("enable_kv_cache_events"), process.id
        else:
            listener = next(
                item
                for item in process.plan["hosts"][process.host]["listeners"]
                if item["name"].startswith("kv-events") and item["name"][9:] == process.part["name"][6:]
            )
            # vLLM adds the data parallel rank to the port it is given.
            low = int(events["endpoint"].rpartition(":")[2]) + config["data_parallel_rank"]
            assert listener["ports"].split("-")[0] == str(low), process.id


@needs_vllm
def test_a_wrong_option_and_a_wrong_value_are_caught(processes: list[Process]) -> None:
    process = next(process for process in processes if process.topology == "tensor parallel")
    argv, environment = process.part["argv"], process.part["environment"]
    moved = copy.copy(argv)
    moved[moved.index("--master-addr") + 1] = "10.20.9.9"
    impossible = copy.copy(argv)
    impossible[impossible.index("--nnodes") + 1] = "3"
    unknown, wrong, unfit = ask(
        [case([*argv, "--kv-ip", "10.20.9.9"], environment), case(moved, environment), case(impossible, environment)]
    )
    assert "--kv-ip" in unknown["refused"]
    process.answer, kept = wrong, process.answer
    with pytest.raises(AssertionError, match="tensor parallel"):
        test_the_place_in_the_engine_is_understood_as_planned([process] * 41)
    process.answer = kept
    assert unfit["config_error"] is not None
