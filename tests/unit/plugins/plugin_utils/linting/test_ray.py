# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ray nodes in scripts, in groups of pods and behind Ray Serve."""

from __future__ import annotations

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.artefacts import lint_text
from ansible_collections.hardened.vllm.plugins.plugin_utils.problems import Severity

from .conftest import ruled, seen

OPEN = {"ray-auth", "ray-dashboard"}


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("ray start --head --dashboard-host 0.0.0.0", OPEN),
        ("ray start --head --dashboard_host=0.0.0.0", OPEN),
        ("sudo -u ray /opt/ray/bin/ray start --head --dashboard-host '::'", OPEN),
        ("ray start --head --dashboard-host 0.0.0.0 --include-dashboard=false", {"ray-auth"}),
        ("ray start --head --node-ip-address 0.0.0.0 --include-dashboard=false", OPEN),
        ("ray start --head --node-ip-address 8.8.4.4", OPEN | {"ray-dashboard-on"}),
        ("ray start --head --dashboard-host 127.0.0.1", {"ray-auth"}),
        ("ray start --address 10.0.0.1:6379", {"ray-auth"}),
        ("RAY_AUTH_MODE=token ray start --address 10.0.0.1:6379", set()),
        ("env RAY_AUTH_MODE=token ray start --address 10.0.0.1:6379", set()),
        ("export RAY_AUTH_MODE=disabled\nray start --address 10.0.0.1:6379", {"ray-auth"}),
        ("bash /vllm-workspace/multi-node-serving.sh leader --ray_cluster_size=2", {"ray-auth", "ray-dashboard-on"}),
        ("bash multi-node-serving.sh worker --ray_address=$HEAD", {"ray-auth"}),
        ("bash run_cluster.sh vllm/vllm-openai 10.0.0.1 --head /models", {"ray-auth", "ray-dashboard-on"}),
        ("bash run_cluster.sh img 10.0.0.1 --worker /models -e RAY_AUTH_MODE=token", set()),
        ("echo ray start --head --dashboard-host 0.0.0.0", set()),
        ("ray stop\nray status", set()),
    ],
)
def test_nodes_started_by_hand(text: str, rules: set[str]) -> None:
    assert {rule for rule in ruled(text, "script") if rule.startswith("ray-")} == rules


def test_a_mode_that_may_be_in_a_file_nobody_has_is_a_warning() -> None:
    unit = "[Service]\nEnvironmentFile=/etc/ray.env\nExecStart=/usr/bin/ray start --address 10.0.0.1:6379\n"
    (finding,) = [finding for finding in lint_text(unit, "systemd") if finding.rule == "ray-auth"]
    assert finding.severity == Severity.WARNING
    assert "environment can be seen" in finding.found
    assert (2, "unresolved") in seen(unit, "systemd")


CLUSTER = """\
apiVersion: ray.io/v1
kind: RayCluster
metadata: {name: chat}
spec:
  headGroupSpec:
    rayStartParams: {num-gpus: "0"}
    template:
      spec:
        containers: [{name: head, image: vllm/vllm-openai:v0.32.0}]
  workerGroupSpecs:
    - groupName: gpu
      rayStartParams: {}
      template:
        spec:
          containers: [{name: worker, image: vllm/vllm-openai:v0.32.0, securityContext: {privileged: true}}]
"""


def test_pods_of_a_cluster_start_ray_and_not_what_their_image_starts() -> None:
    rules = ruled(CLUSTER)
    # The operator opens the dashboard where nothing is said.
    assert rules >= OPEN | {"privileged"}
    assert not {rule for rule in rules if rule.startswith(("arg-", "api-key", "env-"))}


def test_what_workers_of_vllm_are_given_counts_on_every_node() -> None:
    old = CLUSTER.replace("v0.32.0", "v0.11.0").replace(
        "{name: worker,", "{name: worker, env: [{name: VLLM_ALLOW_INSECURE_SERIALIZATION, value: '1'}],"
    )
    assert seen(old) >= {(9, "release-old"), (15, "release-old"), (15, "env-insecure-serialization")}
    assert ruled(old) >= {"network-policy"}
    other = CLUSTER.replace("vllm/vllm-openai:v0.32.0", "rayproject/ray:2.56.0")
    assert "network-policy" not in ruled(other)


