# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is said about a name a release does not have."""

from __future__ import annotations

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils import catalogue
from ansible_collections.hardened.vllm.plugins.plugin_utils.catalogue import history, judgement
from ansible_collections.hardened.vllm.plugins.plugin_utils.catalogue.renames import KINDS, Socket, advice, sockets

# Read elsewhere than by vLLM, or of tests and models that are gone with them.
NO_HEIR = {
    "HF_TOKEN",
    "VLLM_CI_USE_S3",
    "VLLM_FUN_AUDIOCHAT_DUMP_PATH",
    "VLLM_GPT_OSS_USE_CONTAINER_TOOL",
    "VLLM_TEST_ENABLE_ARTIFICIAL_PREEMPT",
}


def exists(name: str, release: str) -> bool:
    if name.startswith("--"):
        return catalogue.is_known_flag(name[2:], release)
    if "." in name:
        return name in history.at("fields", release)
    return name in catalogue.known_variables(release)


@pytest.mark.parametrize(
    ("kind", "name", "release", "sentence", "remedy"),
    [
        ("flags", "kv-ip", "0.12.0", "No known release has --kv-ip.", "It is a field: --kv-transfer-config.kv_ip."),
        (
            "flags",
            "kv-ip",
            "0.32.0",
            "No known release has --kv-ip.",
            "Each connector has its own: VLLM_NIXL_SIDE_CHANNEL_HOST",
        ),
        (
            "flags",
            "data-parallel-master-ip",
            "0.32.0",
            "No known release has --data-parallel-master-ip.",
            "It is internal.",
        ),
        ("flags", "disable-log-requests", "0.17.1", "--disable-log-requests is gone since 0.17.1.", "Leave it out"),
        ("flags", "task", "0.32.0", "--task is gone since 0.13.0.", "Use --runner pooling"),
        ("flags", "fingerprint-mode", "0.20.2", "--fingerprint-mode comes with 0.21.0.", ""),
        ("fields", "KVTransferConfig.kv_ip", "0.32.0", "KVTransferConfig.kv_ip is gone since 0.32.0.", "Take it out"),
        (
            "variables",
            "VLLM_TORCH_PROFILER_DIR",
            "0.16.0",
            "VLLM_TORCH_PROFILER_DIR is gone since 0.16.0.",
            "Use --profiler-config",
        ),
        ("variables", "VLLM_NOTHING", "0.32.0", "No known release has VLLM_NOTHING.", ""),
        (
            "connectors",
            "kv:P2pNcclConnector",
            "0.24.0",
            "kv:P2pNcclConnector is gone since 0.24.0.",
            "Use NixlConnector",
        ),
    ],
)
def test_advice(kind: str, name: str, release: str, sentence: str, remedy: str) -> None:
    told = advice(kind, name, release)
    assert told is not None
    assert told.sentence() == sentence
    assert told.remedy.startswith(remedy)
    assert bool(told.remedy) is bool(remedy)


@pytest.mark.parametrize(
    ("kind", "name", "release"),
    [
        ("flags", "disable-log-requests", "0.16.0"),
        ("flags", "task", "0.12.0"),
        ("fields", "KVTransferConfig.kv_ip", "0.31.0"),
        ("variables", "VLLM_TORCH_PROFILER_DIR", "0.15.1"),
    ],
)
def test_what_a_release_has_needs_no_advice(kind: str, name: str, release: str) -> None:
    assert advice(kind, name, release) is None


def test_an_unknown_release_is_refused() -> None:
    with pytest.raises(KeyError, match=r"0\.33\.0"):
        advice("flags", "task", "0.33.0")


@pytest.mark.parametrize("kind", KINDS)
def test_names_that_never_were_are_those_no_release_has(kind: str) -> None:
    for name, entry in history.load("renames.yml")[kind].items():
        assert entry.get("never", False) is (history.presence(kind, name) == ()), name


@pytest.mark.parametrize("kind", KINDS)
def test_every_advice_names_only_what_its_release_has(kind: str) -> None:
    for name in history.load("renames.yml")[kind]:
        for release in catalogue.releases():
            told = advice(kind, name, release)
            if told is not None and told.comes is None:
                assert told.remedy, f"{kind} {name} {release}"
                assert all(exists(other, release) for other in told.use), f"{kind} {name} {release}"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_gone_and_mattered_has_advice(kind: str) -> None:
    said = history.load("renames.yml")[kind]
    for name in history.names(kind):
        matters = kind in ("fields", "connectors") or judgement.judged(kind, name) is not None
        if matters and name not in NO_HEIR and history.presence(kind, name)[-1][1] is not None:
            assert name in said, f"{kind} {name}"


def test_sockets_of_nixl_by_release() -> None:
    data = Socket("data", "UCX_NET_DEVICES", "ephemeral", "none")
    host, port = "VLLM_NIXL_SIDE_CHANNEL_HOST", "VLLM_NIXL_SIDE_CHANNEL_PORT"
    assert sockets("kv", "NixlConnector", "0.10.2") == (
        Socket("metadata", host, port, "tensor_and_data_parallel"),
        data,
    )
    assert sockets("kv", "NixlConnector", "0.32.0") == (Socket("metadata", host, port, "data_parallel"), data)


def test_the_bootstrap_server_of_mooncake_listens_everywhere() -> None:
    by_name = {socket.name: socket for socket in sockets("kv", "MooncakeConnector", "0.32.0")}
    assert by_name["bootstrap"].address == "*"
    assert "bootstrap" not in {socket.name for socket in sockets("kv", "MooncakeConnector", "0.13.0")}


def test_a_connector_the_release_does_not_have() -> None:
    with pytest.raises(KeyError, match="kv:P2pNcclConnector"):
        sockets("kv", "P2pNcclConnector", "0.32.0")


def test_pins_are_names_of_the_release() -> None:
    outside = {"*", "ephemeral", "UCX_NET_DEVICES"}
    for release in catalogue.releases():
        for name in history.at("connectors", release):
            kind, connector = name.split(":")
            for socket in sockets(kind, connector, release):
                for pin in (socket.address, socket.port):
                    if pin.startswith("extra."):
                        keys = {key.split(":")[1] for key in history.at("extra_keys", release)}
                        assert pin.removeprefix("extra.") in keys, f"{release} {name} {pin}"
                    else:
                        assert pin in outside or exists(pin, release), f"{release} {name} {pin}"
                assert socket.stride in ("none", "data_parallel", "tensor_and_data_parallel")
