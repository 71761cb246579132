# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Containers of every kind (Compose, Quadlet, docker run, Kubernetes) brought into one shape and judged."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ...problems import Severity, whole_number
from .. import releases
from ..conditions import loopback
from ..spelling import resolve
from ..texts import Note, Process, Reading, Text
from .launch import is_server_image

# Ports of sockets between nodes (and of Ray): never for anybody else.
INTERNAL_PORTS = frozenset(
    {5555, 5557, 5600, 5601, 5710, 6379, 8265, 8998, 9256, 10001, 14579, 18000, 29500, 29501, 29550, 52365}
)
# A name with vllm in it, or a variable that stands for one.
_SOME_VLLM = re.compile(r"(^|[/_-])vllm([-_:@/.]|$)|\$\{?\w*VLLM")
# Options no other server has.
_OWN_OPTIONS = frozenset({"max-model-len", "gpu-memory-utilization"})
_MOVING = re.compile(r"(latest([-.].*)?|nightly|main|master|stable|edge|dev)?")
_SOCKETS = re.compile(r".*/(docker|containerd|crio|podman)\.sock")

_WIDE = ("ALL", "SYS_ADMIN", "NET_ADMIN", "SYS_MODULE", "SYS_RAWIO", "DAC_READ_SEARCH", "BPF")

Started = Callable[[Sequence[Text], Process], Reading]


@dataclass
class Port:
    """A published port: where it is written, the host's address (None: every one) and the ports."""

    at: Text
    address: str | None
    container: int | None


@dataclass
class Container:
    """A container as some artefact describes it. ``entrypoint`` and ``command`` are None when the image's are used.

    ``mounts`` are places in it and what of the host is there, ``volumes`` those and all other places something is mounted
    at, with what makes it a network share. ``fragment`` is True when a part of it is elsewhere.
    """

    where: str
    at: Text
    image: Text | None = None
    entrypoint: list[Text] | None = None
    command: list[Text] | None = None
    environment: dict[str, Text] = field(default_factory=dict)
    whole_environment: bool = True
    network: str = "container"
    ports: list[Port] = field(default_factory=list)
    mounts: list[tuple[str, Text]] = field(default_factory=list)
    volumes: list[tuple[str, Text | None]] = field(default_factory=list)
    fragment: bool = False
    settings: list[Note] = field(default_factory=list)

    def words(self) -> list[Text]:
        """Return the words that are run, as far as the artefact gives them."""
        return [*(self.entrypoint or []), *(self.command or [])]


def reading_of(container: Container, started: Started) -> Reading:
    """Return the server in ``container`` and what is wrong around it; nothing when it runs no vLLM.

    ``started`` finds servers in words that are run without a shell.
    """
    base = Process(
        container.where,
        container.at,
        environment=container.environment,
        whole_environment=container.whole_environment,
        network=container.network,
        mounts=tuple(container.mounts),
        volumes=tuple(container.volumes),
        fragment=container.fragment,
        release=releases.of_image(container.image) if container.image is not None else None,
    )
    words = container.words()
    reading = started(words, base) if words else Reading()
    if not reading.processes and _image_serves(container):
        words = list(container.command or [])
        base.argv = words[1:] if words[:1] == ["serve"] else words
        reading.processes.append(base)
    if not reading.processes and _is_vllm(container) and any(note.rule.startswith("ray-") for note in reading.notes):
        # A node of a Ray cluster runs workers of vLLM: what they are given counts, what is missing does not.
        reading.processes.append(dataclasses.replace(base, fragment=True))
    reading.together(base)
    # What runs beside the container is not in it.
    reading.ray = None
    if not reading.processes and not reading.notes:
        if _opaque(container):
            found = f"the image {container.image}, whose own command is not visible"
            at = container.image if container.image is not None else container.at
            return Reading(notes=[Note("unresolved", at, container.where or "image", found)])
        return reading
    reading.notes += container.settings
    reading.notes += _image_notes(container)
    reading.notes += [note for port in container.ports for note in _port_notes(container, port)]
    return reading


def _image_serves(container: Container) -> bool:
    if container.entrypoint is not None:
        return False
    if container.image is None or not _SOME_VLLM.search(container.image):
        return _only_vllm_takes(container.command or [])
    first = container.command[0] if container.command else None
    if is_server_image(container.image):
        return first is None or not _is_program(first)
    # An image of somebody's own, which hands its words on: they must be options only vLLM has.
    return first is not None and _is_option(first)


def _only_vllm_takes(words: Sequence[Text]) -> bool:
    """Tell whether ``words``, handed to an image whose name tells nothing, are options only vLLM has."""
    options = [word for word in words if word.startswith("--")]
    if not options or not words[0].startswith("--") or not all(map(_is_option, options)):
        return False
    return any(resolve(option.partition("=")[0])[0] in _OWN_OPTIONS for option in options)


