# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kubernetes: pod templates wherever they are, values by reference, patches and images."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .conftest import ruled, seen

Lint = Callable[[dict[str, str]], set[tuple[str, int, str]]]

POD = """\
metadata: {labels: {app: chat}}
spec:
  containers:
    - name: server
      image: vllm/vllm-openai:v0.32.0
      args: [/m, --grpc]
"""


def indented(text: str, columns: int) -> str:
    return "".join(" " * columns + line + "\n" for line in text.splitlines())


def workload(kind: str, path: str, api: str = "apps/v1") -> str:
    lines = [f"apiVersion: {api}", f"kind: {kind}", "metadata: {name: chat}"]
    columns = 0
    for part in path.split("."):
        lines.append(" " * columns + f"{part}:")
        columns += 2
    return "\n".join(lines) + "\n" + indented(POD, columns)


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("Deployment", "spec.template"),
        ("StatefulSet", "spec.template"),
        ("DaemonSet", "spec.template"),
        ("ReplicaSet", "spec.template"),
        ("Job", "spec.template"),
        ("CronJob", "spec.jobTemplate.spec.template"),
        ("LeaderWorkerSet", "spec.leaderWorkerTemplate.leaderTemplate"),
        ("LeaderWorkerSet", "spec.leaderWorkerTemplate.workerTemplate"),
        ("RayCluster", "spec.headGroupSpec.template"),
        ("PodTemplate", "template"),
    ],
)
def test_pod_templates_are_found_in_every_workload(kind: str, path: str) -> None:
    text = workload(kind, path)
    line = text.splitlines().index(next(one for one in text.splitlines() if "--grpc" in one)) + 1
    assert (line, "arg-grpc") in seen(text, path="chat.yaml")


def test_pods_lists_several_documents_and_json() -> None:
    pod = "apiVersion: v1\nkind: Pod\n" + POD
    assert (8, "arg-grpc") in seen(pod, path="pod.yaml")
    rendered = f"---\n# Source: chat/templates/a.yaml\n{pod}---\n# nothing\n---\n{pod}"
    assert {(10, "arg-grpc"), (21, "arg-grpc")} <= seen(rendered, path="rendered.yaml")
    listed = "apiVersion: v1\nkind: List\nitems:\n" + indented(pod, 4).replace("    apiVersion", "  - apiVersion", 1)
    assert (11, "arg-grpc") in seen(listed, path="list.yaml")
    json = '{"apiVersion": "v1", "kind": "Pod",\n "spec": {"containers": [{"image": "vllm/vllm-openai:v1.0.0",\n'
    json += '  "args": ["/m", "--grpc"]}]}}\n'
    assert (3, "arg-grpc") in seen(json, path="pod.json")


SHELL = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: chat, namespace: llm}
spec:
  template:
    spec:
      hostNetwork: true
      hostIPC: true
      hostPID: true
      volumes:
        - name: docker
          hostPath: {path: /run/containerd/containerd.sock}
      securityContext: {runAsUser: 0}
      containers:
        - name: server
          image: vllm/vllm-openai:v0.32.0
          securityContext:
            privileged: true
            capabilities: {add: [SYS_ADMIN]}
          command: ["/bin/sh", "-c"]
          args:
            - |
              echo starting
              exec vllm serve /m \\
                --host $(BIND) --port ${PORT} \\
                --trust-remote-code
          envFrom:
            - configMapRef: {name: settings}
            - secretRef: {name: missing}
          env:
            - {name: BIND, value: 0.0.0.0}
            - name: VLLM_API_KEY
              valueFrom: {secretKeyRef: {name: keys, key: chat}}
            - name: VLLM_HOST_IP
              valueFrom: {fieldRef: {fieldPath: status.podIP}}
            - {name: HF_TOKEN, value: hf_abcdefghijklmnop}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: llm}
data:
  VLLM_SERVER_DEV_MODE: "1"
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData:
  chat: changeme
"""


def test_values_by_reference_and_the_pod_around() -> None:
    assert seen(SHELL, path="chat.yaml") == {
        (7, "host-network"),
        (8, "host-ipc"),
        (9, "host-pid"),
        (12, "container-socket"),
        (13, "run-as-root"),
        (16, "image-tag"),
        (16, "release-old"),
        (18, "privileged"),
        (19, "capabilities"),
        (25, "arg-host"),
        (25, "unresolved"),
        (25, "tls-missing"),
        (26, "arg-remote-code"),
        (29, "unresolved"),
        (36, "env-secret"),
        (42, "env-dev-mode"),
        (48, "api-key-weak"),
    }


def test_encoded_secrets_are_read() -> None:
    text = SHELL.replace("stringData:\n  chat: changeme", "data:\n  chat: Y2hhbmdlbWU=")
    assert (48, "api-key-weak") in seen(text, path="chat.yaml")
    broken = SHELL.replace("stringData:\n  chat: changeme", "data:\n  chat: '%%%'")
    assert "api-key-weak" not in ruled(broken, path="chat.yaml")


def test_host_ports_are_published() -> None:
    text = workload("Deployment", "spec.template")
    ports = "          ports: [{containerPort: 8000, hostPort: 80}, {containerPort: 29501, hostPort: 29501}]\n"
    rules = ruled(text + ports, path="chat.yaml")
    assert {"published-port", "published-internal"} <= rules


def test_templates_of_a_chart_are_said_once_and_only_if_they_start_vllm(folder: Lint) -> None:
    template = "image: {{ .Values.image }}\n{{- if .Values.x }}\n"
    found = folder({"chart/templates/vllm.yaml": f"# vllm\n{template}", "chart/templates/other.yaml": template})
    assert found == {("in/chart/templates/vllm.yaml", 4, "not-rendered")}
    assert ruled(template, "kubernetes", "vllm.yaml") == {"unreadable"}


PATCH = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: chat}
spec:
  template:
    spec:
      containers:
        - name: server
          image: vllm/vllm-openai:v0.11.0
          env: [{name: VLLM_SERVER_DEV_MODE, value: "1"}]
"""


