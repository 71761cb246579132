# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a vLLM process is given: arguments, environment, secrets by name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from ..declaration.model import Declaration
from .egress import install_destinations, model_destinations
from .endpoint import endpoint, endpoint_arguments, socket_part
from .media import item_limits, proxy_environment
from .parallel import arguments, lifeline
from .ray import ray_environment, uses_ray
from .release import options_of, variables_of
from .topology import Seat, accelerators, ranks_behind
from .transfer import transfer_arguments, transfer_environment
from .upstream_tls import tls_arguments, upstream_tls

USER = "vllm"
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
    "allowed-origins": "[]",
    "fingerprint-mode": "none",
    "load-format": "safetensors",
    # Seconds that requests have to end in when the engine is told to.
    "shutdown-timeout": 90,
}
# What an engine may take to let go of its devices after that, and the least it has as a whole.
TEARDOWN_SECONDS, LEAST_STOP_SECONDS = 30, 120
# How often systemd starts a process that ends, and what it pauses before each start.
STARTS, PAUSE_SECONDS = 4, 10
# How long a node waits for one that does not come (torch/distributed/constants.py, default_pg_timeout).
PEER_WAIT_SECONDS = 1800


def install_part(declaration: Declaration) -> dict[str, Any]:
    """Return how a host gets its vLLM: ``method``, ``version``, ``python`` and what the method needs."""
    values = declaration.values
    install = values["install"]
    if install["method"] == "existing":
        return {"method": "existing", "version": values["release"], "python": install["python"]}
    if install["method"] == "image":
        return {
            "method": "image",
            "version": values["release"],
            **{key: install[key] for key in ("image", "image_archive", "registry_auth", "python", "bytes_needed")},
            "index_hosts": sorted(set(install["index_hosts"])),
            "destinations": install_destinations(declaration),
        }
    return {
        "method": "index",
        "package": install["package"],
        "version": values["release"],
        "root": INSTALL_ROOT,
        "python": f"{INSTALL_ROOT}/{values['release']}/bin/python",
        "base_python": install["python"],
        "index_url": install["index_url"],
        "index_hosts": sorted(set(install["index_hosts"])),
        "find_links": install["find_links"],
        "requirements": list(install["requirements"]),
        "destinations": install_destinations(declaration),
        "lock": f"{install['bundle'].rstrip('/')}/requirements.lock" if install["bundle"] else install["lock"],
        "bundle": install["bundle"],
        "bytes_needed": install["bytes_needed"],
    }


def model_part(declaration: Declaration) -> dict[str, Any] | None:
    """Return what a host fetches as its model, in the words of the module engine_model; None for a model that is brought there."""
    model = declaration.values["model"]
    if model["source"] is None:
        return None
    return {**model["source"], "path": model["path"], "destinations": model_destinations(declaration)}


def engine_part(declaration: Declaration, seat: Seat) -> dict[str, Any]:
    """Return the plan of one vLLM process."""
    values = declaration.values
    engine = values["engine"]
    argv = _argv(declaration, seat)
    return {
        "name": seat.name,
        "unit": f"hardened-vllm-{seat.name}.service",
        "directory": USER if seat.local == 0 else f"{USER}-{seat.name}",
        "user": USER,
        "group": USER,
        "argv": argv,
        "environment": _environment(declaration, seat),
        "secret_arguments": {"api-key": "upstream"} if seat.api else {},
        "devices": list(engine["devices"]),
        "accelerators": accelerators(declaration, seat),
        "read_paths": [values["model"]["path"], *([values["cache"]["config"]] if values["cache"] is not None else [])],
        "memory_max": engine["memory_max"],
        "api": endpoint(declaration, seat) if seat.api else None,
        "socket": socket_part(declaration, seat),
        "tls": upstream_tls(declaration) if seat.api else None,
        "model": values["model"]["name"],
        "group_name": seat.group.name,
        "stage": seat.group.stage,
        "rank": seat.node,
        "lifeline": lifeline(declaration, seat),
        "data_parallel_ranks": ranks_behind(declaration, seat),
        "ready": {"timeout_seconds": engine["ready_timeout_seconds"]},
        "stop": {"timeout_seconds": _stop_seconds(argv)},
        "starts": {"count": STARTS, "seconds": _starts_seconds(declaration, seat, argv)},
    }


