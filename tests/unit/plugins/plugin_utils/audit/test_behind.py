# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who answers on a port: followed into real network namespaces, by the rules nft really prints."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.modules import audit_host
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit import questions
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.checks.behind import behind
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.judge import judge
from support import audit

SERVER = Path(__file__).resolve().parents[5] / "molecule/audit/files/foreign_vllm.py"
ADDRESS, OUTSIDE = "10.233.251.2", "192.0.2.60"
RULES = f"""table ip nat {{
    chain PREROUTING {{ type nat hook prerouting priority dstnat; policy accept; fib daddr type local jump DOCKER; }}
    chain DOCKER {{
        iifname != "docker0" tcp dport 9000 dnat to {ADDRESS}:8000
        tcp dport 9100-9101 dnat to 10.233.251.3:8000
        dnat to tcp dport map {{ 9200 : {ADDRESS} }}
        tcp dport 9300 redirect to :8000
    }}
}}"""
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("nft", path="/usr/sbin:/usr/bin") is None, reason="namespaces and nft need root"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The process of a vLLM on port 8000 of a network namespace of its own."""
    script = tmp_path_factory.mktemp("venv") / "vllm"
    shutil.copy(SERVER, script)
    inside = (
        f"ip link set lo up; ip address add {ADDRESS}/32 dev lo; exec {sys.executable} {script} serve m --port 8000"
    )
    with subprocess.Popen(["unshare", "--net", "sh", "-c", inside]) as process:
        try:
            for _attempt in range(100):
                if ":1F40 " in Path(f"/proc/{process.pid}/net/tcp").read_text():
                    break
                time.sleep(0.1)
            yield process.pid
        finally:
            process.kill()


@pytest.fixture(scope="module")
def found(server: int) -> dict[str, Any]:
    """What is seen of this host, with rules that publish ports; other servers of this machine are left out."""
    seen = audit_host.collect({"paths": [], "trees": [], "sysctl": [], "packages": []})
    script = f'nft -f /dev/fd/3 3<<"END"\n{RULES}\nEND\nnft -j list ruleset'
    rules = subprocess.run(["unshare", "--net", "bash", "-euc", script], capture_output=True, text=True, check=True)
    seen["nftables"] = json.loads(rules.stdout)["nftables"]
    (number,) = [one["namespace"] for one in seen["processes"] if one["pid"] == server]
    own = {"id": 0, "host": True, "processes": 1, "pid": 1, "containers": [], "addresses": [OUTSIDE]}
    seen["namespaces"] = [own, *(one for one in seen["namespaces"] if one["id"] == number)]
    seen["listeners"] = [one for one in seen["listeners"] if one["namespace"] == number]
    seen["processes"] = [one for one in seen["processes"] if one["pid"] == server]
    return seen


def test_the_namespace_is_seen_with_its_address_and_its_server(found: dict[str, Any], server: int) -> None:
    (inside,) = [one for one in found["namespaces"] if not one["host"]]
    assert inside["addresses"] == [ADDRESS]
    assert [(one["port"], one["processes"][0]["pid"]) for one in found["listeners"]] == [(5600, server), (8000, server)]


@pytest.mark.parametrize(("port", "answers"), [
    (9000, True),  # published under another number
    (9100, False),  # leads to an address nobody has
    (9200, False),  # leads into the namespace, to a port nobody listens on
    (9300, False),  # leads to the host's own port, which nobody listens on
    (8000, True),  # nothing says who answers: published without nftables
    (8001, False),
])  # fmt: skip
def test_a_port_is_followed_to_who_answers(found: dict[str, Any], server: int, port: int, answers: bool) -> None:
    assert [owner["pid"] for owner in behind(found, OUTSIDE, port)] == ([server] if answers else [])


def test_a_server_of_the_host_comes_before_a_container_with_the_same_port(found: dict[str, Any]) -> None:
    owner = {"pid": 7, "name": "nginx", "uid": 0, "user": "root", "unit": None, "container": None, "kind": None}
    listener = {**audit.socket("tcp", "0.0.0.0", 8000, owner), "namespace": 0}
    host = {**found, "listeners": [*found["listeners"], listener]}
    assert [one["pid"] for one in behind(host, OUTSIDE, 8000)] == [7]
    assert [one["pid"] for one in behind(host, OUTSIDE, 9300)] == [7]


def test_what_is_published_is_found_and_asked(found: dict[str, Any]) -> None:
    """By its number, 9000 is nothing of vLLM's: it was open to everybody, and nobody said so."""
    seen = {"format": 1, "kind": "reach", "observer": "o", "standing": "observer", "sources": ["192.0.2.7"]}
    reach = {**seen, "taken": audit.TAKEN, "seconds": 1.0, "reached": [audit.row("h", OUTSIDE, [9000])], "unknown": []}
    parts: dict[str, Any] = {"format": 1, "taken": audit.TAKEN, "routes": [], "missing": []}
    result = judge({**parts, "hosts": {"h": found}, "reach": [reach]}, {}, [], {}, audit.TODAY)  # type: ignore[typeddict-item]
    exposed = [(one["place"], one["found"]) for one in result["findings"] if one["control"] == "OUT-03"]
    assert exposed == [(f"tcp 9000 at {OUTSIDE}, o (observer)", "tcp 9000 open, a socket of vllm")]
    asked = questions.asks("o", {"h": found}, {}, [reach])
    assert [(one["port"], one["ask"]) for one in asked["endpoints"]] == [(9000, ["vllm"])]
