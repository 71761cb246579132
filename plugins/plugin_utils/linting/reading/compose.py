# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""docker-compose files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...problems import whole_number
from ..texts import Note, Reading, Text, UnreadableError, put_in, text
from . import scripts, shares
from .containers import Container, Port, capability_notes, mount, port_of, reading_of, split_mount, user_notes
from .environment import variables_of
from .library import Library
from .yaml_reading import Map, documents, items, mapping, scalar

# More variables than any value of a service has.
_VARIABLES = 200
# Marks a variable nobody set, within this module.
_UNSET = "\ue000"
_VARIABLE = re.compile(
    r"\$(?:(\$)|([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-?+])((?:[^{}]|\{[^}]*\})*))?\})"
)


def read(document: Map, path: str, library: Library) -> Reading:
    """Return the servers of a compose file."""
    # Not what a service gets, only what is put into the file: its variables are judged where they are used.
    dotenv = library.read(".env", path)
    values = variables_of(dotenv[1], dotenv[0]) if dotenv else {}
    services = mapping(document.get("services"))
    shared = {str(key): shares.of_compose(volume) for key, volume in mapping(document.get("volumes")).items()}
    reading = Reading()
    for name, service in services.items():
        if isinstance(service, Map):
            reading.add(_Service(text(name), service, services, values, path, library, shared).reading())
    for item in items(document.get("include")):
        at = scalar(item) or scalar(mapping(item).get("path")) or document.key("include")
        reading.notes.append(Note("unresolved", at, "include", f"the file {at}, which is included"))
    return reading


def interpolate(written: Text, values: Mapping[str, Text]) -> Text:
    """Return ``written`` with variables put in as compose does: from ``.env``, else their defaults."""
    text, breaks = _put_in(written, values)
    result = written.become(text.replace(_UNSET, ""), literal="$" not in written.replace("$$", ""))
    result.known = written.known and _UNSET not in text
    result.breaks = breaks
    return result


def command_words(written: Text, values: Mapping[str, Text]) -> list[Text]:
    """Split a command given as one string: blanks and line breaks separate, a backslash takes what follows as it is."""
    text, breaks = _put_in(written, values)
    lines = _Lines(written, breaks)
    words: list[Text] = []
    current: list[str] = []
    inner: list[tuple[int, int]] = []
    quote, opened, start = "", False, written.line
    index = 0
    while index <= len(text):
        character = text[index : index + 1]
        line = lines.at(index, character)
        index += 1
        if not opened:
            start = line
            inner = []
        elif line != (inner[-1][1] if inner else start):
            inner.append((len(current), line))
        if character == "\\" and quote != "'":
            current.append(text[index : index + 1])
            lines.at(index, current[-1])
            index, opened = index + 1, True
        elif character and character == quote:
            quote = ""
        elif not quote and character and character in "\"'":
            quote, opened = character, True
        elif character and (quote or not character.isspace()):
            current.append(character)
            opened = True
        elif opened:
            words.append(_word(written, "".join(current), start, inner))
            current, opened = [], False
    return words


class _Lines:
    """The line of the file each character of a text is on, asked in order."""

    def __init__(self, written: Text, breaks: tuple[tuple[int, int], ...]) -> None:
        self.line = written.line
        self.block = written.block
        self.breaks = list(breaks)

    def at(self, index: int, character: str) -> int:
        while self.breaks and self.breaks[0][0] <= index:
            self.line = self.breaks.pop(0)[1]
        line = self.line
        self.line += self.block and character == "\n"
        return line


def _word(written: Text, word: str, line: int, breaks: list[tuple[int, int]]) -> Text:
    known = _UNSET not in word
    return Text(
        word.replace(_UNSET, ""),
        line,
        written.path,
        known=known,
        literal="$" not in written,
        breaks=tuple(breaks) if known else (),
    )


