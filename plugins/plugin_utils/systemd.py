# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Text for systemd: command lines, environment files and device rules.

Source: systemd.service(5) "Command lines", systemd.exec(5) "EnvironmentFile=",
systemd.unit(5) "Specifiers", systemd.resource-control(5) "DeviceAllow=".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_PLAIN_WORD = re.compile(r"[A-Za-z0-9_@+=:,./-]+")
_PROGRAM = re.compile(r"/[A-Za-z0-9_@+=:,./-]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DEVICE_NODE = re.compile(r"/dev/[A-Za-z0-9_@+=:,./-]+")
_DEVICE_CLASS = re.compile(r"(char|block)-[A-Za-z0-9_.*?-]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ARGUMENT_ESCAPES = {"\\": "\\\\", '"': '\\"', "%": "%%", "\n": "\\n", "\t": "\\t"}
_ENVIRONMENT_ESCAPES = {character: "\\" + character for character in '"\\`$'}


def _refuse_control(text: str, what: str, allowed: str = "") -> None:
    found = _CONTROL.search(text.translate({ord(character): None for character in allowed}))
    if found:
        raise ValueError(f"{what} holds the control character {found[0]!r}, which systemd would refuse; remove it")


def quote_argument(argument: str) -> str:
    r"""Quote one word of ExecStart= so that the program receives exactly ``argument``.

    ``%`` is doubled (specifiers are resolved inside quotes too); ``$`` stays, because
    :func:`command_line` switches the expansion of variables off.
    Raises ValueError for control characters other than newline and tab.
    """
    _refuse_control(argument, f"argument {argument!r}", allowed="\n\t")
    if _PLAIN_WORD.fullmatch(argument):
        return argument
    return '"' + "".join(_ARGUMENT_ESCAPES.get(character, character) for character in argument) + '"'


def command_line(argv: Sequence[str]) -> str:
    """Return the value of ExecStart= that runs ``argv`` literally.

    The prefix ``:`` (systemd 244) keeps systemd from expanding ``$NAME`` in arguments.
    Raises ValueError when ``argv`` is empty, when its program is no plain absolute path
    or when a word cannot be written.
    """
    if not argv:
        raise ValueError("argv is empty; expected a program followed by its arguments")
    program, *arguments = argv
    if not _PROGRAM.fullmatch(program):
        raise ValueError(
            f"program {program!r} cannot start a systemd unit;"
            " expected an absolute path of letters, digits and _@+=:,./-"
        )
    return " ".join([":" + program, *(quote_argument(argument) for argument in arguments)])


def quadlet_words(words: Sequence[str]) -> str:
    """Return words for Exec= or Environment= of a Quadlet (podman-systemd.unit(5)), which arrive literally.

    Podman's generator hands them on to ExecStart= without the prefix ``:``, so ``$`` is doubled here.
    Raises ValueError when a word cannot be written.
    """
    return " ".join(quote_argument(word).replace("$", "$$") for word in words)


def environment_file(environment: Mapping[str, str]) -> str:
    """Return the text of an EnvironmentFile= with one variable per line, sorted by name.

    Raises ValueError for a name that is no shell identifier and for control characters.
    """
    lines = []
    for name in sorted(environment):
        value = environment[name]
        if not _VARIABLE.fullmatch(name):
            raise ValueError(
                f"environment variable {name!r} has no valid name; expected letters, digits and _, no digit first"
            )
        _refuse_control(value, f"environment variable {name}")
        escaped = "".join(_ENVIRONMENT_ESCAPES.get(character, character) for character in value)
        lines.append(f'{name}="{escaped}"\n')
    return "".join(lines)


def device_rules(devices: Sequence[str]) -> list[str]:
    """Return the values of DeviceAllow= for ``devices``, in their order.

    systemd knows a device node (``/dev/kfd``) or a driver's class, where a pattern is
    allowed (``char-nvidia*``, names as in /proc/devices). A pattern over paths
    (``/dev/nvidia*``) would silently allow nothing, so it raises ValueError.
    """
    rules = []
    for device in devices:
        if not (_DEVICE_NODE.fullmatch(device) or _DEVICE_CLASS.fullmatch(device)):
            raise ValueError(
                f"device {device!r} is nothing systemd can allow; expected a node such as /dev/kfd"
                " or a class such as char-nvidia* (names are in /proc/devices)"
            )
        rules.append(f"{device} rw")
    return rules