def _stop_seconds(argv: Sequence[str]) -> int:
    """Return the seconds after which whoever stops the process has to kill it: more than its requests may take."""
    drain = [int(value) for option, value in pairwise(argv) if option == "--shutdown-timeout" and value.isdecimal()]
    return max([LEAST_STOP_SECONDS, *(seconds + TEARDOWN_SECONDS for seconds in drain)])


def _starts_seconds(declaration: Declaration, seat: Seat, argv: Sequence[str]) -> int:
    """Return the seconds within which all starts count together: as many as those that fail slowest take."""
    longest = int(declaration.values["engine"]["ready_timeout_seconds"])
    if seat.group.peers is not None:
        longest = max(longest, PEER_WAIT_SECONDS)
    return STARTS * (longest + _stop_seconds(argv) + PAUSE_SECONDS)


def _argv(declaration: Declaration, seat: Seat) -> list[str]:
    values = declaration.values
    engine, model = values["engine"], values["model"]
    words = ["serve", model["path"], "--served-model-name", model["name"]]
    words += arguments(declaration, seat)
    words += endpoint_arguments(declaration, seat)
    words += tls_arguments(declaration, seat)
    words += transfer_arguments(declaration, seat)
    own = [["--allowed-media-domains", *(sorted(values["media"]["allowed_domains"]) or [MEDIA_DISABLED])]]
    modalities = {name: engine["media_items"] for name in ("image", "audio", "video") if name in model["modalities"]}
    if modalities:
        limits = {name: modalities.get(name, 0) for name in ("audio", "image", "video")}
        own.append(["--limit-mm-per-prompt", json.dumps(limits, sort_keys=True)])
    own += [["--disable-fastapi-docs"], ["--fail-on-environ-validation"]]
    own.append(["--max-num-queued-reqs", str(engine["max_queued_requests"])])
    chosen = {_spelled(name) for name in engine["arguments"]}
    own += [_option(name, value) for name, value in sorted(SAFE_OPTIONS.items()) if name not in chosen]
    words += [word for option in own for word in options_of(values["release"], option)]
    return words + passed_arguments(engine["arguments"])


def passed_arguments(arguments: Mapping[str, Any]) -> list[str]:
    """Return the words of declared ``engine.arguments``, sorted by name."""
    chosen = {_spelled(name): value for name, value in arguments.items()}
    return [word for name, value in sorted(chosen.items()) for word in _option(name, value)]


def _spelled(name: str) -> str:
    """Return a declared option as vLLM's parser spells it; after a dot there are names of fields, which stay."""
    option, dot, field = name.partition(".")
    return option.replace("_", "-") + dot + field


def passed_environment(environment: Mapping[str, Any]) -> dict[str, str]:
    """Return declared ``engine.environment`` as a process gets it."""
    return {name: _text(value) for name, value in environment.items()}


def _option(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [f"--{name}"] if value else [f"--no-{name}"]
    if isinstance(value, list):
        return [f"--{name}", *(str(item) for item in value)]
    return [f"--{name}", str(value)]


def _environment(declaration: Declaration, seat: Seat) -> dict[str, str]:
    engine, leg = declaration.values["engine"], seat.host.legs["fabric"]
    pins = {"VLLM_HOST_IP": str(leg.primary), "VLLM_MAX_N_SEQUENCES": str(engine["max_sequences"])}
    if leg.interface is not None:
        # NCCL reads a prefix unless it is told "exactly"; gloo takes the name as it is.
        pins |= {"GLOO_SOCKET_IFNAME": leg.interface, "NCCL_SOCKET_IFNAME": f"={leg.interface}"}
    pins |= transfer_environment(declaration, seat)
    if uses_ray(declaration):
        pins |= ray_environment(declaration, seat.group)
    pins |= proxy_environment(declaration, seat.host, seat.group.members)
    extra = passed_environment(engine["environment"])
    release = declaration.values["release"]
    safe = variables_of(release, SAFE_ENVIRONMENT | item_limits(declaration))
    return dict(sorted({**safe, **extra, **variables_of(release, pins)}.items()))


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    return str(value)
