# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Kubernetes objects: pod templates wherever they are, and what lets others reach their pods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...problems import whole_number
from ..texts import Note, Process, Reading, Text
from . import exposure, kuberay, patches, scripts, shares
from .containers import Container, Port, capability_notes, mount_notes, reading_of, target_notes, user_notes
from .kuberay import RayGroup
from .library import Library
from .ray import ray_notes
from .references import decoded, held, put
from .yaml_reading import Map, items, mapping, scalar


@dataclass(frozen=True)
class Object:
    """One object: its kind, name, namespace (empty when it says none), and the file it is in."""

    kind: str
    name: str
    namespace: str
    body: Map
    path: str

    def near(self, other: Object) -> bool:
        """Tell whether both may be in one namespace."""
        return self.namespace == other.namespace or not self.namespace or not other.namespace


@dataclass
class Pods:
    """The pods of a template that serve, with the labels others select them by."""

    owner: Object
    labels: Mapping[str, str]
    at: Text
    place: str
    service_links: bool


@dataclass
class _Template:
    place: str
    spec: Map
    labels: dict[str, str]


def objects(documents: Sequence[Any], path: str) -> list[Object]:
    """Return the objects in ``documents``, those inside lists as well."""
    found: list[Object] = []
    for document in documents:
        if not isinstance(document, Map):
            continue
        kind = str(scalar(document.get("kind")) or "")
        if kind.endswith("List") and "items" in document:
            found += objects(items(document.get("items")), path)
            continue
        metadata = mapping(document.get("metadata"))
        name, namespace = scalar(metadata.get("name")), scalar(metadata.get("namespace"))
        found.append(Object(kind, str(name or ""), str(namespace or ""), document, path))
    return found


def read(known: Sequence[Object], library: Library) -> dict[str, Reading]:
    """Return by file what the objects ``known``, which belong together, start and open."""
    readings: dict[str, Reading] = {item.path: Reading() for item in known}
    serving: list[Pods] = []
    patched = patches.patched(known)
    for owner in known:
        groups = kuberay.groups(owner.body, _label(owner))
        readings[owner.path].add(kuberay.serving(owner.body, _label(owner)))
        readings[owner.path].notes += kuberay.exposed(owner.body, _label(owner))
        for template in _templates(owner.body, _label(owner)):
            group = next((group for group in groups if template.place.startswith(f"{group.place}.")), None)
            reading = _Pod(owner, template, known, library, group).reading()
            if owner.path in patched or patches.unfinished(owner, template.spec):
                readings[owner.path].add(patches.as_part(reading))
                continue
            readings[owner.path].add(reading)
            if reading.processes:
                at = reading.processes[0].at
                links = scalar(template.spec.get("enableServiceLinks"))
                labels = {**template.labels, **_given_labels(owner)}
                serving.append(Pods(owner, labels, at, template.place, links != "false"))
    for path, note in exposure.notes(known, serving):
        readings[path].notes.append(note)
    return readings


def _label(owner: Object) -> str:
    return f"{owner.kind}/{owner.name}"


def _given_labels(owner: Object) -> dict[str, str]:
    # What the controller puts on the pods it makes of a template.
    return {"leaderworkerset.sigs.k8s.io/name": owner.name} if owner.kind == "LeaderWorkerSet" else {}


def _templates(value: Any, place: str, labels: Map | None = None) -> Iterator[_Template]:
    if isinstance(value, Map):
        held = value.get("containers")
        if isinstance(held, list) and any(isinstance(item, Map) for item in held):
            texts = {str(key): str(item) for key, item in mapping(labels).items() if isinstance(item, Text)}
            yield _Template(place, value, texts)
            return
        own = mapping(mapping(value.get("metadata")).get("labels"))
        for key, item in value.items():
            yield from _templates(item, f"{place}.{key}", own if key == "spec" else None)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _templates(item, f"{place}[{index}]")


