# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running vLLM and Ray: planned or not, confined or not, with which versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ... import catalogue
from ...catalogue.advisories import advisories, first_without
from ...problems import Severity
from ..controls import controls
from ..evidence import Process
from ..view import Absent, Looked, Said, Unchecked, View, is_loopback
from . import settings

KINDS = ("vllm", "vllm-worker", "ray", "ray-dashboard", "mooncake", "nixl", "lmcache")
# Packages whose advisories are known, as dist-info names them.
ADVISED = {
    "ray": "ray",
    "mooncake_transfer_engine": "mooncake-transfer-engine",
    "mooncake-transfer-engine": "mooncake-transfer-engine",
}


def _here(view: View, control: str, *kinds: str) -> Sequence[Process] | Said:
    why = view.lacks("processes")
    if why is not None:
        return Unchecked(why, control)
    found = view.processes(*kinds)
    return found or Absent("no such process runs here", control)


def planned_processes(view: View) -> Iterator[Said]:
    """Judge whether every planned engine runs, with the planned arguments and environment."""
    if not view.engines:
        yield Absent("no engine is planned here")
        return
    why = view.lacks("processes")
    if why is not None:
        yield Unchecked(why)
        return
    for engine in view.engines:
        running = [one for one in view.processes("vllm") if one["unit"] == engine["unit"]]
        if not running:
            yield view.finding(
                "ENG-18", engine["unit"], "no vLLM runs in it", "the planned engine", severity=Severity.ERROR
            )
        for process in running[:1]:
            yield from _as_planned(view, engine, process)


def _as_planned(view: View, engine: Mapping[str, Any], process: Process) -> Iterator[Said]:
    words = settings.words(process["argv"])
    planned = [str(word) for word in engine["argv"][1:]]
    secret = settings.secrets_of(engine)
    if words is None:
        yield Unchecked(f"{engine['unit']}: its arguments show no vllm serve")
    elif words != planned + secret:
        extra = [word for word in words if word not in planned + secret]
        gone = [word for word in planned + secret if word not in words]
        found = "; ".join(
            part
            for part in (f"besides {' '.join(extra)}" if extra else "", f"without {' '.join(gone)}" if gone else "")
            if part
        )
        yield view.finding(
            "ENG-18", f"arguments of {engine['unit']}", found or "another order", "the planned arguments"
        )
    else:
        yield Looked("ENG-18", f"{engine['unit']}: {len(words)} words")
    environment = process["environment"]
    if environment is None:
        yield Unchecked(f"{engine['unit']}: its environment could not be read")
        return
    for name, wanted in sorted(engine["environment"].items()):
        known = name not in environment or environment[name] is not None
        if known and environment.get(name) != str(wanted):
            shown = settings.shown(name, environment.get(name))
            yield view.finding(
                "ENG-18", f"{name} of {engine['unit']}", shown, f"{settings.shown(name, str(wanted))}, as planned"
            )


def _planned(view: View) -> set[str | None]:
    """Return the units of ours in which vLLM and Ray run."""
    ray = view.part is not None and view.part["ray"]
    return {engine["unit"] for engine in view.engines} | ({"hardened-vllm-ray.service"} if ray else set())


def unplanned_processes(view: View) -> Iterator[Said]:
    """Judge whether no vLLM and no Ray runs but the planned ones."""
    if view.part is None:
        yield Absent("no plan says what should run")
        return
    why = view.lacks("processes")
    if why is not None:
        yield Unchecked(why)
        return
    strange = {settings.place(one): one for one in view.processes() if one["unit"] not in _planned(view)}
    for name, process in sorted(strange.items()):
        yield view.finding(
            "OUT-04",
            name,
            f"{process['kind']} run by {process['user'] or process['uid']}",
            "planned processes only",
            evidence=[f"{process['name']}, started {process['started']}"],
        )
    yield Looked("OUT-04", f"{len(view.processes())} processes of vLLM and Ray")


def confinement(view: View) -> Iterator[Said]:
    """Judge whether no process of vLLM is root, gains rights, or calls whatever the kernel has."""
    found = _here(view, "ENG-17", *KINDS)
    if not isinstance(found, Sequence):
        yield found
        return
    seen: dict[str, Process] = {}
    for process in found:
        seen.setdefault(settings.place(process), process)
        if process["uid"] == 0:
            seen[settings.place(process)] = process
    for name, process in sorted(seen.items()):
        faults = list(_rights(process))
        # What nobody planned has no drop-ins of ours, on a planned host either.
        remedy = "" if process["unit"] in _planned(view) else controls()["ENG-17"].foreign
        for what, told, expected, severity in faults:
            yield view.finding(
                "ENG-17",
                f"{what} of {name}",
                told,
                expected,
                severity=severity,
                remedy=remedy,
                evidence=[f"uid {process['uid']}"],
            )
        if not faults:
            yield Looked("ENG-17", name)


