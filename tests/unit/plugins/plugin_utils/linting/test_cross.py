# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules that look at several values of a process, at its release, and what is said about each."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.asked import lint_input
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.lint import judge, lint
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.texts import Process, Text, text
from ansible_collections.hardened.vllm.plugins.plugin_utils.problems import Severity

KEY = "6f1d0c5e9ab24c7788d3e21b5a90f4c2"


def rules(*argv: str, release: str | None = None, **environment: str) -> dict[str, str]:
    findings = lint_input({"argv": ["serve", "/m", *argv], "environment": environment}, release=release)
    return {finding.rule: finding.severity.name for finding in findings}


@pytest.mark.parametrize(
    ("argv", "environment", "rule"),
    [
        ([], {}, "api-key"),
        ([], {"VLLM_API_KEY": KEY}, None),
        (["--api-key", KEY], {}, None),
        (["--headless"], {}, None),
        (["--api-key", ""], {"VLLM_API_KEY": KEY}, "api-key-empty"),
        ([], {"VLLM_API_KEY": ""}, "api-key-empty"),
        (["--api-key", KEY, "short"], {}, "api-key-weak"),
        ([], {"VLLM_API_KEY": "tooshort"}, "api-key-weak"),
        ([], {"VLLM_API_KEY": "your-very-long-api-key-goes-in-here-please"}, "api-key-weak"),
        ([], {"VLLM_API_KEY": "x" * 40}, "api-key-weak"),
        ([], {"VLLM_API_KEY": "<put a key of your own here, a long one>"}, "api-key-weak"),
        ([], {"VLLM_API_KEY": "${SOME_VARIABLE_WITH_QUITE_A_LONG_NAME}"}, "api-key-weak"),
        ([], {"VLLM_API_KEY": "sk-" + KEY}, None),
    ],
)
def test_keys(argv: list[str], environment: dict[str, str], rule: str | None) -> None:
    found = set(rules(*argv, **environment)) & {"api-key", "api-key-empty", "api-key-weak"}
    assert found == ({rule} if rule else set())


def test_a_server_on_a_socket_without_a_key_is_a_warning() -> None:
    assert rules("--uds", "/run/vllm/api.sock")["api-key"] == "WARNING"
    assert rules()["api-key"] == "ERROR"


@pytest.mark.parametrize(
    ("argv", "missing"),
    [
        (["--host", "10.0.0.1"], True),
        ([], True),
        (["--host", "127.0.0.1"], False),
        (["--host", "::1"], False),
        (["--uds", "/run/x"], False),
        (["--host", "10.0.0.1", "--ssl-certfile", "c", "--ssl-keyfile", "k"], False),
        (["--headless"], False),
    ],
)
def test_tls(argv: list[str], missing: bool) -> None:
    assert ("tls-missing" in rules(*argv)) is missing


@pytest.mark.parametrize(
    ("events", "found"),
    [
        ('{"enable_kv_cache_events": true}', True),
        ('{"enable_kv_cache_events": true, "endpoint": "tcp://*:5557"}', True),
        ('{"enable_kv_cache_events": true, "endpoint": "tcp://0.0.0.0:5557"}', True),
        ('{"enable_kv_cache_events": true, "endpoint": "tcp://*:0"}', False),
        ('{"enable_kv_cache_events": true, "endpoint": "tcp://10.0.0.1:5557"}', False),
        ('{"enable_kv_cache_events": false}', False),
        ('{"enable_kv_cache_events": true, "endpoint": "ipc:///run/x", "replay_endpoint": "tcp://*:5558"}', True),
    ],
)
def test_events(events: str, found: bool) -> None:
    assert ("kv-events" in rules("--kv-events-config", events)) is found


def test_side_channels_of_nixl_depend_on_the_nodes() -> None:
    nixl = ["--kv-transfer-config", '{"kv_connector": "NixlConnector", "kv_role": "kv_both"}']
    assert rules(*nixl)["env-side-channel"] == "WARNING"
    assert rules(*nixl, "--nnodes", "2")["env-side-channel"] == "ERROR"
    assert "env-side-channel" not in rules(*nixl, VLLM_NIXL_SIDE_CHANNEL_HOST="10.0.0.1")


@pytest.mark.parametrize(
    "argv",
    [
        ["--nnodes", "2"],
        ["--data-parallel-size", "4", "--data-parallel-size-local", "2"],
        ["-dp", "2", "--data-parallel-address", "10.0.0.1"],
        ["--headless"],
    ],
)
def test_several_nodes_need_addresses(argv: list[str]) -> None:
    found = rules(*argv)
    assert found["env-host-ip-missing"] == "ERROR"
    assert found["env-interface"] == "WARNING"
    assert rules()["env-host-ip-missing"] == "WARNING"


