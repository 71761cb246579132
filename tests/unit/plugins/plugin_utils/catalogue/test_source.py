# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was read from the sources agrees with what was seen of the real program."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils import catalogue
from ansible_collections.hardened.vllm.plugins.plugin_utils.catalogue import history
from packaging.version import Version

MINORS = [f"0.{minor}" for minor in range(10, 33)]
# The routes of 0.32.0 as they were found by hand in the source and on running servers: method path, and + where a key is asked for.
ROUTES_OF_0_32 = """
GET /health; GET /ping; POST /ping; POST /invocations; GET /version; GET /load; GET /kv_event_sources;
GET /metrics; GET /openapi.json; GET /docs; GET /docs/oauth2-redirect; GET /redoc; POST /tokenize;
POST /detokenize; GET /v1/models +; POST /v1/systemone +; POST /v1/chat/completions +;
POST /v1/chat/completions/batch +; POST /v1/completions +; POST /v1/responses +;
GET /v1/responses/{response_id} +; POST /v1/responses/{response_id}/cancel +; POST /v1/messages +;
POST /v1/messages/count_tokens +; POST /generative_scoring; POST /scale_elastic_ep;
POST /is_scaling_elastic_ep; POST /inference/v1/generate +; POST /inference/v1/abort_requests +;
POST /v1/chat/completions/render +; POST /v1/messages/render +; POST /v1/completions/render +;
POST /v1/responses/render +; POST /v1/chat/completions/derender +; POST /v1/completions/derender +;
POST /abort_requests; POST /v1/audio/transcriptions +; POST /v1/audio/translations +;
WEBSOCKET /v1/realtime +; POST /pooling; POST /classify; POST /score; POST /rerank; POST /v1/score +;
POST /v1/rerank +; POST /v2/rerank +; POST /v1/embeddings +; POST /v2/embed +;
POST /v1/load_lora_adapter +; POST /v1/unload_lora_adapter +; POST /adapters;
DELETE /adapters/{adapter_name}; POST /start_profile; POST /stop_profile; GET /tokenizer_info;
POST /fault_tolerance/apply; GET /fault_tolerance/status; POST /cohere/v2/chat +;
POST /cohere/v2/chat/render +; POST /collective_rpc; GET /server_info; POST /reset_prefix_cache;
POST /reset_mm_cache; POST /reset_encoder_cache; POST /sleep; POST /wake_up; POST /release_kv_cache_memory;
GET /is_sleeping; POST /pause; POST /resume; GET /is_paused; POST /init_weight_transfer_engine;
POST /shutdown_weight_transfer_engine; POST /start_weight_update; POST /start_draft_weight_update;
POST /update_weights; POST /finish_weight_update; POST /update_weight_version; POST /weight_checker;
GET /weight_info; GET /get_world_size; MOUNT /metrics; MOUNT /static;
"""


def test_every_minor_release_is_known_once() -> None:
    assert [".".join(release.split(".")[:2]) for release in catalogue.releases()] == MINORS
    assert list(catalogue.releases()) == sorted(catalogue.releases(), key=Version)
    assert catalogue.newest() == "0.32.0"


def test_each_release_has_evidence() -> None:
    judged = history.load("releases.yml")
    assert [entry["release"] for entry in judged] == list(catalogue.releases())
    assert {entry["evidence"] for entry in judged} == {"observed", "read"}


@pytest.mark.parametrize("kind", history.KINDS)
def test_ranges_are_in_order_and_touch_known_releases(kind: str) -> None:
    for name in history.names(kind):
        ranges = history.ranges(kind, name)
        assert all(entry["until"] is not None for entry in ranges[:-1]), name
        for entry in ranges:
            assert entry["until"] is None or history.position(entry["since"]) < history.position(entry["until"])
        for before, after in pairwise(ranges):
            assert history.position(before["until"]) <= history.position(after["since"]), name


def test_the_routes_of_the_newest_release_are_those_found_by_hand() -> None:
    known = {f"{route.method} {route.path}{' +' if route.guarded else ''}" for route in catalogue.routes()}
    assert known == {entry.strip() for entry in ROUTES_OF_0_32.split(";") if entry.strip()}


