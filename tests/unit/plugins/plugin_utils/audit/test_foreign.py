# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A host nobody planned: whatever started vLLM there, it is judged as it is."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.checks import settings
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.judge import judge
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.lint import lint
from ansible_collections.hardened.vllm.plugins.plugin_utils.report.audit.formats import FORMATS
from support import audit

ADDRESS = "10.9.0.5"
EMPTY = "sha256:" + hashlib.sha256(b"").hexdigest()
OWNER = {"pid": 9, "name": "vllm", "uid": 0, "user": "root", "unit": None, "container": None, "kind": "vllm"}


def process(argv: list[str], **changes: Any) -> dict[str, Any]:
    base = audit.process(
        audit.plan(),
        {"name": "x", "argv": [], "environment": {}, "user": "root", "unit": None, "secret_arguments": {}},
    )
    started = {"argv": argv, "unit": None, "uid": 0, "user": "root", "environment": {}, "seccomp": 0}
    return {**base, **started, "versions": {"vllm": "0.19.1"}, **changes}


def evidence(*processes: dict[str, Any], open_ports: tuple[int, ...] = (), **facts: Any) -> dict[str, Any]:
    base = audit.host_evidence(audit.plan(), "gateway1")
    host = {**base, "host": "found1", "listeners": [], "nftables": [], "units": {}, "files": [], "users": []}
    host |= {"processes": list(processes), "addresses": {ADDRESS: "eth0"}, **facts}
    seen = {"format": 1, "kind": "reach", "observer": "controller", "standing": "controller", "sources": ["10.9.0.1"]}
    reached = [audit.row("found1", ADDRESS, sorted(open_ports))]
    reach = [{**seen, "taken": audit.TAKEN, "seconds": 1.0, "reached": reached, "unknown": []}]
    return {"format": 1, "taken": audit.TAKEN, "hosts": {"found1": host}, "reach": reach, "routes": [], "missing": []}


def judged(given: dict[str, Any]) -> dict[str, Any]:
    return judge(given, {}, [], {}, audit.TODAY)  # type: ignore[arg-type]


def rules(result: dict[str, Any]) -> set[str]:
    return {one["rule"] for one in result["findings"] if one["rule"]}


def controls(result: dict[str, Any]) -> set[str]:
    return {one["control"] for one in result["findings"]}


DEFAULT = ["/usr/bin/python3", "/usr/local/bin/vllm", "serve", "some-org/some-model"]


def test_a_server_as_its_own_docs_start_it() -> None:
    found = evidence(
        process(DEFAULT), open_ports=(22, 8000), listeners=[audit.socket("tcp", "0.0.0.0", 8000, dict(OWNER))]
    )
    result = judged(found)
    assert {"arg-host", "api-key", "env-media-redirects", "release-old"} <= rules(result)
    assert {"OUT-03", "ENG-17", "ENG-06", "ENG-05", "VER-01"} <= controls(result)
    exposed = [one for one in result["findings"] if one["control"] == "OUT-03"]
    assert [one["found"] for one in exposed] == ["tcp 8000 open, a socket of vllm"]
    assert result["verdict"]["word"] == "failed"


@pytest.mark.parametrize(
    ("argv", "environment", "rule"),
    [
        ([*DEFAULT, "--host", "0.0.0.0"], {}, "arg-host"),
        ([*DEFAULT, "--api-key", "sha256:" + "ab" * 32], {}, "arg-api-key"),
        ([*DEFAULT, "--api-key", EMPTY], {}, "api-key-empty"),
        ([*DEFAULT, "--root-path", "/"], {}, "arg-root-path"),
        ([*DEFAULT, "--profiler-config.profiler", "torch"], {}, "arg-profiler"),
        (
            ["python3", "-m", "vllm.entrypoints.openai.api_server", "--model", "m", "--trust-remote-code"],
            {},
            "arg-remote-code",
        ),
        (DEFAULT, {"VLLM_SERVER_DEV_MODE": "1"}, "env-dev-mode"),
        (DEFAULT, {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}, "env-runtime-lora"),
        (DEFAULT, {"VLLM_NIXL_SIDE_CHANNEL_HOST": "0.0.0.0"}, "env-side-channel"),
    ],
)
def test_the_linter_judges_what_runs(argv: list[str], environment: dict[str, str], rule: str) -> None:
    clean = rules(judged(evidence(process(DEFAULT, environment={"VLLM_API_KEY": "sha256:" + "cd" * 32}))))
    assert rule in rules(judged(evidence(process(argv, environment=environment))))
    assert rule not in clean or rule in ("arg-host",)


def test_what_starts_it_names_it() -> None:
    container = "ab" * 32
    places = {
        one["place"].rpartition(" of ")[2] or one["place"]
        for given in (
            process([*DEFAULT, "--port", "8001"]),
            process(DEFAULT, container=container),
            process(DEFAULT, unit="vllm.service"),
            process(DEFAULT, unit="session-3.scope"),
        )
        for one in judged(evidence(given))["findings"]
        if one["rule"] == "arg-host"
    }
    assert places == {
        "vllm started by hand, port 8001",
        "container abababababab, vllm",
        "vllm.service",
        "vllm started by hand",
    }


