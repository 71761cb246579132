# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What leads to the pods that serve in Kubernetes: Services, Ingresses, routes, and the policies that close them."""

from __future__ import annotations

import pytest

from .conftest import ruled, seen
from .test_kubernetes import Lint, workload


def around(*documents: str) -> str:
    return "---\n".join([workload("Deployment", "spec.template"), *documents])


def service(name: str = "chat", kind: str = "ClusterIP", app: str = "chat") -> str:
    return (
        f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{type: {kind}, selector: {{app: {app}}}}}\n"
    )


@pytest.mark.parametrize(
    ("document", "rule", "found"),
    [
        (service(kind="LoadBalancer"), "service-exposed", True),
        (service(kind="NodePort"), "service-exposed", True),
        (service(kind="ClusterIP"), "service-exposed", False),
        (service(kind="LoadBalancer", app="other"), "service-exposed", False),
        (service().replace("spec: {", "spec: {externalIPs: [192.0.2.1], "), "service-exposed", True),
        (service(name="vllm"), "service-links", True),
        (service(name="vllm-chat"), "service-links", False),
    ],
)
def test_services(document: str, rule: str, found: bool) -> None:
    assert (rule in ruled(around(document), path="chat.yaml")) is found


def route(kind: str, rule: str) -> str:
    return f"apiVersion: x/v1\nkind: {kind}\nmetadata: {{name: chat}}\nspec:\n  {rule}\n"


BACKEND = "backend: {service: {name: chat}}"


@pytest.mark.parametrize(
    ("document", "found"),
    [
        (route("Ingress", f"rules: [{{http: {{paths: [{{path: /, pathType: Prefix, {BACKEND}}}]}}}}]"), True),
        (route("Ingress", f"rules: [{{http: {{paths: [{{path: /v1, pathType: Exact, {BACKEND}}}]}}}}]"), False),
        (route("Ingress", "defaultBackend: {service: {name: chat}}"), True),
        (route("Ingress", "defaultBackend: {service: {name: other}}"), False),
        (route("HTTPRoute", "rules: [{backendRefs: [{name: chat}]}]"), True),
        (route("HTTPRoute", "rules: [{matches: [{path: {type: Exact}}], backendRefs: [{name: chat}]}]"), False),
        (route("HTTPRoute", "rules: [{matches: [{path: {type: PathPrefix}}], backendRefs: [{name: chat}]}]"), True),
        (route("VirtualService", "http: [{route: [{destination: {host: chat.llm.svc}}]}]"), True),
        (
            route("VirtualService", "http: [{match: [{uri: {exact: /v1}}], route: [{destination: {host: chat}}]}]"),
            False,
        ),
    ],
)
def test_routes(document: str, found: bool) -> None:
    assert ("ingress-all-paths" in ruled(around(service(), document), path="chat.yaml")) is found


@pytest.mark.parametrize(
    ("selector", "covered"),
    [("{}", True), ("{matchLabels: {app: chat}}", True), ("{matchLabels: {app: other}}", False)],
)
def test_network_policies(selector: str, covered: bool) -> None:
    policy = f"apiVersion: v1\nkind: NetworkPolicy\nmetadata: {{name: p}}\nspec: {{podSelector: {selector}}}\n"
    assert ("network-policy" in ruled(around(policy), path="chat.yaml")) is not covered


def test_a_service_may_select_by_labels_only_the_controller_knows() -> None:
    text = """\
apiVersion: leaderworkerset.x-k8s.io/v1
kind: LeaderWorkerSet
metadata: {name: chat}
spec:
  leaderWorkerTemplate:
    leaderTemplate:
      metadata: {labels: {role: leader}}
      spec: {containers: [{name: a, image: vllm/vllm-openai, args: [/m]}]}
---
apiVersion: v1
kind: Service
metadata: {name: chat}
spec:
  type: LoadBalancer
  selector: {leaderworkerset.sigs.k8s.io/name: chat, leaderworkerset.sigs.k8s.io/worker-index: "0", role: leader}
"""
    assert (14, "service-exposed") in seen(text)
    assert "service-exposed" not in ruled(text.replace("io/name: chat", "io/name: other"))
    assert "service-exposed" not in ruled(text.replace("role: leader}\n", "role: worker}\n"))
    assert "service-exposed" not in ruled(text.replace("kind: LeaderWorkerSet", "kind: Deployment"))


def test_objects_of_one_folder_belong_together(folder: Lint) -> None:
    found = folder(
        {
            "a/deployment.yaml": workload("Deployment", "spec.template"),
            "a/service.yaml": service(kind="LoadBalancer"),
            "b/service.yaml": service(kind="LoadBalancer"),
        }
    )
    assert {path for path, _line, rule in found if rule == "service-exposed"} == {"in/a/service.yaml"}
