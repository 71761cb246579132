# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who can reach the pods that serve: Services, Ingresses, routes, and whether a policy limits it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..texts import Note, Text
from .yaml_reading import Map, items, mapping, scalar

if TYPE_CHECKING:
    from .kubernetes import Object, Pods

Placed = tuple[str, Note]

# Labels controllers put on the pods they make, with values no template tells.
_CONTROLLED = {
    "LeaderWorkerSet": ("leaderworkerset.sigs.k8s.io/",),
    "StatefulSet": ("statefulset.kubernetes.io/", "apps.kubernetes.io/"),
}


def notes(known: Sequence[Object], serving: Sequence[Pods]) -> Iterator[Placed]:
    """Yield, with the file it belongs to, what opens the pods in ``serving`` to others."""
    if not serving:
        return
    services = [item for item in known if item.kind == "Service" and any(_selects(item, pods) for pods in serving)]
    for service in services:
        yield from _service(service)
    names = {service.name for service in services}
    for item in known:
        if item.kind == "Ingress":
            yield from _ingress(item, names)
        elif item.kind in ("HTTPRoute", "VirtualService"):
            yield from _route(item, names)
    policies = [item for item in known if item.kind == "NetworkPolicy"]
    for pods in serving:
        if pods.service_links:
            yield from _links(known, pods)
        if not any(_covers(policy, pods) for policy in policies):
            yield pods.owner.path, Note("network-policy", pods.at, pods.place, "nothing")


def _strings(value: Any) -> dict[str, str]:
    return {str(key): str(item) for key, item in mapping(value).items() if isinstance(item, Text)}


def _selects(service: Object, pods: Pods) -> bool:
    selector = _strings(mapping(service.body.get("spec")).get("selector"))
    return bool(selector) and service.near(pods.owner) and _among(selector, pods)


def _among(wanted: Mapping[str, str], pods: Pods) -> bool:
    """Tell whether ``wanted`` are labels of ``pods``; those only the controller knows count as there."""
    own = _CONTROLLED.get(pods.owner.kind, ())
    return all(
        pods.labels.get(key) == value or (key not in pods.labels and key.startswith(own))
        for key, value in wanted.items()
    )


def _service(service: Object) -> Iterator[Placed]:
    spec = mapping(service.body.get("spec"))
    place = f"Service/{service.name}.spec"
    kind = scalar(spec.get("type"))
    if kind in ("LoadBalancer", "NodePort") and kind is not None:
        yield service.path, Note("service-exposed", kind, f"{place}.type", f"type: {kind}")
    for address in items(spec.get("externalIPs")):
        if isinstance(address, Text):
            yield service.path, Note("service-exposed", address, f"{place}.externalIPs", f"externalIPs: {address}")


def _ingress(item: Object, names: set[str]) -> Iterator[Placed]:
    spec = mapping(item.body.get("spec"))
    place = f"Ingress/{item.name}.spec"
    default = scalar(mapping(mapping(spec.get("defaultBackend")).get("service")).get("name"))
    if default is not None and default in names:
        yield item.path, Note("ingress-all-paths", default, f"{place}.defaultBackend", "every path")
    for index, rule in enumerate(items(spec.get("rules"))):
        for path in items(mapping(mapping(rule).get("http")).get("paths")):
            service = scalar(mapping(mapping(mapping(path).get("backend")).get("service")).get("name"))
            kind = scalar(mapping(path).get("pathType"))
            written = scalar(mapping(path).get("path")) or service
            if service in names and kind != "Exact" and written is not None:
                found = f"{kind or 'a prefix'} {written}"
                yield item.path, Note("ingress-all-paths", written, f"{place}.rules[{index}]", found)


def _route(item: Object, names: set[str]) -> Iterator[Placed]:
    spec = mapping(item.body.get("spec"))
    rules = items(spec.get("rules")) or items(spec.get("http"))
    for index, rule in enumerate(rules):
        backends = [scalar(mapping(backend).get("name")) for backend in items(mapping(rule).get("backendRefs"))]
        backends += [
            scalar(mapping(mapping(target).get("destination")).get("host"))
            for target in items(mapping(rule).get("route"))
        ]
        chosen = [backend for backend in backends if backend is not None and backend.split(".")[0] in names]
        if not chosen:
            continue
        matches = [mapping(match) for match in items(mapping(rule).get("matches")) or items(mapping(rule).get("match"))]
        if not matches or any(not _exact(match) for match in matches):
            place = f"{item.kind}/{item.name}.spec.rules[{index}]"
            yield item.path, Note("ingress-all-paths", chosen[0], place, "a prefix or every path")


def _exact(match: Map) -> bool:
    path = mapping(match.get("path"))
    uri = mapping(match.get("uri"))
    return scalar(path.get("type")) == "Exact" or "exact" in uri


def _links(known: Sequence[Object], pods: Pods) -> Iterator[Placed]:
    for item in known:
        if item.kind == "Service" and item.name == "vllm" and item.near(pods.owner):
            at = scalar(mapping(item.body.get("metadata")).get("name")) or Text("", item.body.line, item.path)
            yield item.path, Note("service-links", at, "Service/vllm.metadata.name", "a Service named vllm")


def _covers(policy: Object, pods: Pods) -> bool:
    spec = mapping(policy.body.get("spec"))
    selector = mapping(spec.get("podSelector"))
    if "matchExpressions" in selector:
        # What it selects is not worked out here; somebody thought about it.
        return policy.near(pods.owner)
    labels = _strings(selector.get("matchLabels"))
    return policy.near(pods.owner) and _among(labels, pods)
