# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Ray cluster of an engine whose workers Ray starts (facts 4.5): every port pinned, no dashboard, token asked for."""

from __future__ import annotations

from typing import Any

from ..declaration.model import Declaration, Host, PortRange
from .topology import EngineGroup

KEY_NAME = "ray"
AUTH_FILE = "/etc/hardened-vllm/ray/token"
CONFIG_ROOT = "/etc/hardened-vllm/ray/vllm"
# Ray hands the driver's VLLM_ and HF_ variables to every worker; these are secrets of the head alone.
KEPT_BACK = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "VLLM_API_KEY")
SERVICES = ("node-manager-port", "object-manager-port", "runtime-env-agent-port", "metrics-export-port")
ENVIRONMENT = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": AUTH_FILE, "RAY_USAGE_STATS_ENABLED": "0"}


def uses_ray(declaration: Declaration) -> bool:
    """Tell whether the engines' workers are started by Ray."""
    return bool(declaration.values["engine"]["executor"] == "ray")


def ray_part(declaration: Declaration, group: EngineGroup, host: Host) -> dict[str, Any]:
    """Return the plan of a host's Ray node: ``argv`` of ``ray``, ``environment``, the token and its engine."""
    ports = declaration.values["engine"]["ray"]
    services, workers = PortRange.parse(ports["service_ports"]), PortRange.parse(ports["worker_ports"])
    address, head = str(host.legs["fabric"].primary), host.name == group.members[0].name
    words = ["start", "--block", "--disable-usage-stats", "--node-ip-address", address]
    if head:
        words += ["--head", "--port", str(ports["port"]), "--include-dashboard=false"]
        words += ["--ray-client-server-port", str(ports["client_port"])]
    else:
        words += ["--address", f"{group.head_address}:{ports['port']}"]
    for offset, name in enumerate(SERVICES):
        words += [f"--{name}", str(services.low + offset)]
    words += ["--dashboard-agent-grpc-port", str(services.low + len(SERVICES))]
    words += ["--dashboard-agent-listen-port", str(ports["agent_port"])]
    words += ["--min-worker-port", str(workers.low), "--max-worker-port", str(workers.high)]
    return {
        "argv": words,
        "environment": dict(sorted({**ENVIRONMENT, "VLLM_HOST_IP": address}.items())),
        "secret_files": {AUTH_FILE: KEY_NAME},
        "kept_back": {"file": f"{CONFIG_ROOT}/ray_non_carry_over_env_vars.json", "variables": list(KEPT_BACK)},
        "head": head,
        "group_name": group.name,
    }


def ray_environment(declaration: Declaration, group: EngineGroup) -> dict[str, str]:
    """Return what the vLLM process needs to find its Ray cluster and to keep its secrets from it."""
    address = f"{group.head_address}:{declaration.values['engine']['ray']['port']}"
    return {**ENVIRONMENT, "RAY_ADDRESS": address, "VLLM_CONFIG_ROOT": CONFIG_ROOT}


def ray_ports(declaration: Declaration, group: EngineGroup, host: Host) -> list[dict[str, Any]]:
    """Return the listeners of a host's Ray node, all for the members of its engine only."""
    ports = declaration.values["engine"]["ray"]
    named = {
        "ray-services": ports["service_ports"],
        "ray-agent": ports["agent_port"],
        "ray-workers": ports["worker_ports"],
    }
    if host.name == group.members[0].name:
        named["ray-control"] = ports["port"]
    return [
        {
            "name": name,
            "ports": str(value),
            "bind": "*",
            "sources": [group.peers],
            "control": "NET-03",
            "why": "Ray, which runs what it is given, for the members of this engine only",
        }
        for name, value in named.items()
        if group.peers is not None
    ]