@pytest.mark.parametrize(
    "words",
    [
        ["--language-model-only"],
        ["--limit-mm-per-prompt", '{"image": 0, "video": 0, "audio": 0}'],
        ["--allowed-media-domains", "media-disabled.invalid"],
    ],
)
def test_media_that_cannot_be_fetched_need_no_domains(words: list[str]) -> None:
    assert "arg-media-domains" not in rules(*words)
    assert "arg-media-domains" in rules()


@pytest.mark.parametrize("domain", ["https://a.example", "*.a.example", "A.example", "a.example:443", "a/b", '["a"]'])
def test_domains_that_never_match(domain: str) -> None:
    assert rules("--allowed-media-domains", domain)["arg-media-domain-form"] == "ERROR"


@pytest.mark.parametrize("domain", ["10.0.0.1", "169.254.169.254", "[::1]"])
def test_addresses_of_private_networks_are_no_domains(domain: str) -> None:
    assert "arg-media-domain-form" in rules("--allowed-media-domains", domain)


@pytest.mark.parametrize("name", ["VLLM_NO_USAGE_STATS", "VLLM_DO_NOT_TRACK", "DO_NOT_TRACK"])
def test_any_of_three_switches_telemetry_off(name: str) -> None:
    assert "env-telemetry" not in rules(**{name: "1"})
    assert rules(**{name: "0"})["env-telemetry"] == "WARNING"


@pytest.mark.parametrize(
    ("release", "severity"),
    [
        ("0.11.0", "ERROR"),
        ("0.22.0rc1", "ERROR"),
        ("0.22.0", "WARNING"),
        ("0.30.0+cu129", "WARNING"),
        ("0.32.0", "WARNING"),
        ("0.33.0rc1", "WARNING"),
        ("0.33.0", None),
        ("0.33.0.post1", None),
    ],
)
def test_releases(release: str, severity: str | None) -> None:
    assert rules(release=release).get("release-old") == severity


def test_remote_code_makes_an_old_release_worse() -> None:
    assert rules("--trust-remote-code", release="0.30.0")["release-old"] == "ERROR"


def test_nothing_is_said_about_the_age_of_a_release_nobody_named() -> None:
    assert "release-old" not in rules()


def found(rule: str, *argv: str, release: str | None = None, **environment: str) -> Any:
    given = {"argv": ["/m", *argv], "environment": environment}
    return next(item for item in lint_input(given, release=release) if item.rule == rule)


def test_what_is_said_about_names_a_release_does_not_have() -> None:
    assert "Did you mean 'max-model-len'" in found("arg-unknown", "--max-modle-len", "1").remedy
    assert "VLLM_NIXL_SIDE_CHANNEL_HOST" in found("arg-removed", "--kv-ip", "10.0.0.1").remedy
    assert "gone since 0.17.1" in found("arg-removed", "--disable-log-requests").remedy
    assert "arg-removed" not in rules("--disable-log-requests", release="0.12.0")
    assert (
        "Did you mean 'VLLM_MEDIA_URL_ALLOW_REDIRECTS'"
        in found("env-unknown", VLLM_MEDIA_URL_ALLOW_REDIRECT="0").remedy
    )
    assert found("env-unknown", VLLM_OF_OUR_OWN="1").severity.name == "INFO"
    assert "gone since" in found("env-no-effect", VLLM_USE_V1="1").remedy


def test_profiler_variables_depend_on_the_release() -> None:
    assert rules(VLLM_TORCH_PROFILER_DIR="/x", release="0.13.0")["env-profiler"] == "ERROR"
    current = rules(VLLM_TORCH_PROFILER_DIR="/x", release="0.32.0")
    assert current["env-no-effect"] == "WARNING"
    assert "env-profiler" not in current


def test_fields_and_connectors_depend_on_the_release() -> None:
    transfer = ["--kv-transfer-config", '{"kv_connector": "P2pNcclConnector", "kv_ip": "10.0.0.1"}']
    assert {"kv-field-removed", "kv-connector"} <= set(rules(*transfer, release="0.32.0"))
    assert "kv-field-removed" not in rules(*transfer, release="0.12.0")
    module = ["--kv-transfer-config", '{"kv_connector": "Own", "kv_connector_module_path": "own.module"}']
    assert "kv-connector" not in rules(*module)
    assert rules(*module)["arg-import"] == "ERROR"


def test_missing_options_are_those_the_release_has() -> None:
    assert "arg-fingerprint" in rules(release="0.32.0")
    assert "arg-fingerprint" not in rules(release="0.12.0")
    assert rules(release="0.12.0")["arg-origins"] == "WARNING"
    assert "arg-origins" not in rules(release="0.32.0")


