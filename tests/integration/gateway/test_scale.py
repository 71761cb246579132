# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A gateway with ten thousand tenants: nginx takes it as it takes ten, and each of them is let in."""

from __future__ import annotations

import http.client
import os
import signal
import ssl
import subprocess
import time

import proxies

from .conftest import Door, Program, Start

TENANTS = 10_000
# Generous, for a busy machine: it takes a tenth of a second on an idle one.
SECONDS = 10


def status(door: Door, key: str) -> int:
    context = ssl.create_default_context(cafile=str(door.directory / "tls.crt"))
    connection = http.client.HTTPSConnection("localhost", door.proxy.port, context=context, timeout=30)
    connection.request("GET", "/v1/models", headers={"Authorization": f"Bearer {key}"})
    return connection.getresponse().status


def test_ten_thousand_tenants(start: Start, nginx: Program) -> None:
    door = start(tenants=TENANTS)
    main = door.directory / "nginx.conf"
    began = time.monotonic()
    done = subprocess.run([nginx[0], "-t", "-c", str(main)], capture_output=True, text=True, check=False)
    assert (done.returncode, "could not build optimal" in done.stderr) == (0, False), done.stderr
    assert time.monotonic() - began < SECONDS
    # Of all keys the first, one of the middle and the last, and one that nobody has.
    keys = [proxies.tenant_key(0), proxies.tenant_key(TENANTS // 2), proxies.KEY, proxies.tenant_key(TENANTS)]
    assert [status(door, key) for key in keys] == [200, 200, 200, 401]
    assert [line["tenant"] for line in door.log(at_least=4)] == ["tenant-0", f"tenant-{TENANTS // 2}", "last", ""]
    assert door.proxy.memory_bytes() < 64 * 2**20
    before = set(door.proxy.processes())
    began = time.monotonic()
    os.kill(door.proxy.pid, signal.SIGHUP)
    while not set(door.proxy.processes()) - before:
        assert time.monotonic() - began < SECONDS, "nginx did not take the configuration again"
        time.sleep(0.01)
    assert [status(door, key) for key in keys] == [200, 200, 200, 401]