def test_a_patch_is_a_part_and_what_is_missing_in_it_says_nothing() -> None:
    assert ruled(PATCH) == {"env-dev-mode", "image-tag", "release-old"}
    whole = PATCH.replace("spec:\n", "spec:\n  selector: {matchLabels: {app: chat}}\n", 1)
    assert ruled(whole) >= {"env-dev-mode", "api-key", "network-policy", "run-as-anybody"}


def test_what_a_kustomization_names_as_a_patch_is_one(folder: Lint) -> None:
    patch = PATCH.replace("          env:", '          args: ["--model", "/m"]\n          env:')
    assert ("in/patch.yaml", 8, "api-key") in folder({"patch.yaml": patch})
    head = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
    for listed in ("patches: [{path: patch.yaml}]", "patchesStrategicMerge: [./patch.yaml]"):
        found = folder({"patch.yaml": patch, "kustomization.yaml": f"{head}{listed}\n"})
        assert "api-key" not in {rule for _path, _line, rule in found}
        assert ("in/patch.yaml", 11, "env-dev-mode") in found


def test_variables_something_else_puts_in_before_are_no_values() -> None:
    pod = """\
apiVersion: v1
kind: Pod
metadata: {name: chat}
spec:
  containers:
    - name: server
      image: $IMAGE
      command: [vllm, serve, /m]
      env: [{name: HF_TOKEN, value: VALUE}, {name: VLLM_SERVER_DEV_MODE, value: "${MODE}"}]
"""
    assert "env-secret" in ruled(pod.replace("VALUE", "hf_abcdef"))
    for written in ("$HF_TOKEN", "${HF_TOKEN}"):
        text = pod.replace("VALUE", f'"{written}"')
        assert not {"env-secret", "env-dev-mode", "image-tag"} & ruled(text)
        assert (9, "unresolved") in seen(text)


def test_a_cache_in_the_container_is_nobody_elses_until_the_host_is_mounted_there() -> None:
    pod = """\
apiVersion: v1
kind: Pod
metadata: {name: chat}
spec:
  containers:
    - name: server
      image: vllm/vllm-openai
      args: [/m]
      env: [{name: TRITON_CACHE_DIR, value: /cache/triton}]
      volumeMounts: [{name: cache, mountPath: /cache}]
  volumes: [{name: cache, hostPath: {path: /tmp/shared}}]
"""
    assert (9, "env-cache-shared") in seen(pod)
    assert "env-cache-shared" not in ruled(pod.replace("/tmp/shared", "/srv/cache"))  # noqa: S108 - a text
    assert "env-cache-shared" not in ruled(pod.replace("/cache/triton", "/tmp/triton"))  # noqa: S108 - a text


def served(image: str, *words: str) -> set[str]:
    listed = "".join(f"        - {word}\n" for word in words)
    return ruled(
        "kind: Pod\nmetadata: {name: chat}\nspec:\n  containers:\n"
        f"    - name: server\n      image: {image}\n      args:\n{listed}",
        "kubernetes",
    )


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("${VLLM_IMAGE}", ["--model", "/m", "--grpc"]),
        ("$VLLM_IMAGE", ["--model", "/m", "--grpc"]),
        ("registry.example.org/llm:1", ["--model", "/m", "--max-model-len", "4096", "--grpc"]),
        ("${IMAGE}", ["--model=/m", "--gpu_memory_utilization=0.9", "--grpc"]),
    ],
)
def test_an_image_that_tells_nothing_is_known_by_options_only_vllm_has(image: str, words: list[str]) -> None:
    found = served(image, *words)
    assert "arg-grpc" in found
    assert "api-key" in found


@pytest.mark.parametrize(
    ("image", "words"),
    [
        ("registry.example.org/llm:1", ["--model", "/m", "--grpc"]),
        ("registry.example.org/llm:1", ["--model-path", "/m", "--max-model-len", "4096", "--tp", "2"]),
        ("registry.example.org/llm:1", ["watch", "--max-model-len", "4096"]),
    ],
)
def test_options_other_servers_have_as_well_make_no_vllm(image: str, words: list[str]) -> None:
    assert served(image, *words) == set()


def test_an_image_put_in_later_is_not_said_to_be_moving() -> None:
    assert "image-tag" in served("vllm/vllm-openai", "--model", "/m")
    assert "image-tag" not in served("${VLLM_IMAGE}", "--model", "/m")