class _Pod:
    def __init__(
        self, owner: Object, template: _Template, known: Sequence[Object], library: Library, group: RayGroup | None
    ) -> None:
        self.owner = owner
        self.template = template
        self.known = known
        self.library = library
        self.group = group

    def reading(self) -> Reading:
        spec = self.template.spec
        reading = Reading()
        for key in ("containers", "initContainers"):
            for index, item in enumerate(items(spec.get(key))):
                if isinstance(item, Map):
                    where = f"{self.template.place}.{key}[{index}]"
                    # The operator starts Ray in the first container.
                    group = self.group if key == "containers" and index == 0 else None
                    reading.add(self._container(item, where, group))
        if reading.processes:
            reading.notes += self._pod_notes(spec)
        return reading

    def _container(self, item: Map, where: str, group: RayGroup | None) -> Reading:
        at = scalar(item.get("name")) or Text("", item.line, self.owner.path)
        image = scalar(item.get("image"))
        container = Container(where, at, image=put(image, {}) if image is not None else None)
        if _true(self.template.spec.get("hostNetwork")):
            container.network = "host"
        self._environment(item, container)
        container.entrypoint = self._words(item.get("command"), container)
        container.command = self._words(item.get("args"), container)
        for port in items(item.get("ports")):
            host = scalar(mapping(port).get("hostPort"))
            inner = scalar(mapping(port).get("containerPort"))
            if host is not None and container.network != "host":
                number = whole_number(inner) if inner is not None else None
                address = scalar(mapping(port).get("hostIP"))
                shown = host.become(f"hostPort {host}")
                container.ports.append(Port(shown, str(address) if address else None, number))
        shared, nets = self._host_paths(), shares.of_pods(self.template.spec, self._claim)
        for mount in items(item.get("volumeMounts")):
            target, name = scalar(mapping(mount).get("mountPath")), scalar(mapping(mount).get("name"))
            if target is not None:
                container.settings += target_notes(target, f"{where}.volumeMounts")
                container.volumes.append((str(target), nets.get(str(name))))
                if name in shared:
                    container.mounts.append((str(target), shared[name]))
        container.settings += self._security(mapping(item.get("securityContext")), where, at)
        if group is None:
            return reading_of(container, self._started)
        container.environment.update(group.environment)
        if container.entrypoint is None and container.command is None:
            container.entrypoint = group.start
            return reading_of(container, self._started)
        reading = reading_of(container, self._started)
        base = Process(where, at, environment=container.environment, whole_environment=container.whole_environment)
        reading.notes += ray_notes(group.start, base)
        for process in reading.processes:
            process.ray = group.start[0]
        return reading

    def _host_paths(self) -> dict[str, Text]:
        volumes = [mapping(volume) for volume in items(self.template.spec.get("volumes"))]
        paths = {scalar(volume.get("name")): scalar(mapping(volume.get("hostPath")).get("path")) for volume in volumes}
        return {str(name): path for name, path in paths.items() if name is not None and path is not None}

    def _started(self, words: Sequence[Text], base: Process) -> Reading:
        return scripts.started(words, base, self.library)

    def _words(self, value: Any, container: Container) -> list[Text] | None:
        if value is None or (isinstance(value, Text) and value.tag == "null"):
            return None
        return [put(item, container.environment) for item in items(value) if isinstance(item, Text)]

    def _environment(self, item: Map, container: Container) -> None:
        for source in items(item.get("envFrom")):
            self._from(mapping(source), container)
        for entry in items(item.get("env")):
            name = scalar(mapping(entry).get("name"))
            if name is None:
                continue
            value = mapping(entry).get("value")
            if isinstance(value, Text):
                container.environment[str(name)] = put(value, container.environment)
            elif "valueFrom" in mapping(entry):
                container.environment[str(name)] = self._referred(name, mapping(entry.get("valueFrom")))
            else:
                container.environment[str(name)] = name.become("")

    def _from(self, source: Map, container: Container) -> None:
        prefix = str(scalar(source.get("prefix")) or "")
        for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            reference = source.get(key)
            name = scalar(mapping(reference).get("name"))
            if reference is None:
                continue
            data = self._data(kind, str(name or ""))
            if data is None:
                container.whole_environment = False
                at = name if name is not None else source.key(key)
                container.settings.append(Note("unresolved", at, f"{container.where}.envFrom", f"the {kind} {name}"))
            else:
                container.environment.update({f"{prefix}{name}": value for name, value in data.items()})

    def _referred(self, name: Text, source: Map) -> Text:
        for key, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
            reference = mapping(source.get(key))
            data = self._data(kind, str(scalar(reference.get("name")) or "")) or {}
            value = data.get(str(scalar(reference.get("key")) or ""))
            if value is not None:
                return value
        runtime = "fieldRef" in source or "resourceFieldRef" in source or "secretKeyRef" in source
        return name.become("", known=False, literal=False, tag="runtime" if runtime else "str")

    def _data(self, kind: str, name: str) -> dict[str, Text] | None:
        for other in self.known:
            if other.kind == kind and other.name == name and other.near(self.owner):
                plain = {**mapping(other.body.get("data")), **mapping(other.body.get("stringData"))}
                encoded = mapping(other.body.get("data")) if kind == "Secret" else Map()
                return {
                    str(key): decoded(value) if key in encoded else held(value, kind)
                    for key, value in plain.items()
                    if isinstance(value, Text)
                }
        return None

    def _claim(self, name: str) -> Map | None:
        for other in self.known:
            if other.kind == "PersistentVolumeClaim" and other.name == name and other.near(self.owner):
                return other.body
        return None

    def _security(self, context: Map, where: str, at: Text) -> list[Note]:
        shared = mapping(self.template.spec.get("securityContext"))
        place = f"{where}.securityContext"
        notes: list[Note] = []
        privileged = scalar(context.get("privileged"))
        if privileged == "true":
            notes.append(Note("privileged", privileged, place, "privileged: true"))
        added = items(mapping(context.get("capabilities")).get("add"))
        notes += capability_notes([item for item in added if isinstance(item, Text)], place)
        user = scalar(context.get("runAsUser")) or scalar(shared.get("runAsUser"))
        notes += user_notes(user, place)
        if user is None and not _true(context.get("runAsNonRoot")) and not _true(shared.get("runAsNonRoot")):
            notes.append(Note("run-as-anybody", at, place, "nothing"))
        return notes

    def _pod_notes(self, spec: Map) -> list[Note]:
        place = self.template.place
        notes = [
            Note(rule, spec[key], f"{place}.{key}", f"{key}: true")
            for key, rule in (("hostNetwork", "host-network"), ("hostIPC", "host-ipc"), ("hostPID", "host-pid"))
            if _true(spec.get(key))
        ]
        for volume in items(spec.get("volumes")):
            source = scalar(mapping(mapping(volume).get("hostPath")).get("path"))
            if source is not None:
                notes += mount_notes(source, "", f"{place}.volumes")
        return notes


def _true(value: Any) -> bool:
    return isinstance(value, Text) and value.lower() in ("true", "yes", "on")
