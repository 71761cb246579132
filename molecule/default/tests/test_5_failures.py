# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When something breaks, the run says what, where and what to do, and what served before still serves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from lab.testing import Console

from .conftest import SCENARIO, UNIT, Service, play


def declared(**changes: Any) -> dict[str, Any]:
    """The scenario's declaration with other values in some of its sections."""
    cluster: dict[str, Any] = yaml.safe_load((SCENARIO / "group_vars/all.yml").read_text())["vllm_cluster"]
    for section, values in changes.items():
        cluster[section] = {**cluster[section], **values} if isinstance(values, dict) else values
    return cluster


def wait_until_it_generates(service: Service, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if service.generates():
                return
        except Exception as error:
            # Whatever a client can run into while an engine is away.
            assert time.monotonic() < deadline, f"no answer within {seconds} seconds: {error}"
        time.sleep(2)


def test_an_unreachable_node_is_named_before_anything_changes(service: Service, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.yml"
    elsewhere.write_text(yaml.safe_dump({"all": {"hosts": {"engine2": {"ansible_host": "10.220.2.99"}}}}))
    run = play("site", f"--inventory={elsewhere}", "--timeout=5")
    assert run.code != 0
    assert "1 host(s) cannot be reached: engine2" in run.text
    assert "Nothing was changed on any host" in run.text
    assert set(run.changed().values()) == {0}
    assert service.generates()


@pytest.fixture
def small_disk(head: Console) -> Iterator[None]:
    """A disk of 64 MiB where releases are installed."""
    head.shell("mkdir -p /opt/hardened-vllm && mount -t tmpfs -o size=64m tmpfs /opt/hardened-vllm")
    yield
    head.shell("umount /opt/hardened-vllm && rmdir /opt/hardened-vllm")


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_stops_the_run_and_nothing_else(service: Service, head: Console) -> None:
    since = head.run("systemctl", "show", "--property=ExecMainStartTimestamp", UNIT)
    cluster = declared(install={"method": "index", "python": "/usr/bin/python3"})
    run = play("site", vllm_cluster=cluster, site_restart_ok=True)
    assert run.code != 0
    assert "/opt/hardened-vllm" in run.text
    assert "free" in run.text
    assert head.run("systemctl", "show", "--property=ExecMainStartTimestamp", UNIT) == since
    assert service.generates()


def test_a_state_that_does_not_start_is_taken_back(service: Service) -> None:
    cluster = declared(engine={"arguments": {**ARGUMENTS, "max-model-len": 100_000_000}})
    refused = play("site", vllm_cluster=cluster)
    assert refused.code != 0
    assert "hardened.vllm.upgrade" in refused.text
    run = play("site", vllm_cluster=cluster, site_restart_ok=True)
    assert run.code != 0
    assert "max_model_len" in run.text
    assert "engine1" in run.text
    assert service.generates()
    again = play("site")
    assert again.code == 0, again.text
    assert set(again.changed().values()) == {0}


ARGUMENTS = declared()["engine"]["arguments"]


def test_a_killed_worker_comes_back(service: Service, console: Callable[[str], Console]) -> None:
    console("engine2").run("pkill", "--signal=KILL", "--full", "VLLM::Worker")
    time.sleep(5)
    # A node that comes back before the other front end has noticed waits five minutes for it (vllm/v1/engine/core.py,
    # HANDSHAKE_TIMEOUT_MINS), and only then starts over.
    wait_until_it_generates(service, 600)


def test_everything_is_back_after_a_reboot(
    service: Service, console: Callable[[str], Console], reboot: Callable[[str], None]
) -> None:
    for name in ("engine1", "engine2", "gateway"):
        reboot(name)
        assert "policy drop" in console(name).run("nft", "list", "table", "inet", "hardened_vllm")
    for name in ("engine1", "engine2"):
        ordered = console(name).shell(
            f"systemctl show --property=After,Requires {UNIT}; systemctl is-active hardened-vllm-firewall"
        )
        assert ordered.count("hardened-vllm-firewall.service") == 2
    wait_until_it_generates(service, 400)
    run = play("site")
    assert run.code == 0, run.text
    assert set(run.changed().values()) == {0}