def test_the_options_are_those_of_the_real_parser() -> None:
    seen = history.load("parser.json")
    read = catalogue.options(seen["release"])
    assert read.keys() == seen["options"].keys()
    assert len(read) == 317
    assert catalogue.aliases(seen["release"]) == seen["aliases"]
    for name, option in seen["options"].items():
        assert (read[name].switch, read[name].several) == (option["switch"], option["several"]), name


def test_every_default_that_was_read_is_the_parser_s() -> None:
    seen: dict[str, dict[str, Any]] = history.load("parser.json")["options"]
    compared = 0
    for name, option in catalogue.options(history.load("parser.json")["release"]).items():
        if "default" in seen[name] and option.default_code is None:
            assert json.dumps(option.default) == json.dumps(seen[name]["default"]), name
            compared += 1
    assert compared > 295


def test_only_few_defaults_need_running() -> None:
    for release in catalogue.releases():
        undecided = [name for name, option in catalogue.options(release).items() if option.default_code is not None]
        assert len(undecided) < 20, release


@pytest.mark.parametrize(
    ("release", "prefixes", "source", "constant"),
    [
        ("0.10.2", ("/v1",), "url", False),
        ("0.11.2", ("/v1",), "url", True),
        ("0.21.0", ("/v1",), "url", True),
        ("0.22.1", ("/v1", "/v2", "/inference"), "scope", True),
        ("0.26.0", ("/v1", "/v2", "/inference"), "scope", True),
        ("0.27.1", ("/v1", "/v2", "/inference", "/cohere"), "scope", True),
        ("0.32.0", ("/v1", "/v2", "/inference", "/cohere"), "scope", True),
    ],
)
def test_the_guard_by_release(release: str, prefixes: tuple[str, ...], source: str, constant: bool) -> None:
    guard = history.release_facts(release)["guard"]
    assert catalogue.guarded_prefixes(release) == prefixes
    assert (guard["path_from"], guard["constant_time"]) == (source, constant)
    assert guard["strips_root_path"]
    assert guard["skipped_methods"] == ["OPTIONS"]


def test_an_unknown_release_is_no_release() -> None:
    for ask in (catalogue.guarded_prefixes, catalogue.routes, catalogue.options, catalogue.variables):
        with pytest.raises(KeyError, match=r"0\.33\.0"):
            ask("0.33.0")


@pytest.mark.parametrize(
    ("asked", "release", "exact"),
    [
        ("0.22.1", "0.22.1", True),
        ("0.22.0", "0.22.1", False),
        ("0.12.0.post2", "0.12.0", True),
        ("0.32.0+cpu", "0.32.0", True),
        ("0.32.0rc1", "0.32.0", False),
        ("0.33.0", "0.32.0", False),
        ("1.0", "0.32.0", False),
        ("0.9.2", "0.10.2", False),
    ],
)
def test_the_nearest_release(asked: str, release: str, exact: bool) -> None:
    assert catalogue.nearest(asked) == catalogue.Nearest(release, exact)


def test_nearest_wants_a_version() -> None:
    with pytest.raises(ValueError, match=r"'latest' is no version: expected one such as 0\.32\.0"):
        catalogue.nearest("latest")


def test_routes_by_release() -> None:
    def when(release: str, path: str) -> str | None:
        return next((route.when for route in catalogue.routes(release) if route.path == path), None)

    assert when("0.11.2", "/pause") is None
    assert when("0.12.0", "/pause") == "always"
    assert when("0.15.1", "/pause") == "always"
    assert when("0.16.0", "/pause") == "VLLM_SERVER_DEV_MODE"
    assert when("0.13.0", "/start_profile") == "--profiler-config or VLLM_TORCH_CUDA_PROFILE or VLLM_TORCH_PROFILER_DIR"
    assert (
        when("0.30.0", "/inference/v1/generate")
        == "--enable-scale-out and generate or --tokens-only and generate or generate and render"
    )