def _rights(process: Process) -> Iterator[tuple[str, str, str, Severity]]:
    if process["uid"] == 0:
        yield "user", "root", "a user of its own", Severity.ERROR
    if process["capabilities"] is not None and int(process["capabilities"], 16):
        yield "capabilities", f"0x{process['capabilities'].lstrip('0')}", "none", Severity.WARNING
    if process["no_new_privileges"] is False:
        yield "NoNewPrivs", "off", "on", Severity.WARNING
    if process["seccomp"] == 0:
        yield "seccomp", "no filter", "a filter of system calls", Severity.WARNING


def running_ray(view: View) -> Iterator[Said]:
    """Judge whether Ray asks for a token, and its dashboard is reached from its own host only."""
    found = _here(view, "ENG-14", "ray", "ray-dashboard")
    if not isinstance(found, Sequence):
        yield found
        return
    for name, process in sorted({settings.place(one): one for one in found}.items()):
        environment = process["environment"]
        if environment is None:
            yield Unchecked(f"{name}: its environment could not be read")
        elif environment.get("RAY_AUTH_MODE") != "token":
            told = settings.shown("RAY_AUTH_MODE", environment.get("RAY_AUTH_MODE"))
            yield view.finding("ENG-14", f"RAY_AUTH_MODE of {name}", told, "token", rule="ray-auth")
        else:
            yield Looked("ENG-14", name)
    if view.processes("ray-dashboard"):
        evidence = view.known("listeners")
        if isinstance(evidence, Unchecked):
            yield evidence
            return
        for socket in evidence["listeners"] or []:
            shown = any(owner["kind"] == "ray-dashboard" for owner in socket["processes"])
            if shown and not is_loopback(socket["address"]):
                yield view.finding(
                    "ENG-14",
                    f"Ray's dashboard on {socket['address']} port {socket['port']}",
                    "reachable from other hosts: its jobs run code",
                    "--include-dashboard=false, or 127.0.0.1",
                    rule="ray-dashboard",
                )


def declared_release(view: View) -> Iterator[Said]:
    """Judge whether the release that runs is the declared one, and one whose facts are known."""
    found = _here(view, "VER-02", "vllm")
    if not isinstance(found, Sequence):
        yield found
        return
    for name, process in sorted({settings.place(one): one for one in found}.items()):
        version = settings.version_of(process)
        if version is None:
            yield Unchecked(f"{name}: its version is not known")
            continue
        if (
            view.plan is not None
            and view.part is not None
            and version.split("+")[0] != view.plan["release"].split("+")[0]
        ):
            yield view.finding("VER-02", f"release of {name}", version, f"{view.plan['release']}, as declared")
            continue
        nearest = catalogue.nearest(version)
        if not nearest.exact:
            yield view.finding(
                "VER-02",
                f"release of {name}",
                f"{version}, whose facts are not known; {nearest.release} was taken for it",
                "a release of the catalogue",
                severity=Severity.WARNING,
                remedy="Judge the release yourself, or take one of docs/releases.md.",
            )
        else:
            yield Looked("VER-02", f"{name}: {version}")


def known_holes(view: View) -> Iterator[Said]:
    """Judge whether something is known against the versions that run and is not mitigated."""
    found = _here(view, "VER-01", *KINDS)
    if not isinstance(found, Sequence):
        yield found
        return
    for name, process in sorted({(settings.place(one), one["kind"]): one for one in found}.items()):
        where = name[0]
        if process["versions"] is None:
            if process["kind"] in ("vllm", "ray"):
                yield Unchecked(f"{where}: the versions of its packages are not known")
            continue
        for package, version in sorted(process["versions"].items()):
            if package in ADVISED:
                yield from _package(view, where, ADVISED[package], version)
        if process["kind"] == "vllm":
            yield from settings.by_control(view, process, where, {"VER-01"})
            yield Looked("VER-01", f"{where}: {settings.version_of(process)}")


def _package(view: View, where: str, package: str, version: str) -> Iterator[Said]:
    known = advisories(version, package)
    fix = first_without(version, package)
    if not known:
        yield Looked("VER-01", f"{where}: {package} {version}")
        return
    yield view.finding(
        "VER-01",
        f"{package} of {where}",
        f"{package} {version}, with {', '.join(one.id for one in known)}",
        f"{fix or 'a release'} without known holes",
        severity=Severity.ERROR if any(one.severity in ("critical", "high") for one in known) else Severity.WARNING,
        evidence=[f"{one.id} ({one.severity}): {one.what}" for one in known],
    )
