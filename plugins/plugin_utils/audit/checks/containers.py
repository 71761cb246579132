# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An engine that podman starts: its unit is podman's, so what holds vLLM is read from vLLM's own processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..evidence import Process
from ..view import View

# Settings of the unit that hold in the container too, since it is started by the unit and lies in its control group.
WALLS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("NoNewPrivileges", ("yes",)),
    ("RestrictRealtime", ("yes",)),
    ("LockPersonality", ("yes",)),
    ("IPAddressDeny", ("::/0 0.0.0.0/0", "0.0.0.0/0 ::/0")),
    ("DevicePolicy", ("closed", "strict")),
    ("LimitCORE", ("0",)),
    ("UMask", ("0077",)),
)
_KERNEL = ("/proc", "/dev", "/sys")
Fault = tuple[str, str, str]


def is_image(view: View) -> bool:
    """Tell whether the engines planned here come from a container image."""
    install = view.part["install"] if view.part is not None else None
    return install is not None and install["method"] == "image"


def source(unit: str) -> str:
    """Return the Quadlet that a planned unit is made of."""
    return f"/etc/containers/systemd/{unit.removesuffix('.service')}.container"


def made_of(unit: Mapping[str, str], name: str) -> bool:
    """Tell whether podman's generator made the unit ``name`` of the planned Quadlet."""
    return unit.get("UnitFileState") == "generated" and unit.get("SourcePath") == source(name)


def processes(view: View, engine: Mapping[str, Any]) -> list[Process]:
    """Return what runs in the unit of an engine and belongs to vLLM."""
    return [one for one in view.processes("vllm", "vllm-worker") if one["unit"] == engine["unit"]]


def unknown(found: list[Process]) -> list[str]:
    """Return what of the processes could not be read."""
    kept = ("capabilities", "no_new_privileges", "seccomp", "core_limit", "writable")
    return sorted({fact for one in found for fact in kept if one.get(fact) is None})


def faults(engine: Mapping[str, Any], found: list[Process]) -> Iterator[Fault]:
    """Yield what is wrong with the confinement in force: what, how it is, how it should be."""
    own = {f"{base}/{engine['directory']}" for base in ("/var/lib", "/var/cache", "/run")} | {"/tmp"}  # noqa: S108
    for one in found:
        if one["user"] != engine["user"]:
            yield "user of vLLM", one["user"] or str(one["uid"]), engine["user"]
        if one["capabilities"] is not None and int(one["capabilities"], 16):
            yield "capabilities", f"0x{one['capabilities'].lstrip('0')}", "none"
        if one["no_new_privileges"] is False:
            yield "NoNewPrivs", "off", "on"
        if one["seccomp"] not in (2, None):
            yield "seccomp", "no filter", "a filter of system calls"
        if one["core_limit"] not in ("0", None):
            yield "core files", one["core_limit"], "0"
        kernel = tuple(f"{place}/" for place in _KERNEL)
        strange = [at for at in one.get("writable") or () if at not in own and not f"{at}/".startswith(kernel)]
        if strange:
            yield "what it can write to", ", ".join(strange), ", ".join(sorted(own))
