# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ray clusters of the KubeRay operator, and the engines Ray Serve starts in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..texts import Note, Process, Reading, Text, UnreadableError
from . import config
from .yaml_reading import Map, documents, items, mapping, scalar, walk

_LLM = "ray.serve.llm"


@dataclass
class RayGroup:
    """A group of pods in which the operator starts Ray: its place, the words it runs, what it sets for them."""

    place: str
    start: list[Text]
    environment: dict[str, Text]


def groups(body: Map, place: str) -> list[RayGroup]:
    """Return the groups of every Ray cluster in ``body``, an object at ``place``."""
    found: list[RayGroup] = []
    for inner, cluster in walk(body):
        if not isinstance(cluster.get("headGroupSpec"), Map):
            continue
        mode = scalar(mapping(cluster.get("authOptions")).get("mode"))
        environment = {"RAY_AUTH_MODE": mode} if mode is not None else {}
        at = f"{place}.{inner}" if inner else place
        head = mapping(cluster.get("headGroupSpec"))
        found.append(RayGroup(f"{at}.headGroupSpec", _start(cluster.key("headGroupSpec"), head, True), environment))
        for index, worker in enumerate(items(cluster.get("workerGroupSpecs"))):
            if isinstance(worker, Map):
                name = scalar(worker.get("groupName")) or Text("", worker.line, head.key("template").path)
                where = f"{at}.workerGroupSpecs[{index}]"
                found.append(RayGroup(where, _start(name, worker, False), environment))
    return found


def _start(at: Text, group: Map, head: bool) -> list[Text]:
    given = mapping(group.get("rayStartParams"))
    words = [at.become("ray"), at.become("start")]
    if head:
        words.append(at.become("--head"))
        if "dashboard-host" not in given:
            # The operator opens the dashboard to the cluster where nothing is said.
            words.append(at.become("--dashboard-host=0.0.0.0", literal=False))
    for key, value in given.items():
        if isinstance(value, Text):
            words.append(value.become(f"--{key}={value}"))
    return words


def exposed(body: Map, place: str) -> Iterator[Note]:
    """Yield what opens the head of a Ray cluster, its dashboard among the rest, beyond the cluster."""
    for inner, cluster in walk(body):
        head = cluster.get("headGroupSpec")
        if not isinstance(head, Map):
            continue
        at = f"{place}.{inner}.headGroupSpec" if inner else f"{place}.headGroupSpec"
        kinds = {
            f"{at}.serviceType": scalar(head.get("serviceType")),
            f"{at}.headService.spec.type": scalar(mapping(mapping(head.get("headService")).get("spec")).get("type")),
        }
        for where, kind in kinds.items():
            if kind is not None and kind in ("LoadBalancer", "NodePort"):
                yield Note("service-exposed", kind, where, f"type: {kind}")
        ingress = scalar(head.get("enableIngress"))
        if ingress is not None and ingress.lower() == "true":
            yield Note("ray-dashboard", ingress, f"{at}.enableIngress", "an Ingress to the dashboard")


def serving(body: Map, place: str) -> Reading:
    """Return the engines ``serveConfigV2`` starts with Ray Serve, whose server is Ray's and not vLLM's."""
    reading = Reading()
    spec = mapping(body.get("spec"))
    written = scalar(spec.get("serveConfigV2"))
    if written is None:
        return reading
    where = f"{place}.spec.serveConfigV2"
    try:
        # The lines of a block are lines of the file.
        found = documents("\n" * (written.line - 1) * written.block + written, written.path)
    except UnreadableError as error:
        reading.notes.append(Note("unresolved", written, where, f"{error.found} in serveConfigV2"))
        return reading
    for index, application in enumerate(items(mapping(found[0] if found else None).get("applications"))):
        reading.add(_application(mapping(application), f"{where}.applications[{index}]"))
    return reading


def _application(application: Map, where: str) -> Reading:
    reading = Reading()
    arguments = mapping(application.get("args"))
    for number, llm in enumerate(items(arguments.get("llm_configs"))):
        if not isinstance(llm, Map):
            continue
        variables = mapping(mapping(llm.get("runtime_env")).get("env_vars"))
        environment = {str(name): value for name, value in variables.items() if isinstance(value, Text)}
        at = llm.key("engine_kwargs") if "engine_kwargs" in llm else Text("", llm.line, application.key("args").path)
        words = config.words(mapping(llm.get("engine_kwargs")))
        reading.processes.append(
            Process(
                f"{where}.args.llm_configs[{number}]",
                at,
                words,
                environment,
                network="container",
                fragment=True,
                only_arguments=True,
            )
        )
    imported = scalar(application.get("import_path"))
    if imported is not None and imported.startswith(_LLM):
        found = "Ray Serve LLM, which reads no VLLM_API_KEY"
        remedy = "Put a proxy that checks keys in front."
        reading.notes.append(Note("api-key", imported, f"{where}.import_path", found, remedy=remedy))
    return reading
