# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the vLLM process of one host is given: arguments, environment, secrets by name."""

from __future__ import annotations

import json
from typing import Any

from ..declaration.model import Declaration
from .topology import Seat, arguments, data_parallel_ranks

UNIT = "hardened-vllm-engine.service"
INSTALL_ROOT = "/opt/hardened-vllm/engine"
MEDIA_DISABLED = "media-disabled.invalid"

SAFE_ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_DO_NOT_TRACK": "1",
    "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_PLUGINS": "",
}
# Options a user may set otherwise by name; lint then reports them.
SAFE_OPTIONS: dict[str, Any] = {
    "fingerprint-mode": "none",
    "load-format": "safetensors",
}


def engine_part(declaration: Declaration, seat: Seat, interface: str | None) -> dict[str, Any]:
    """Return the plan of the engine on ``seat``; ``interface`` is the one of its fabric leg, None until probed."""
    values = declaration.values
    engine = values["engine"]
    address = str(seat.host.legs["fabric"].primary)
    return {
        "unit": UNIT,
        "user": "vllm",
        "group": "vllm",
        "install": _install(values),
        "argv": _argv(declaration, seat, address),
        "environment": _environment(engine, address, interface),
        "secret_arguments": {"api-key": "upstream"} if seat.head else {},
        "devices": list(engine["devices"]),
        "read_paths": [values["model"]["path"]],
        "memory_max": engine["memory_max"],
        "api": {"address": address, "port": engine["port"]} if seat.head else None,
        "model": values["model"]["name"],
        "group_name": seat.group.name,
        "members": [host.name for host in seat.group.members],
        "rank": seat.rank,
        "data_parallel_ranks": data_parallel_ranks(declaration, seat),
        "ready": {"timeout_seconds": engine["ready_timeout_seconds"]},
    }


def _install(values: Any) -> dict[str, Any]:
    install = values["install"]
    if install["method"] == "existing":
        return {"method": "existing", "version": values["release"], "python": install["python"]}
    return {
        "method": "index",
        "package": install["package"],
        "version": values["release"],
        "root": INSTALL_ROOT,
        "python": f"{INSTALL_ROOT}/{values['release']}/bin/python",
        "base_python": install["python"],
        "index_url": install["index_url"],
        "find_links": install["find_links"],
        "requirements": list(install["requirements"]),
        "bytes_needed": install["bytes_needed"],
    }


def _argv(declaration: Declaration, seat: Seat, address: str) -> list[str]:
    values = declaration.values
    engine, model = values["engine"], values["model"]
    words = ["serve", model["path"], "--served-model-name", model["name"]]
    words += arguments(declaration, seat)
    if seat.head:
        words += ["--host", address, "--port", str(engine["port"])]
    words += ["--allowed-media-domains", *(sorted(values["media"]["allowed_domains"]) or [MEDIA_DISABLED])]
    modalities = {name: engine["media_items"] for name in ("image", "audio", "video") if name in model["modalities"]}
    if modalities:
        limits = {name: modalities.get(name, 0) for name in ("audio", "image", "video")}
        words += ["--limit-mm-per-prompt", json.dumps(limits, sort_keys=True)]
    words += ["--disable-fastapi-docs", "--fail-on-environ-validation"]
    words += ["--max-num-queued-reqs", str(engine["max_queued_requests"])]
    chosen = {name.replace("_", "-"): value for name, value in engine["arguments"].items()}
    for name, value in sorted({**SAFE_OPTIONS, **chosen}.items()):
        words += _option(name, value)
    return words


def _option(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}"] if value else [f"--no-{name}"]
    if isinstance(value, list):
        return [f"--{name}", *(str(item) for item in value)]
    return [f"--{name}", str(value)]


def _environment(engine: Any, address: str, interface: str | None) -> dict[str, str]:
    pins = {"VLLM_HOST_IP": address, "VLLM_MAX_N_SEQUENCES": str(engine["max_sequences"])}
    if interface is not None:
        # NCCL reads a prefix unless it is told "exactly"; gloo takes the name as it is.
        pins |= {"GLOO_SOCKET_IFNAME": interface, "NCCL_SOCKET_IFNAME": f"={interface}"}
    extra = {name: _text(value) for name, value in engine["environment"].items()}
    return dict(sorted({**SAFE_ENVIRONMENT, **extra, **pins}.items()))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    return str(value)
