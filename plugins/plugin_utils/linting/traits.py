# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is known of a process as a whole: rules name these traits in ``when`` and ``unless``."""

from __future__ import annotations

from collections.abc import Mapping

from ..problems import whole_number
from .command import Command, Given, json_of
from .conditions import CONDITIONS, public, truthy, wildcard
from .texts import Process

TRAITS = frozenset(
    {
        "client-ca",
        "credentials",
        "exposed",
        "host-network",
        "http",
        "hub-model",
        "hub-token",
        "logs-outputs",
        "logs-requests",
        "media",
        "multinode",
        "nic-selection",
        "nixl",
        "nnodes",
        "own-network",
        "placed",
        "queued-tokens",
        "ray",
        "remote-code",
        "uds",
    }
)


def traits(process: Process, command: Command, options: Mapping[str, Given], whole_arguments: bool) -> frozenset[str]:
    """Return the traits of ``process``, whose words were parsed to ``command`` with the last ``options``.

    ``whole_arguments`` tells that nothing but these options reaches the server, so what is missing is its default.
    """
    found = {"host-network" if process.network == "host" else "own-network"}
    if not on(options, "headless"):
        found.add("http")
    for trait, name in (
        ("credentials", "allow-credentials"),
        ("logs-outputs", "enable-log-outputs"),
        ("logs-requests", "enable-log-requests"),
        ("queued-tokens", "max-num-queued-tokens"),
        ("remote-code", "trust-remote-code"),
        ("client-ca", "ssl-ca-certs"),
        ("uds", "uds"),
    ):
        if on(options, name):
            found.add(trait)
    if not on(options, "language-model-only") and not _no_media(options):
        found.add("media")
    if number(options, "nnodes", 1) > 1:
        found |= {"multinode", "nnodes"}
    if _data_parallel_over_nodes(options) or on(options, "headless"):
        found.add("multinode")
    backends = (value(options, "distributed-executor-backend"), value(options, "data-parallel-backend"))
    if "ray" in backends:
        found.add("ray")
    transfer = json_of(options.get("kv-transfer-config"))
    if isinstance(transfer, dict) and "Nixl" in str(transfer.get("kv_connector")):
        found.add("nixl")
    if (
        {"http", "host-network"} <= found
        and "uds" not in found
        and _exposed(options, whole_arguments and not process.fragment)
    ):
        found.add("exposed")
    if not whole_arguments or process.fragment or "external_launcher" in backends or _placed(options):
        found.add("placed")
    if any(_referred(process, name) for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")):
        found.add("hub-token")
    if process.environment.get("VLLM_NIC_SELECTION_VARS"):
        found.add("nic-selection")
    if _hub_model(process, command, options):
        found.add("hub-model")
    return frozenset(found)


def on(options: Mapping[str, Given], name: str) -> bool:
    """Tell whether option ``name`` is given and not negated."""
    option = options.get(name)
    return option is not None and not option.negated


def value(options: Mapping[str, Given], name: str) -> str | None:
    """Return the last value of option ``name``, None when it is not there or could not be resolved."""
    option = options.get(name)
    if option is None or option.negated or not option.values or not option.known:
        return None
    return str(option.values[-1])


def number(options: Mapping[str, Given], name: str, default: int) -> int:
    """Return the last value of option ``name`` as a whole number, ``default`` when it is none."""
    written = value(options, name)
    found = whole_number(written) if written is not None else None
    return default if found is None else found


def _no_media(options: Mapping[str, Given]) -> bool:
    limits = json_of(options.get("limit-mm-per-prompt"))
    if not isinstance(limits, dict):
        return False
    return all(limits.get(kind) == 0 for kind in ("image", "video", "audio"))


def _referred(process: Process, name: str) -> bool:
    """Tell whether variable ``name`` is given from elsewhere; one written in the artefact has a rule of its own."""
    value = process.environment.get(name)
    return value is not None and not (value.known and (value.literal or not value))


def _exposed(options: Mapping[str, Given], whole: bool) -> bool:
    """Tell whether the server listens on every interface, its default, or on a public address."""
    host = options.get("host")
    if host is None:
        return whole
    return host.known and any(wildcard(text) or public(text) for text in host.values)


def _placed(options: Mapping[str, Given]) -> bool:
    """Tell whether options say where among nodes the process stands: variables of the same names then feed them."""
    names = ("nnodes", "node-rank", "master-addr", "master-port", "data-parallel-address", "data-parallel-start-rank")
    return any(name in options for name in names)


def _data_parallel_over_nodes(options: Mapping[str, Given]) -> bool:
    size, local = number(options, "data-parallel-size", 1), number(options, "data-parallel-size-local", 0)
    if any(on(options, name) for name in ("data-parallel-hybrid-lb", "data-parallel-start-rank")):
        return True
    if 0 < local < size:
        return True
    address = options.get("data-parallel-address")
    return address is not None and bool(address.values) and not CONDITIONS["loopback"](address.values, None)


def _hub_model(process: Process, command: Command, options: Mapping[str, Given]) -> bool:
    model = value(options, "model") or next((str(word) for word in command.positional if word.known), None)
    if model is None or model.startswith(("/", ".", "~", "$")) or model.count("/") != 1:
        return False
    offline = process.environment.get("HF_HUB_OFFLINE")
    return offline is None or not offline.known or not truthy(offline)
