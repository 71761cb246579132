# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where a vLLM process serves HTTP: a port of the fabric address, or a unix socket for the gateway on its own host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..declaration.model import Declaration
from ..problems import Problem, once
from .topology import Seat

# Whom nginx's workers run as, and the group of the sockets they connect to.
GATEWAY_USER = "hardened-vllm-gateway"


def on_socket(declaration: Declaration) -> bool:
    """Tell whether engines serve on unix sockets."""
    return bool(declaration.values["engine"]["listener"] == "unix")


def endpoint(declaration: Declaration, seat: Seat) -> dict[str, Any]:
    """Return where the API of ``seat`` is: ``{"socket": path}``, or ``{"address": text, "port": number}``."""
    if on_socket(declaration):
        return {"socket": f"{_directory(seat)}/api.sock"}
    port = declaration.values["engine"]["port"] + seat.local
    return {"address": str(seat.host.legs["fabric"].primary), "port": port}


def socket_part(declaration: Declaration, seat: Seat) -> dict[str, str] | None:
    """Return the ``directory`` of the API's socket and the ``group`` that gets through it; None where there is no socket.

    A directory of its own: what else a process keeps below /run is closed to every group.
    """
    if not seat.api or not on_socket(declaration):
        return None
    return {"directory": _directory(seat), "group": GATEWAY_USER}


def _directory(seat: Seat) -> str:
    return f"/run/hardened-vllm-{seat.name}"


def endpoint_arguments(declaration: Declaration, seat: Seat) -> list[str]:
    """Return the options that have the server of ``seat`` listen there, none for a process without one."""
    if not seat.api:
        return []
    where = endpoint(declaration, seat)
    if "socket" in where:
        return ["--uds", where["socket"]]
    return ["--host", where["address"], "--port", str(where["port"])]


def apart(plan: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong where engines on sockets and gateways do not share their hosts, each kind once."""
    lonely: dict[str, list[Problem]] = {}
    for name, host in sorted(plan["hosts"].items()):
        serves = any(engine["socket"] is not None for engine in host["engines"])
        if serves and host["gateway"] is None:
            found = "an engine that serves on a unix socket, and no gateway"
            mend = "Add the host to the group vllm_gateways"
        elif host["gateway"] is not None and not host["gateway"]["upstreams"]:
            found = "a gateway, and no engine that serves on a unix socket"
            mend = "Take the host out of the group vllm_gateways"
        else:
            continue
        expected = "both on one host, because the socket leads nowhere else"
        mend += ", or set vllm_cluster.engine.listener to tcp."
        lonely.setdefault(found, []).append(Problem(f"hosts.{name}", "socket-apart", found, expected, mend))
    return [once(problems) for problems in lonely.values()]
