# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""systemd services with their drop-ins, and Quadlet containers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ..texts import Note, Process, Reading, Text
from . import docker, scripts, shares, units
from .containers import Container, capability_notes, mount, port_of, reading_of, split_mount, user_notes
from .environment import variables_of
from .library import Library

_SANDBOX = {
    "NoNewPrivileges": frozenset({"yes", "true", "1", "on"}),
    "PrivateTmp": frozenset({"yes", "true", "1", "on", "disconnected"}),
    "ProtectSystem": frozenset({"strict", "full"}),
    "ProtectHome": frozenset({"yes", "true", "1", "on", "read-only", "tmpfs"}),
    "UMask": frozenset({"0077", "077", "77", "0027", "027", "27"}),
}
_VLLM = re.compile(r"(?i)vllm")
_SCRIPT = re.compile(r"(?i)\.(sh|bash)$|(^|/)[^/]*vllm[^/]*$")
_RUNS = ("ExecStart", "ExecStartPre", "ExecStartPost")


def read_service(content: str, path: str, library: Library) -> Reading:
    """Return the server a unit starts, with the drop-ins beside it."""
    sections = _whole(content, path, library)
    service = sections.get("Service", {})
    base = Process("Service", Text("", 1, path))
    reading = Reading()
    _environment(service, base, library, reading)
    for key in _RUNS:
        for value in service.get(key, []):
            base.at = value
            base.where = f"Service.{key}"
            words = units.command(value, base.environment)
            started = scripts.started(words, base, library)
            if key == "ExecStart" and not started.processes and not started.notes and _VLLM.search(content):
                started = _from_script(words, base, library)
            reading.add(started)
    reading.together(base)
    for process in reading.processes:
        process.where = "Service"
    if any(process.network == "host" for process in reading.processes):
        reading.notes += _sandbox(service, reading.processes[0].at)
    if all(note.rule == "unresolved" and not note.place.startswith("Service.Exec") for note in reading.notes):
        # Files of a unit that starts no vLLM are nobody's business here.
        reading.notes = reading.notes if reading.processes else []
    return reading


def _from_script(words: Sequence[Text], base: Process, library: Library) -> Reading:
    """Return what the script among ``words`` starts; a note when it is not at hand."""
    script = next((word for word in words if _SCRIPT.search(word)), None)
    if script is None:
        return Reading()
    found = library.read(script, script.path) if script.known else None
    if found is None:
        return Reading(notes=[Note("unresolved", script, base.where, f"the script {script}")])
    return scripts.read(Text(found[1], 1, found[0], block=True), base, library)


def read_drop_in(content: str, path: str, library: Library) -> Reading:
    """Return a drop-in without its unit as a part of a process."""
    sections = units.parse(content, path)
    service = sections.get("Service", sections.get("Container", {}))
    base = Process("Service", Text("", 1, path), fragment=True)
    reading = Reading()
    _environment(service, base, library, reading)
    for value in service.get("ExecStart", []):
        words = units.command(value, base.environment)
        reading.add(scripts.started(words, Process("Service", value, environment=base.environment), library))
    return reading if reading.processes else Reading([base], reading.notes)


def _whole(content: str, path: str, library: Library) -> units.Sections:
    sections = units.parse(content, path)
    name = path.rsplit("/", 1)[-1]
    folders = [f"{name}.d"]
    if "@" in name:
        # Drop-ins of the template also count for its instances.
        stem, _at, suffix = name.partition("@")
        folders.insert(0, f"{stem}@.{suffix.rsplit('.', 1)[-1]}.d")
    for folder in dict.fromkeys(folders):
        for item in library.folder(folder, path) if name else []:
            found = library.read(item, path) if item.endswith(".conf") else None
            if found is not None:
                units.extend(sections, found[1], found[0])
    return sections


def _environment(service: Mapping[str, list[Text]], base: Process, library: Library, reading: Reading) -> None:
    base.environment.update(units.assignments(service.get("Environment", [])))
    for value in service.get("EnvironmentFile", []):
        name = value.become(value.removeprefix("-"))
        found = library.read(name, value.path) if "%" not in name else None
        if found is None:
            base.whole_environment = False
            reading.notes.append(Note("unresolved", value, f"{base.where}.EnvironmentFile", f"the file {name}"))
        else:
            base.environment.update(variables_of(found[1], found[0]))
    for value in service.get("PassEnvironment", []):
        for word in units.words(value):
            base.environment[str(word)] = word.become("", known=False, literal=False)
    for value in service.get("UnsetEnvironment", []):
        for word in units.words(value):
            base.environment.pop(str(word), None)


