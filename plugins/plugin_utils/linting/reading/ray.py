# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Nodes of a Ray cluster, started by hand or by the scripts vLLM ships for it."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...problems import Severity
from ..conditions import loopback, public, wildcard
from ..texts import Note, Process, Text
from .launch import ASSIGNMENT, program, talks

# vLLM's examples: the first hands its words to `ray start`, the second runs it in a container of the host's network.
_SERVING = re.compile(r"multi-node-serving\.sh|ray_init\.sh")
_CLUSTER = "run_cluster.sh"
_HEAD = frozenset({"--head", "leader"})


@dataclass
class _Node:
    at: Text
    options: Mapping[str, Text]
    environment: Mapping[str, Text]
    head: bool


def ray_node(words: Sequence[Text], base: Process) -> Text | None:
    """Return the word that starts a node of Ray, None when ``words`` start none."""
    node = _started(words, base.environment)
    return None if node is None else node.at


def ray_notes(words: Sequence[Text], base: Process) -> Iterator[Note]:
    """Yield what is wrong with the Ray node ``words`` start in the environment of ``base``."""
    node = _started(words, base.environment)
    if node is None:
        return
    place = f"{base.where}.ray" if base.where else "ray"
    host, address = node.options.get("--dashboard-host"), node.options.get("--node-ip-address")
    dashboard = node.options.get("--include-dashboard")
    off = dashboard is not None and dashboard.lower() == "false"
    if node.head and not off and host is not None and host.known and not loopback(host):
        found = f"--dashboard-host {host}" + ("" if host.literal else ", where nothing is said")
        yield Note("ray-dashboard", host, f"{place}.--dashboard-host", found)
    if address is not None and address.known and (public(address) or wildcard(address)):
        yield Note("ray-dashboard", address, f"{place}.--node-ip-address", f"--node-ip-address {address}")
    mode = node.environment.get("RAY_AUTH_MODE")
    if mode is None:
        severity = None if base.whole_environment else Severity.WARNING
        found = "nothing" if base.whole_environment else "nothing as far as the environment can be seen"
        yield Note("ray-auth", node.at, f"{place}.RAY_AUTH_MODE", found, severity=severity)
    elif mode.known and mode != "token":
        yield Note("ray-auth", mode, f"{place}.RAY_AUTH_MODE", f"RAY_AUTH_MODE={str(mode)[:40]!r}")
    if node.head and dashboard is None and host is None:
        yield Note("ray-dashboard-on", node.at, f"{place}.--include-dashboard", "nothing")


def _started(words: Sequence[Text], environment: Mapping[str, Text]) -> _Node | None:
    if talks(words):
        return None
    for index, word in enumerate(words[:-1]):
        name, rest = program(word), words[index + 1 :]
        if (name == "ray" and rest[0] == "start") or (_SERVING.fullmatch(name) and rest[0] in ("leader", "worker")):
            before = _assigned(words[:index])
        elif name == _CLUSTER and ("--head" in rest or "--worker" in rest):
            before = _assigned([*words[:index], *_after(rest, ("-e", "--env"))])
        else:
            continue
        return _Node(word, _options(rest), {**environment, **before}, any(option in _HEAD for option in rest))
    return None


def _options(words: Sequence[Text]) -> dict[str, Text]:
    found = {}
    for index, word in enumerate(words):
        name, equals, value = word.partition("=")
        follows = words[index + 1] if index + 1 < len(words) else Text("")
        found[name.replace("_", "-")] = word.become(value) if equals else follows
    return found


def _assigned(words: Sequence[Text]) -> dict[str, Text]:
    matches = ((word, ASSIGNMENT.fullmatch(word)) for word in words)
    return {match[1]: word.become(match[2]) for word, match in matches if match}


def _after(words: Sequence[Text], options: Sequence[str]) -> list[Text]:
    return [follows for word, follows in itertools.pairwise(words) if word in options]
