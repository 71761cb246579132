# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An engine from a container image is judged by what its processes have, not by the unit of podman."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.checks import CHECKS
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.view import Finding, Looked, Said, Unchecked, View
from ansible_collections.hardened.vllm.plugins.plugin_utils.audit.views import views
from support import audit

IMAGE = f"registry.example.org/vllm@sha256:{'0' * 64}"
UNIT = "hardened-vllm-engine.service"
OWN = ["/dev/shm", "/proc", "/run/vllm", "/tmp", "/var/cache/vllm", "/var/lib/vllm"]  # noqa: S108
PODMANS = {
    **dict.fromkeys(("PrivateUsers", "PrivateIPC", "ProtectSystem", "ProtectHome", "RestrictNamespaces"), "no"),
    "User": "",
    "CapabilityBoundingSet": "cap_chown cap_sys_admin",
    "UnitFileState": "generated",
    "SourcePath": "/etc/containers/systemd/hardened-vllm-engine.container",
}


@pytest.fixture
def given() -> View:
    made = audit.plan(install={"method": "image", "image": IMAGE})
    found = next(one for one in views(audit.evidence(made), {"chat": made}, {}, audit.TODAY) if one.name == "engine11")  # type: ignore[arg-type]
    assert found.evidence is not None and found.evidence["units"] is not None
    found.evidence["units"][UNIT] |= PODMANS
    process(found)["writable"] = list(OWN)
    return found


def process(given: View) -> Any:
    return given.processes("vllm")[0]


def say(check: str, given: View) -> list[Said]:
    return [one for one in CHECKS[check](given) if UNIT in str(one)]


def test_podmans_unit_is_no_hole_where_the_container_holds(given: View) -> None:
    (said,) = say("engine_unit", given)
    assert isinstance(said, Looked) and "1 processes in the container" in said.at
    assert all(isinstance(one, Looked) for one in say("unit_files", given))


@pytest.mark.parametrize(
    ("fact", "value", "found"),
    [
        ("user", "root", "user of vLLM"),
        ("capabilities", "0000000000200000", "capabilities"),
        ("no_new_privileges", False, "NoNewPrivs"),
        ("seccomp", 0, "seccomp"),
        ("core_limit", "unlimited", "core files"),
        ("writable", ["/", *OWN], "what it can write to"),
        ("writable", ["/opt/models/tiny", *OWN], "what it can write to"),
    ],
)
def test_a_container_that_lacks_a_setting_is_found(given: View, fact: str, value: Any, found: str) -> None:
    process(given)[fact] = value
    (said,) = say("engine_unit", given)
    assert isinstance(said, Finding) and said.place == f"{found} of {UNIT}"


@pytest.mark.parametrize("fact", ["capabilities", "seccomp", "writable", "no_new_privileges"])
def test_what_could_not_be_read_has_not_passed(given: View, fact: str) -> None:
    process(given)[fact] = None
    (said,) = say("engine_unit", given)
    assert isinstance(said, Unchecked) and fact in said.why


def test_a_container_nobody_saw_has_not_passed(given: View) -> None:
    process(given)["unit"] = "another.service"
    (said,) = say("engine_unit", given)
    assert isinstance(said, Unchecked)


@pytest.mark.parametrize("name", ["IPAddressDeny", "DevicePolicy", "LimitCORE", "NoNewPrivileges"])
def test_a_wall_of_the_unit_that_is_gone_is_found(given: View, name: str) -> None:
    assert given.evidence is not None and given.evidence["units"] is not None
    given.evidence["units"][UNIT][name] = ""
    (said,) = say("engine_unit", given)
    assert isinstance(said, Finding) and said.place.startswith(name)


def test_a_unit_made_of_something_else_is_found(given: View) -> None:
    assert given.evidence is not None and given.evidence["units"] is not None
    given.evidence["units"][UNIT]["SourcePath"] = "/run/containers/systemd/hardened-vllm-engine.container"
    (said,) = [one for one in say("unit_files", given) if isinstance(one, Finding)]
    assert said.found == "generated"
