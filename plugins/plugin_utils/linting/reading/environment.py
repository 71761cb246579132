# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files of variables: systemd's EnvironmentFile, Docker's env_file, ``.env``."""

from __future__ import annotations

import re

from ..texts import Process, Reading, Text

_LINE = re.compile(r"\s*(export\s+)?([A-Za-z_][A-Za-z0-9_.-]*)\s*(?:=(.*))?", re.DOTALL)


def variables_of(content: str, path: str = "", first: int = 1) -> dict[str, Text]:
    """Return the variables a file sets; quotes around a value are not part of it.

    A name without a value is taken from elsewhere, so it is not known. Lines that set nothing are left out.
    """
    found: dict[str, Text] = {}
    for number, line in _lines(content, first):
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        tag = "exported" if match[1] else "str"
        if match[3] is None:
            found[match[2]] = Text(match[2], number, path, known=False, literal=False, tag=tag)
            continue
        value, quote = _unquoted(match[3].strip())
        # Compose and shells put other variables in; systemd takes the dollar as it is, which no value here has.
        known = quote == "'" or re.search(r"\$(\{|[A-Za-z_])", value) is None
        # A file of its own is where a secret belongs, so its values are no literals of an artefact.
        found[match[2]] = Text(value, number, path, known=known, literal=False, tag=tag)
    return found


def _lines(content: str, first: int) -> list[tuple[int, str]]:
    lines: list[tuple[int, str]] = []
    held = ""
    start = first
    for number, line in enumerate(content.split("\n"), first):
        if not held and line.lstrip().startswith(("#", ";")):
            continue
        if not held:
            start = number
        if line.endswith("\\"):
            held += line[:-1]
            continue
        lines.append((start, held + line))
        held = ""
    return [*lines, (start, held)] if held else lines


def _unquoted(value: str) -> tuple[str, str]:
    quoted = re.fullmatch(r"([\"'])(.*)\1(\s*#.*)?", value, re.DOTALL)
    if quoted is not None:
        return quoted[2], quoted[1]
    return re.sub(r"\s+#.*$", "", value), ""


def read(content: str, path: str) -> Reading:
    """Return a file of variables as a part of a process: only what is there is judged."""
    variables = variables_of(content, path)
    base = Process("", Text("", 1, path), environment=variables, fragment=True, whole_arguments=False)
    return Reading([base])