def test_ray_without_a_token_and_with_a_dashboard_for_everybody() -> None:
    raylet = process(["/usr/lib/ray/raylet"], kind="ray", versions={"ray": "2.40.0"})
    dashboard = process(["python", "dashboard.py"], kind="ray-dashboard", environment={"RAY_AUTH_MODE": "token"})
    shown = audit.socket("tcp", "0.0.0.0", 8265, {**OWNER, "kind": "ray-dashboard"})
    result = judged(evidence(raylet, dashboard, listeners=[shown], open_ports=(8265,)))
    assert {"ray-auth", "ray-dashboard"} <= rules(result)
    assert {"ENG-14", "OUT-03", "VER-01"} <= controls(result)
    quiet = evidence(
        process(["raylet"], kind="ray", environment={"RAY_AUTH_MODE": "token"}, versions={"ray": "2.99.0"})
    )
    assert "ENG-14" not in controls(judged(quiet))


def test_ports_that_look_like_vllm_count_when_nobody_looked_inside() -> None:
    found = evidence(open_ports=(8265, 12345), listeners=None)
    assert {one["place"] for one in judged(found)["findings"] if one["control"] == "OUT-03"} == {
        f"tcp 8265 at {ADDRESS}, controller (controller)"
    }


def test_no_mend_on_a_foreign_host_is_one_of_this_collection() -> None:
    """ENG-17 sent an operator to drop-ins of a unit that was never ours, and to a playbook that does not know the host."""
    ray = process(["/usr/lib/ray/raylet"], kind="ray", versions={"ray": "2.40.0"})
    device = [{"name": "mlx5_0"}]
    result = judged(evidence(process(DEFAULT, capabilities="1ff", no_new_privileges=False), ray, rdma_devices=device))
    own = [one for one in result["findings"] if not one["rule"]]
    assert {"ENG-17", "VER-01", "NET-13"} <= {one["control"] for one in own}
    words = ("playbook", "drop-in", "declare", "networks.fabric")
    assert [one["message"] for one in own if any(word in one["remedy"].lower() for word in words)] == []


def test_routes_that_run_without_a_key() -> None:
    found = evidence(process(DEFAULT))
    answers = [
        audit.answer("found1", ADDRESS, 8000, "POST", "/invocations", status=400),
        audit.answer("found1", ADDRESS, 8000, "GET", "/metrics", status=200),
        audit.answer("found1", ADDRESS, 8000, "POST", "/v1/chat/completions", status=401),
        audit.answer("found1", ADDRESS, 8000, "POST", "/collective_rpc", status=404, headers={"server": "uvicorn"}),
    ]
    seen = {"format": 1, "kind": "routes", "observer": "controller", "standing": "controller", "taken": audit.TAKEN}
    found["routes"] = [{**seen, "seconds": 1.0, "endpoints": [], "answers": answers, "unknown": []}]
    result = judged(found)
    keyless = {one["place"]: one["severity"] for one in result["findings"] if one["control"] == "OUT-02"}
    assert set(keyless) == {f"POST /invocations at {ADDRESS} port 8000", f"GET /metrics at {ADDRESS} port 8000"}
    assert [one["control"] for one in result["findings"] if one["control"] == "OUT-01"] == ["OUT-01"]


def test_an_empty_host_has_nothing_wrong_and_says_so() -> None:
    result = judged(evidence(open_ports=(22,)))
    assert result["findings"] == []
    assert {one["outcome"] for one in result["outcomes"]} <= {"passed", "not applicable"}
    assert result["verdict"]["sentence"] == "Passed: 0 errors and 0 warnings on 1 host; every control was checked."


def test_nothing_at_all_is_no_pass() -> None:
    nothing = {"format": 1, "taken": audit.TAKEN, "hosts": {}, "reach": [], "routes": [], "missing": []}
    assert judged(nothing)["verdict"] == {"sentence": "Nothing was looked at.", "worst": "none", "word": "not checked"}


def test_no_secret_is_in_any_report() -> None:
    planted = {
        "argv": "sk-planted-000011112222333344445555",
        "environment": "hf_planted00001111222233334444",
        "address": "planted-password",
        "unit": "planted-secret-0000-1111",
    }
    argv = [
        *DEFAULT,
        "--served-model-name",
        planted["argv"],
        "--otlp-traces-endpoint",
        f"http://u:{planted['address']}@c",
    ]
    shared = f"/dev/shm/{planted['environment']}"  # noqa: S108 - the unsafe place is the point
    environment = {"VLLM_CACHE_ROOT": shared, "VLLM_HOST_IP": planted["unit"]}
    digests = {hashlib.sha256(value.encode()).hexdigest(): name for name, value in planted.items()}
    result = judge(evidence(process(argv, environment=environment)), {}, [], digests, audit.TODAY)  # type: ignore[arg-type]
    for name, render in FORMATS.items():
        text = render(result)
        for value in planted.values():
            assert value not in text, (name, value)
    # They were there to be shown: the linter's own findings have two of them.
    assert {"env-cache-shared", "arg-tracing"} <= rules(result)
    (linted,) = [one for one in lint(argv[2:], environment) if one.rule == "env-cache-shared"]
    assert planted["environment"] in linted.found


def test_long_digests_are_cut() -> None:
    result = judged(evidence(process([*DEFAULT, "--api-key", "sha256:" + "ab" * 32])))
    assert "ab" * 32 not in json.dumps(result)


def test_a_command_line_that_starts_no_server_is_said() -> None:
    assert settings.words(["vllm-something", "--x"]) is None
    result = judged(evidence(process(["VLLM::EngineCore"])))
    states = {one["control"]: one["outcome"] for one in result["outcomes"]}
    assert states["ENG-01"] == "not checked"