def _put_in(written: Text, values: Mapping[str, Text]) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Return the text with variables put in, those that are not set marked, and where its lines begin then."""
    if "$" not in written:
        return str(written), written.breaks
    if written.count("${") > _VARIABLES:
        return f"{_UNSET}{written}", written.breaks

    def put(match: re.Match[str]) -> str:
        if match[1]:
            return "$"
        name, operator, word = match[2] or match[3], match[4], match[5]
        value = values.get(name)
        if operator in (":+", "+"):
            return str(word) if value else ""
        if value is not None and value.known and (value or operator != ":-"):
            return str(value)
        if operator in (":-", "-"):
            return _put_in(Text(word or ""), values)[0]
        return f"{_UNSET}{match[0]}"

    whole = put_in(_VARIABLE, put, written)
    if whole is None:
        return f"{_UNSET}{written}", written.breaks
    # Where a line began moves with the variables put in before it.
    breaks = tuple((len(_VARIABLE.sub(put, written[:offset])), line) for offset, line in written.breaks)
    return whole, breaks


class _Service:
    def __init__(
        self,
        name: Text,
        service: Map,
        services: Map,
        values: Mapping[str, Text],
        path: str,
        library: Library,
        shared: Mapping[str, Text | None],
    ) -> None:
        self.name = name
        self.values = values
        self.path = path
        self.library = library
        self.shared = shared
        self.container = Container(f"services.{name}", name)
        self.service = self._extended(service, services, 0)

    def _extended(self, service: Map, services: Map, depth: int) -> Map:
        extends = service.get("extends")
        if extends is None:
            return service
        other = scalar(extends) or scalar(mapping(extends).get("service"))
        file = scalar(mapping(extends).get("file"))
        if file is not None:
            services = self._services(self._put(file))
        base = services.get(other) if other is not None else None
        if not isinstance(base, Map) or depth > 10:
            self._unresolved(service.key("extends"), "extends", f"the service {other} it extends")
            self.container.fragment = True
            return service
        merged = Map({**self._extended(base, services, depth + 1)})
        merged.line = service.line
        for key, value in service.items():
            old = merged.get(key)
            if isinstance(old, Map) and isinstance(value, Map):
                value = Map({**old, **value})
            merged[key] = value
        return merged

    def _services(self, file: Text) -> Map:
        found = self.library.read(file, file.path or self.path) if file.known else None
        if found is None:
            return Map()
        try:
            read = documents(found[1], found[0])
        except UnreadableError:
            # Said where the file itself is linted.
            return Map()
        return mapping(mapping(read[0] if read else None).get("services"))

    def reading(self) -> Reading:
        container = self.container
        image = scalar(self.service.get("image"))
        container.image = self._put(image) if image is not None else None
        container.entrypoint = self._words("entrypoint")
        container.command = self._words("command")
        self._environment()
        self._network()
        self._privileges()
        return reading_of(container, lambda words, base: scripts.started(words, base, self.library))

    def _put(self, written: Text) -> Text:
        return interpolate(written, self.values)

    def _place(self, part: str) -> str:
        return f"{self.container.where}.{part}"

    def _unresolved(self, at: Text, part: str, found: str) -> None:
        self.container.settings.append(Note("unresolved", at, self._place(part), found))

    def _words(self, key: str) -> list[Text] | None:
        value = self.service.get(key)
        if isinstance(value, Text):
            return command_words(value, self.values) if value.tag != "null" else None
        return None if value is None else [self._put(item) for item in items(value) if isinstance(item, Text)]

    def _environment(self) -> None:
        for item in items(self.service.get("env_file")):
            name = scalar(item) or scalar(mapping(item).get("path"))
            if name is None:
                continue
            name = self._put(name)
            found = self.library.read(name, name.path or self.path) if name.known else None
            if found is None:
                self.container.whole_environment = False
                self._unresolved(name, "env_file", f"the file {name}")
            else:
                self.container.environment.update(variables_of(found[1], found[0]))
        given = self.service.get("environment")
        if isinstance(given, Map):
            for key, value in given.items():
                self._variable(text(key), value)
        for item in [] if isinstance(given, Map) else items(given):
            if isinstance(item, Text):
                key_text, equals, rest = item.partition("=")
                self._variable(item.become(key_text), item.become(rest) if equals else None)

    def _variable(self, key: Text, value: Any) -> None:
        if isinstance(value, Text) and value.tag != "null":
            put = self._put(value)
            # Where a value is its own text, the line of its key is the one people look for.
            self.container.environment[str(key)] = put
        elif not isinstance(value, Map | list):
            self.container.environment[str(key)] = key.become("", known=False, literal=False)

    def _network(self) -> None:
        mode = scalar(self.service.get("network_mode"))
        if mode is not None and self._put(mode) == "host":
            self.container.network = "host"
            self.container.settings.append(
                Note("host-network", mode, self._place("network_mode"), "network_mode: host")
            )
        for item in items(self.service.get("ports")):
            if isinstance(item, Text):
                self.container.ports.append(port_of(self._put(item)))
            elif isinstance(item, Map):
                target, address = scalar(item.get("target")), scalar(item.get("host_ip"))
                at = scalar(item.get("published")) or target or item.key("target")
                number = whole_number(target) if target is not None else None
                self.container.ports.append(Port(self._put(at), str(address) if address else None, number))

    def _privileges(self) -> None:
        service, notes = self.service, self.container.settings
        for key, rule in (("ipc", "host-ipc"), ("pid", "host-pid")):
            value = scalar(service.get(key))
            if value == "host":
                notes.append(Note(rule, value, self._place(key), f"{key}: host"))
        privileged = scalar(service.get("privileged"))
        if privileged is not None and privileged.lower() == "true":
            notes.append(Note("privileged", privileged, self._place("privileged"), "privileged: true"))
        for item in items(service.get("security_opt")):
            if isinstance(item, Text) and "unconfined" in item:
                notes.append(Note("unconfined", item, self._place("security_opt"), str(item)))
        added = [item for item in items(service.get("cap_add")) if isinstance(item, Text)]
        notes += capability_notes(added, self._place("cap_add"))
        for item in items(service.get("volumes")):
            if isinstance(item, Text):
                self._mount(*split_mount(self._put(item)))
                continue
            source, target = scalar(mapping(item).get("source")), scalar(mapping(item).get("target"))
            if source is not None:
                self._mount(self._put(source), str(target or ""))
        notes += user_notes(scalar(service.get("user")), self._place("user"))

    def _mount(self, source: Text, target: str) -> None:
        mount(self.container, source, target, self._place("volumes"), self.shared.get(str(source)))