def test_what_a_cluster_may_say_about_its_head() -> None:
    closed = CLUSTER.replace('num-gpus: "0"', 'dashboard-host: "127.0.0.1"')
    assert "ray-dashboard" not in ruled(closed)
    assert "ray-dashboard" not in ruled(CLUSTER.replace('num-gpus: "0"', 'include-dashboard: "false"'))
    assert "ray-auth" not in ruled(CLUSTER.replace("spec:\n", "spec:\n  authOptions: {mode: token}\n", 1))
    assert "ray-auth" in ruled(CLUSTER.replace("spec:\n", "spec:\n  authOptions: {mode: disabled}\n", 1))


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("serviceType: NodePort", "service-exposed"),
        ("headService: {spec: {type: LoadBalancer}}", "service-exposed"),
        ("enableIngress: true", "ray-dashboard"),
    ],
)
def test_a_head_opened_beyond_the_cluster(line: str, rule: str) -> None:
    closed = CLUSTER.replace('num-gpus: "0"', 'dashboard-host: "127.0.0.1"')
    assert rule not in ruled(closed)
    opened = closed.replace("  headGroupSpec:\n", f"  headGroupSpec:\n    {line}\n")
    assert (6, rule) in seen(opened)


def test_a_command_of_its_own_is_judged_beside_the_group() -> None:
    text = CLUSTER.replace(
        "{name: head, image: vllm/vllm-openai:v0.32.0}",
        '{name: head, image: own, command: [bash, -c], args: ["$KUBERAY_GEN_RAY_START_CMD; vllm serve /m --grpc"]}',
    )
    assert ruled(text) >= OPEN | {"arg-grpc"}


SERVICE = """\
apiVersion: ray.io/v1
kind: RayService
metadata: {name: chat}
spec:
  serveConfigV2: |
    applications:
      - name: llm
        import_path: ray.serve.llm:build_openai_app
        args:
          llm_configs:
            - model_loading_config: {model_id: chat}
              runtime_env:
                env_vars:
                  VLLM_SERVER_DEV_MODE: "1"
              engine_kwargs:
                trust_remote_code: true
                max_model_len: 4096
"""


def test_engines_of_ray_serve() -> None:
    # What is missing in them says nothing: the HTTP server is Ray's.
    assert seen(SERVICE) == {(8, "api-key"), (14, "env-dev-mode"), (16, "arg-remote-code")}
    assert ruled(SERVICE) == {"api-key", "env-dev-mode", "arg-remote-code"}


@pytest.mark.parametrize(
    "config",
    ["applications: [", "applications: !!python/object/apply:os.system [id]", "a: &a [*a]", "[" * 500],
)
def test_a_serve_config_that_cannot_be_read_is_said_and_the_rest_goes_on(config: str) -> None:
    head = SERVICE[: SERVICE.index("    applications")]
    text = f"{head}    {config}\n---\n{CLUSTER}"
    assert ruled(text) >= OPEN | {"unresolved"}


TOKEN = "RAY_AUTH_MODE=token ray start --head --include-dashboard=false"


@pytest.mark.parametrize(
    ("text", "kind", "idle"),
    [
        (f"{TOKEN}\nvllm serve /m", "script", True),
        (f"{TOKEN}\nvllm serve /m --distributed-executor-backend mp", "script", True),
        (f"{TOKEN}\nvllm serve /m --distributed-executor-backend=ray", "script", False),
        (f"{TOKEN}\nvllm serve /m --data-parallel-backend ray --data-parallel-size 2", "script", False),
        (f"{TOKEN}\nvllm serve /m --distributed-executor-backend my.own.Executor", "script", False),
        (f"{TOKEN}\nvllm serve /m $MORE_ARGS", "script", False),
        (f"{TOKEN}\ndocker run vllm/vllm-openai:v0.32.0 --model /m", "script", False),
        (f"docker run --entrypoint bash img -c '{TOKEN} && vllm serve /m'", "script", True),
        (f"docker run --entrypoint bash img -c '{TOKEN}'\nvllm serve /m", "script", False),
        ("echo ray start --head\nvllm serve /m", "script", False),
        (f"[Service]\nExecStartPre=/usr/bin/env {TOKEN}\nExecStart=/usr/bin/vllm serve /m\n", "systemd", True),
        (
            f"services:\n  vllm:\n    image: vllm/vllm-openai:v0.32.0\n    entrypoint: [bash, -c, '{TOKEN}; vllm serve /m']\n",
            "compose",
            True,
        ),
        (
            "services:\n  ray:\n    image: vllm/vllm-openai:v0.32.0\n    entrypoint: [ray, start, --head, --block]\n"
            "  vllm:\n    image: vllm/vllm-openai:v0.32.0\n    command: [/m]\n",
            "compose",
            False,
        ),
    ],
)
def test_a_node_the_server_does_not_use(text: str, kind: str, idle: bool) -> None:
    assert ("ray-idle" in ruled(text, kind)) is idle


def test_the_server_in_a_node_the_operator_starts() -> None:
    served = CLUSTER.replace(
        "{name: head, image: vllm/vllm-openai:v0.32.0}",
        "{name: head, image: vllm/vllm-openai:v0.32.0, command: [vllm, serve, /m, BACKEND]}",
    )
    assert "ray-idle" in ruled(served.replace("BACKEND", "--seed=1"))
    assert "ray-idle" not in ruled(served.replace("BACKEND", "--distributed-executor-backend=ray"))