def _is_option(word: Text) -> bool:
    return word.startswith("--") and resolve(word.partition("=")[0])[0] is not None


def _is_program(word: Text) -> bool:
    return word.rsplit("/", 1)[-1] in ("sh", "bash", "python", "python3", "sleep", "ray", "vllm", "env", "nginx")


def _is_vllm(container: Container) -> bool:
    if container.image is not None and _SOME_VLLM.search(container.image):
        return True
    return any(name.startswith("VLLM_") for name in container.environment)


def _opaque(container: Container) -> bool:
    return _is_vllm(container) and not container.command and container.entrypoint is None


def _image_notes(container: Container) -> list[Note]:
    image = container.image
    if image is None or not image.known or "$" in image:
        return []
    place = f"{container.where}.image" if container.where else "image"
    if "@sha256:" in image:
        return []
    tag = image.rsplit("/", 1)[-1].partition(":")[2]
    if _MOVING.fullmatch(tag):
        found = f"{image}, whose content changes"
        return [Note("image-tag", image, place, found, severity=Severity.WARNING)]
    return [Note("image-tag", image, place, str(image))]


def _port_notes(container: Container, port: Port) -> list[Note]:
    if port.address is not None and loopback(port.address):
        return []
    place = f"{container.where}.ports" if container.where else "ports"
    internal = port.container in INTERNAL_PORTS
    if internal:
        return [Note("published-internal", port.at, place, str(port.at))]
    if port.address is None or _open(port.address):
        return [Note("published-port", port.at, place, f"{port.at}, on every address of the host")]
    return []


def _open(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        return False
    return parsed.is_unspecified or parsed.is_global


def port_of(written: Text) -> Port:
    """Return the port ``[address:][host:]container[/protocol]`` publishes."""
    # A variable nobody resolved stands for one part, whatever it holds.
    bare = re.sub(r"\$\{[^}]*\}|\$\w+", "?", written).split("/")[0]
    match = re.fullmatch(r"(?:(\[[^\]]*\]|[^:\[\]]*):)?(?:([\d?-]*):)?([\d?-]+)", bare)
    address: str | None = None
    inner = bare.rsplit(":", 1)[-1]
    if match is not None and match[1] and (match[2] is not None or not re.fullmatch(r"[\d?-]+", match[1])):
        address = match[1]
    digits = inner.split("-")[0]
    return Port(written, address, whole_number(digits))


def mount_notes(source: Text, target: str, place: str) -> list[Note]:
    """Return what is wrong with mounting ``source`` of the host at ``target`` of a container."""
    notes: list[Note] = []
    if _SOCKETS.fullmatch(source):
        notes.append(Note("container-socket", source, place, str(source)))
    elif source in ("/", "/proc", "/sys", "/etc", "/root"):
        notes.append(Note("host-mount", source, place, str(source)))
    return [*notes, *target_notes(source.become(target), place)]


def mount(container: Container, source: Text, target: str, place: str, share: Text | None = None) -> None:
    """Put ``source`` at ``target`` of ``container``, and note what is wrong with it; ``share`` makes it a network's."""
    container.settings += mount_notes(source, target, place)
    container.volumes.append((target, share))
    # A name without a slash is a volume, which nobody else writes to.
    if target and source.startswith((".", "/", "~", "$")):
        container.mounts.append((target, source))


def target_notes(target: Text, place: str) -> list[Note]:
    """Return what is wrong with a mount at ``target``."""
    if target.rstrip("/") in ("/opt/ml", "/opt/ml/model"):
        return [Note("sagemaker-mount", target, place, str(target))]
    return []


def split_mount(written: Text) -> tuple[Text, str]:
    """Return source and target of ``source:target[:options]``."""
    source, _colon, rest = written.partition(":")
    return written.become(source), rest.split(":")[0]


def capability_notes(names: Sequence[Text], place: str) -> list[Note]:
    """Return what is wrong with adding capabilities."""
    bare = [(name, name.upper().removeprefix("CAP_")) for name in names]
    notes = [Note("capabilities", name, place, str(name)) for name, known in bare if known in _WIDE]
    return [
        *notes,
        *(Note("capability-ptrace", name, place, str(name)) for name, known in bare if known == "SYS_PTRACE"),
    ]


def user_notes(user: Text | None, place: str) -> list[Note]:
    """Return what is wrong with the user a container runs as, when it is said."""
    if user is None or not user.known or user.split(":")[0] not in ("0", "root"):
        return []
    return [Note("run-as-root", user, place, str(user))]