def _sandbox(service: Mapping[str, list[Text]], at: Text) -> list[Note]:
    notes: list[Note] = []
    user = units.last(service, "User")
    if units.last(service, "DynamicUser") not in ("yes", "true", "1", "on") and (user is None or user in ("root", "0")):
        found = "nothing, so root" if user is None else str(user)
        notes.append(Note("run-as-root", user if user is not None else at, "Service.User", found))
    for key in ("AmbientCapabilities", "CapabilityBoundingSet"):
        for granted in service.get(key, []):
            if not granted.startswith("~"):
                notes += capability_notes(units.words(granted), f"Service.{key}")
    missing = [
        key
        for key, good in _SANDBOX.items()
        if (value := units.last(service, key)) is None or value.lower() not in good
    ]
    if missing:
        notes.append(Note("unit-sandbox", at, "Service", f"no {', '.join(missing)}"))
    return notes


def read_quadlet(content: str, path: str, library: Library) -> Reading:
    """Return the server a Quadlet ``.container`` starts, with the ports of its pod when that is at hand."""
    sections = _whole(content, path, library)
    settings = sections.get("Container", {})
    if not settings:
        return Reading()
    container = Container("Container", Text("", 1, path), image=units.last(settings, "Image"))
    if container.image is not None:
        container.at = container.image
    base = Process("Container", container.at)
    reading = Reading()
    _environment(settings, base, library, reading)
    container.environment = base.environment
    container.whole_environment = base.whole_environment
    container.settings += reading.notes
    for value in settings.get("Secret", []):
        container.environment.update(_secret(value))
    execute, entrypoint = units.last(settings, "Exec"), units.last(settings, "Entrypoint")
    container.command = units.command(execute, container.environment, prefixed=False) if execute is not None else None
    container.entrypoint = units.words(entrypoint) if entrypoint is not None else None
    _quadlet_network(settings, container, path, library)
    _quadlet_privileges(settings, container, library)
    return reading_of(container, lambda words, process: scripts.started(words, process, library))


def _secret(value: Text) -> dict[str, Text]:
    name, *options = value.split(",")
    if "type=env" not in options:
        return {}
    target = next((option.removeprefix("target=") for option in options if option.startswith("target=")), name)
    return {target: value.become("", known=False, literal=False)}


def _quadlet_network(settings: Mapping[str, list[Text]], container: Container, path: str, library: Library) -> None:
    for value in settings.get("Network", []):
        if value == "host":
            container.network = "host"
            container.settings.append(Note("host-network", value, "Container.Network", "Network=host"))
    container.ports += [port_of(value) for value in settings.get("PublishPort", [])]
    pod = units.last(settings, "Pod")
    if pod is None:
        return
    found = library.read(pod, path)
    if found is None:
        container.settings.append(Note("unresolved", pod, "Container.Pod", f"the file {pod}"))
        return
    shared = units.parse(found[1], found[0]).get("Pod", {})
    container.ports += [port_of(value) for value in shared.get("PublishPort", [])]
    for value in shared.get("Network", []):
        if value == "host":
            container.network = "host"
            container.settings.append(Note("host-network", value, "Pod.Network", "Network=host"))


def _quadlet_privileges(settings: Mapping[str, list[Text]], container: Container, library: Library) -> None:
    for value in settings.get("PodmanArgs", []):
        # The arguments have no image after them; what looks like one is a value nobody knows the option of.
        image, command = container.image, container.command
        docker.apply(container, units.words(value), library)
        container.image, container.command = image, command
    for value in settings.get("AddCapability", []):
        container.settings += capability_notes(units.words(value), "Container.AddCapability")
    for value in settings.get("Volume", []):
        volume, target = split_mount(value)
        unit = library.read(volume, value.path) if volume.endswith(".volume") else None
        share = shares.of_unit(units.parse(unit[1], unit[0]).get("Volume", {})) if unit is not None else None
        mount(container, volume, target, "Container.Volume", share)
    label = units.last(settings, "SecurityLabelDisable")
    if label is not None and label.lower() in ("true", "yes", "1"):
        container.settings.append(
            Note("unconfined", label, "Container.SecurityLabelDisable", "SecurityLabelDisable=true")
        )
    container.settings += user_notes(units.last(settings, "User"), "Container.User")