@pytest.mark.parametrize(
    ("release", "ports"),
    [
        ("0.10.2", {"--port": 8000, "VLLM_NIXL_SIDE_CHANNEL_PORT": 5557, "KVEventsConfig.endpoint": 5557}),
        (
            "0.32.0",
            {
                "--port": 8000,
                "--master-port": 29501,
                "--data-parallel-supervisor-port": 9256,
                "VLLM_MOONCAKE_BOOTSTRAP_PORT": 8998,
            },
        ),
        (
            "0.32.0",
            {"VLLM_P2P_SIDE_CHANNEL_PORT": 5710, "VLLM_EC_SIDE_CHANNEL_PORT": 5601, "ECTransferConfig.ec_port": 14579},
        ),
        (
            "0.32.0",
            {
                "ParallelConfig.data_parallel_rpc_port": 29550,
                "lmcache_mp_connector:lmcache.mp.port": 5555,
                "hf3fs:hf3fs_metadata_server_url": 18000,
            },
        ),
    ],
)
def test_default_ports(release: str, ports: dict[str, int]) -> None:
    assert catalogue.default_ports(release).items() >= ports.items()
    assert "--master-port" not in catalogue.default_ports("0.10.2")


def test_fields_connectors_and_variables_by_release() -> None:
    assert "kv_ip" in catalogue.fields("KVTransferConfig", "0.31.0")
    assert "kv_ip" not in catalogue.fields("KVTransferConfig", "0.32.0")
    assert catalogue.fields("ProfilerConfig", "0.12.0") == frozenset()
    assert "P2pNcclConnector" in catalogue.connectors("kv", "0.23.0")
    assert "P2pNcclConnector" not in catalogue.connectors("kv", "0.24.0")
    assert catalogue.connectors("ec") == {"ECCPUConnector", "ECExampleConnector", "ECMooncakeConnector"}
    assert catalogue.variables("0.32.0")["VLLM_MEDIA_URL_ALLOW_REDIRECTS"].default == "1"
    assert catalogue.variables("0.32.0")["VLLM_MEDIA_URL_ALLOW_REDIRECTS"].declared
    assert not catalogue.variables("0.32.0")["HOST_IP"].declared
    assert "VLLM_TORCH_PROFILER_DIR" not in catalogue.known_variables("0.16.0")


def test_options_by_release() -> None:
    assert catalogue.flag_name("--task", "0.12.0") == "task"
    assert catalogue.is_known_flag("task", "0.12.0")
    assert not catalogue.is_known_flag("task", "0.13.0")
    assert catalogue.flag_name("-tp", "0.10.2") == "tensor-parallel-size"
    assert catalogue.flag_name("--no-enable_prefix_caching") == "enable-prefix-caching"
    assert "disable-log-requests" not in catalogue.known_flags("0.17.1")


def test_what_a_gateway_may_pass_by_release() -> None:
    early = {route.path for route in catalogue.user_routes(frozenset(catalogue.user_groups("0.10.2")), "0.10.2")}
    assert "/v1/messages" not in early
    assert "/v1/chat/completions" in early
    for release in catalogue.releases():
        for route in catalogue.user_routes(frozenset(catalogue.user_groups(release)), release):
            assert set(re.findall(r"\{(\w+)\}", route.path)) == {name for name, _pattern in route.ids}
            assert route.audience in ("user", "user_if_asked")


def test_what_the_plan_sets_is_there_in_the_newest_release() -> None:
    assert catalogue.owned_flags().keys() <= catalogue.known_flags()


def test_what_the_plan_sets_by_release() -> None:
    assert "nnodes" not in catalogue.owned_flags("0.10.2")
    assert catalogue.owned_flags("0.32.0") == catalogue.owned_flags()
    assert "VLLM_MAX_N_SEQUENCES" not in catalogue.owned_variables("0.18.1")
    assert catalogue.owned_variables("0.18.1").keys() >= {"HOME", "VLLM_HOST_IP", "GLOO_SOCKET_IFNAME"}
    assert catalogue.owned_variables("0.32.0") == catalogue.owned_variables()
