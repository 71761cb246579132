# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Units and Quadlets are found and removed alike. systemd is a recorder here; scenarios use the real one."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from ansible_collections.hardened.vllm.plugins.module_utils import commands, engine_quadlet, engine_unit
from ansible_collections.hardened.vllm.plugins.modules import engine_remove

PLAIN, QUADLET = "hardened-vllm-engine.service", "hardened-vllm-engine-1.service"


def test_a_quadlet_goes_as_a_unit_does_but_is_not_disabled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []
    for place in ("units", "quadlets"):
        (tmp_path / place).mkdir()
    monkeypatch.setattr(engine_remove, "UNITS", str(tmp_path / "units"))
    monkeypatch.setattr(engine_quadlet, "QUADLETS", str(tmp_path / "quadlets"))
    monkeypatch.setattr(commands, "run", lambda argv, _timeout: ran.append(argv))
    loaded = engine_unit.Unit("x", "loaded", "active", "running", "success", 0, 0, True, False)
    monkeypatch.setattr(engine_unit, "show", lambda _name: loaded)
    (tmp_path / "units" / PLAIN).write_text("")
    (tmp_path / "quadlets" / "hardened-vllm-engine-1.container").write_text("")
    units = engine_remove.found(["hardened-vllm-engine.service", "hardened-vllm-engine-*.service"])
    assert units == [QUADLET, PLAIN]
    going = engine_remove.plan({"units": units, "files": []}, units)
    engine_remove.remove(units, going, [])
    assert ["systemctl", "disable", "--now", PLAIN] in ran
    assert ["systemctl", "stop", QUADLET] in ran
    assert [list((tmp_path / place).iterdir()) for place in ("units", "quadlets")] == [[], []]


def test_a_directory_goes_with_the_socket_of_its_service_and_stays_with_anything_else(tmp_path: Path) -> None:
    directory = tmp_path / "hardened-vllm-engine"
    directory.mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(directory / "api.sock"))
    params = {"units": [PLAIN], "files": [str(tmp_path / "hardened-vllm-{name}")]}
    assert str(directory) in engine_remove.plan(params, [PLAIN])
    (directory / "notes").write_text("")
    assert str(directory) not in engine_remove.plan(params, [PLAIN])
