# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``docker run`` and ``podman run`` as a container."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..texts import Note, Process, Text
from .containers import Container, capability_notes, mount, port_of, split_mount, user_notes
from .environment import variables_of
from .library import Library
from .shares import of_mount

_PROGRAMS = frozenset({"docker", "podman", "nerdctl"})
# Options of docker run and podman run that stand alone; every other takes a value.
_SWITCHES = frozenset(
    {"--detach", "--disable-content-trust", "--env-host", "--help", "--http-proxy", "--init", "--interactive"}
    | {"--no-healthcheck", "--no-hosts", "--oom-kill-disable", "--privileged", "--publish-all", "--quiet"}
    | {"--read-only", "--replace", "--rm", "--rmi", "--sig-proxy", "--tty"}
)
_LONG = {"-e": "--env", "-p": "--publish", "-v": "--volume", "-u": "--user", "--net": "--network", "-n": "--name"}


def run(words: Sequence[Text], base: Process, library: Library) -> Container | None:
    """Return the container ``words`` run, None when they run none."""
    for index, word in enumerate(words):
        program = word.rsplit("/", 1)[-1]
        if program in _PROGRAMS and words[index + 1 : index + 2] in (["run"], ["create"]):
            rest = words[index + 2 :]
        elif program in _PROGRAMS and words[index + 1 : index + 3] in (["container", "run"], ["container", "create"]):
            rest = words[index + 3 :]
        else:
            continue
        container = Container(base.where, word)
        apply(container, rest, library)
        return container
    return None


def apply(container: Container, words: Sequence[Text], library: Library) -> None:
    """Put the options, the image and the command in ``words`` into ``container``."""
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        if not word.startswith("-"):
            if not word.known:
                # Options in a variable that is not set here, or the image itself.
                container.whole_environment = False
                if _image_follows(words[index:]):
                    continue
            container.image = word
            container.command = list(words[index:]) or None
            return
        name, equals, value = word.partition("=")
        if not word.startswith("--"):
            letters = word[1:]
            if re.fullmatch(r"[diqtPh]+", letters):
                if "P" in letters:
                    container.settings.append(Note("published-port", word, _place(container, "ports"), str(word)))
                continue
            name, value = _LONG.get(word[:2], word[:2]), word[2:].removeprefix("=")
            equals = "=" if value else ""
        name = _LONG.get(name, name)
        held = word.become(value)
        if name in _SWITCHES and not equals:
            held = word.become("true")
        elif not equals:
            held = words[index] if index < len(words) else Text("")
            index += 1
        _option(container, word.become(name), held, library)


def _image_follows(rest: Sequence[Text]) -> bool:
    return any(re.search(r"[/:]", word) and not word.startswith("-") for word in rest)


def _place(container: Container, part: str) -> str:
    return f"{container.where}.{part}" if container.where else part


def _option(container: Container, name: Text, value: Text, library: Library) -> None:
    if name == "--env":
        key, equals, text = value.partition("=")
        container.environment[key] = value.become(text) if equals else value.become("", known=False, literal=False)
    elif name == "--env-file":
        found = library.read(value, value.path or container.at.path) if value.known else None
        if found is None:
            container.whole_environment = False
            container.settings.append(Note("unresolved", value, _place(container, "env-file"), f"the file {value}"))
        else:
            container.environment.update(variables_of(found[1], found[0]))
    elif name == "--entrypoint":
        container.entrypoint = [value] if value else None
    elif name == "--publish":
        container.ports.append(port_of(value))
    elif name == "--network" and value == "host":
        container.network = "host"
        container.settings.append(Note("host-network", value, _place(container, "network"), "--network host"))
    elif name == "--publish-all" and value == "true":
        container.settings.append(Note("published-port", name, _place(container, "ports"), str(name)))
    else:
        _privilege(container, name, value)


def _privilege(container: Container, name: Text, value: Text) -> None:
    place = _place(container, name.lstrip("-"))
    if name == "--ipc" and value == "host":
        container.settings.append(Note("host-ipc", value, place, "--ipc host"))
    elif name == "--pid" and value == "host":
        container.settings.append(Note("host-pid", value, place, "--pid host"))
    elif name == "--privileged" and value == "true":
        container.settings.append(Note("privileged", name, place, "--privileged"))
    elif name == "--security-opt" and "unconfined" in value:
        container.settings.append(Note("unconfined", value, place, str(value)))
    elif name == "--cap-add":
        container.settings += capability_notes([value.become(part) for part in value.split(",")], place)
    elif name == "--volume":
        mount(container, *split_mount(value), place)
    elif name == "--mount":
        given = dict(part.partition("=")[::2] for part in value.split(","))
        source = given.get("source", given.get("src", ""))
        target = given.get("target", given.get("destination", given.get("dst", "")))
        mount(container, value.become(source), target, place, of_mount(value))
    elif name == "--user":
        container.settings += user_notes(value, place)