def test_the_worst_of_one_rule_at_one_place_is_said_once() -> None:
    (finding,) = [f for f in lint_input({"argv": ["/m", "--tool-server", "demo"]}) if f.rule == "arg-tool-server"]
    assert finding.severity.name == "ERROR"


def test_passwords_in_addresses_are_masked() -> None:
    text = str(lint_input({"argv": ["/m", "--otlp-traces-endpoint", "https://user:hunter2@collector"]}))
    assert "hunter2" not in text
    assert "arg-tracing" in text


def severities(rule: str, argv: list[str], environment: dict[str, str]) -> list[Severity]:
    return [problem.severity for problem in lint(["serve", "/m", *argv], environment) if problem.rule == rule]


@pytest.mark.parametrize("option", ["--enable-scale-out", "--tokens-only"])
def test_routes_for_frontends_are_an_error_only_where_everybody_reaches_them(option: str) -> None:
    for reached in ([], ["--host", "0.0.0.0"], ["--host", "::"], ["--host", "8.8.8.8"]):
        assert severities("arg-scale-out", [option, *reached], {}) == [Severity.ERROR], reached
    for closed in (["--host", "10.20.1.11"], ["--host", "127.0.0.1"], ["--uds", "/run/vllm/api.sock"]):
        assert severities("arg-scale-out", [option, *closed], {}) == [Severity.WARNING], closed


def test_either_limit_ends_the_growth_of_the_queue() -> None:
    assert severities("arg-queue", [], {}) == [Severity.WARNING]
    assert severities("arg-queue", ["--max-num-queued-reqs", "64"], {}) == []
    assert severities("arg-queue", ["--max-num-queued-tokens", "65536"], {}) == []


@pytest.mark.parametrize("name", ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"])
def test_a_token_of_the_hub_is_said_once_and_until_the_server_is_offline(name: str) -> None:
    def said(token: str | Text | None, offline: str | None = None) -> list[str]:
        given = {name: token, "HF_HUB_OFFLINE": offline}
        environment = {key: text(value) for key, value in given.items() if value is not None}
        found = judge(Process("", Text(""), [Text("/m")], environment))
        return [finding.rule for finding in found if finding.rule in ("env-hub-token", "env-secret")]

    secret = Text("", known=False, literal=False)
    assert said(secret) == said(secret, "0") == ["env-hub-token"]
    assert said("hf_x") == ["env-secret"]
    assert said(secret, "1") == said(None) == said("") == []


def test_variables_of_launchers_are_said_only_where_nothing_uses_them() -> None:
    assert severities("env-no-effect", [], {"MASTER_ADDR": "10.20.1.11", "RANK": "1"}) == [Severity.INFO] * 2
    for user in (["--master-addr", "10.20.1.11"], ["--distributed-executor-backend", "external_launcher"]):
        assert severities("env-no-effect", user, {"MASTER_ADDR": "10.20.1.11", "RANK": "1"}) == []


def test_pairs_of_network_devices_do_nothing_alone() -> None:
    pairs = {"VLLM_GPU_NIC_PCIE_MAPPING": "0000:17:00.0=0000:18:00.0"}
    assert [problem.found for problem in lint(["serve", "/m"], pairs) if problem.rule == "env-nic-selection"] == [
        "VLLM_GPU_NIC_PCIE_MAPPING='0000:17:00.0=0000:18:00.0'"
    ]
    both = {**pairs, "VLLM_NIC_SELECTION_VARS": "NCCL_IB_HCA"}
    assert [problem.found for problem in lint(["serve", "/m"], both) if problem.rule == "env-nic-selection"] == [
        "VLLM_NIC_SELECTION_VARS='NCCL_IB_HCA'"
    ]


@pytest.mark.parametrize(
    ("name", "safe", "larger"),
    [
        ("VLLM_VIDEO_FETCH_TIMEOUT", "15", "16"),
        ("VLLM_IMAGE_FETCH_TIMEOUT", "5", "6"),
        ("VLLM_AUDIO_FETCH_TIMEOUT", "10", "11"),
        ("VLLM_MEDIA_FETCH_MAX_RETRIES", "1", "2"),
        ("VLLM_MAX_MEDIA_DOWNLOAD_SIZE_MB", "64", "65"),
    ],
)
def test_limits_begin_to_be_high_right_above_the_safe_value(name: str, safe: str, larger: str) -> None:
    assert f"environment.{name}" not in {problem.path[8:] for problem in lint(["serve", "/m"], {name: safe})}
    assert f"environment.{name}" in {problem.path[8:] for problem in lint(["serve", "/m"], {name: larger})}
