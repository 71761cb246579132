# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The other shape over two nodes: its rendezvous listens on every interface, and only the firewall closes it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from lab.testing import Console

from .conftest import Service, play
from .test_3_reach import FABRIC, MANAGEMENT, listening, scan
from .test_5_failures import declared


@pytest.mark.slow
def test_tensor_parallel_over_two_nodes(service: Service, console: Callable[[str], Console]) -> None:
    run = play("site", vllm_cluster=declared(topology="tensor_parallel"), site_restart_ok=True)
    assert run.code == 0, run.text
    assert service.generates()
    bound = {address for address, port in listening(console("engine1")) if port == 29501}
    assert bound & {"*", "0.0.0.0", "::"}
    addresses = [*FABRIC["engine1"], *MANAGEMENT["engine1"]]
    assert not any(scan(console("stranger"), addresses, "29501").values())
    assert not any(scan(console("gateway"), addresses, "29501").values())
    found = scan(console("engine2"), addresses, "29501")
    assert {address for address, ports in found.items() if ports} == set(FABRIC["engine1"])
