# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the cluster is declared with, mistaken in each way there is a rule for."""

from __future__ import annotations

from typing import Any

import pytest
from support.mistakes import Mistake, both, check_sentence, numbered, put

old_release = both(
    put("cluster/engine", {"arguments": {"max-num-queued-tokens": 1000}}), put("cluster/release", "0.22.1")
)

SOURCE = {"repository": "acme/tiny", "revision": "0" * 40}
CALL = {"name": "traces", "to": ["10.20.9.0/28"], "port": 4317, "why": "traces"}

SECRETS: list[tuple[str, str, str]] = [
    ("environment", "HF_TOKEN", "hf_hunter2hunter2"),
    ("environment", "OTEL_EXPORTER_OTLP_HEADERS", "x-api-key=hunter2"),
    ("arguments", "otlp-traces-endpoint", "http://me:hunter2@10.20.9.1:4317"),
    ("arguments", "model-loader-extra-config", '{"store": {"secret_key": "hunter2"}}'),
]


TAGGED = "registry.example.org/vllm/vllm-openai:v0.32.0"
IMAGE = {"method": "image", "image": f"registry.example.org/vllm/vllm-openai@sha256:{'0' * 64}"}
MISTAKES: list[tuple[str, str, Mistake]] = [
    ("unknown-key", "vllm_cluster.modle", put("cluster/modle", {})),
    ("model-source", "vllm_cluster.model", put("cluster/model", {"name": "example"})),
    ("model-source", "vllm_cluster.model", put("cluster/model/source", SOURCE)),
    (
        "bad-value",
        "vllm_cluster.model.source.revision",
        put("cluster/model", {"name": "a", "source": {**SOURCE, "revision": "main"}}),
    ),
    (
        "bad-value",
        "vllm_cluster.model.source.endpoint",
        put("cluster/model", {"name": "a", "source": {**SOURCE, "endpoint": "http://a"}}),
    ),
    (
        "bad-value",
        "vllm_cluster.model.source.repository",
        put("cluster/model", {"name": "a", "source": {**SOURCE, "repository": "a/../b"}}),
    ),
    ("bad-value", "vllm_cluster.topology", put("cluster/topology", "star")),
    ("out-of-range", "vllm_cluster.engine.port", put("cluster/engine/port", 70000)),
    ("release-unknown", "vllm_cluster.release", put("cluster/release", "0.1.0")),
    ("fabric-public", "vllm_cluster.networks.fabric.cidrs[0]", put("cluster/networks/fabric/cidrs", ["0.0.0.0/0"])),
    ("fabric-public", "vllm_cluster.networks.fabric.cidrs[0]", put("cluster/networks/fabric/cidrs", ["8.8.8.0/24"])),
    ("network-overlap", "vllm_cluster.networks.management", put("cluster/networks/management/cidrs", ["10.20.0.0/16"])),
    ("bad-value", "vllm_cluster.networks.fabric.cidrs[0]", put("cluster/networks/fabric/cidrs", ["10.20.1.7/24"])),
    ("port-collision", "vllm_cluster.engine.master_port", put("cluster/engine/master_port", 8000)),
    ("port-collision", "vllm_cluster.engine.port", put("cluster/engine/port", 40001)),
    ("out-of-range", "vllm_cluster.engine.ephemeral_ports", put("cluster/engine/ephemeral_ports", "40000-40010")),
    ("bad-value", "vllm_cluster.engine.ephemeral_ports", put("cluster/engine/ephemeral_ports", "50000-40000")),
    ("path-out-of-reach", "vllm_cluster.model.path", put("cluster/model/path", "/home/me/model")),
    ("bad-value", "vllm_cluster.engine.devices[0]", put("cluster/engine/devices", ["/dev/nvidia*"])),
    ("argument-owned", "vllm_cluster.engine.arguments.host", put("cluster/engine/arguments", {"host": "0.0.0.0"})),
    ("argument-owned", "vllm_cluster.engine.arguments.api_key", put("cluster/engine/arguments", {"api_key": "x"})),
    (
        "argument-owned",
        "vllm_cluster.engine.arguments.allowed-media-domains",
        put("cluster/engine/arguments", {"allowed-media-domains": []}),
    ),
    (
        "argument-owned",
        "vllm_cluster.engine.arguments.no-disable-fastapi-docs",
        put("cluster/engine/arguments", {"no-disable-fastapi-docs": True}),
    ),
    (
        "argument-owned",
        "vllm_cluster.engine.arguments.kv-transfer-config.kv_port",
        both(
            put("cluster/cache", {"config": "/etc/lmcache.yml"}),
            put("cluster/engine/arguments", {"kv-transfer-config.kv_port": 9000}),
        ),
    ),
    *[
        (
            "argument-unknown",
            f"vllm_cluster.engine.arguments.{name}",
            put("cluster/engine/arguments", {name: "10.20.1.11"}),
        )
        for name in ("kv-ip", "data_parallel_master_ip")
    ],
    (
        "not-in-release",
        "hosts.engine1.engine.environment.VLLM_TORCH_PROFILER_DIR",
        put("cluster/engine/environment", {"VLLM_TORCH_PROFILER_DIR": "/srv/profiles"}),
    ),
    (
        "kv-field-removed",
        "hosts.engine1.engine.argv.--kv-transfer-config.kv_ip",
        put(
            "cluster/engine/arguments",
            {"kv-transfer-config.kv_connector": "OffloadingConnector", "kv-transfer-config.kv_ip": "10.20.1.11"},
        ),
    ),
    (
        "argument-unknown",
        "vllm_cluster.engine.arguments.max-modle-len",
        put("cluster/engine/arguments", {"max-modle-len": 5}),
    ),
    (
        "argument-unknown",
        "vllm_cluster.engine.arguments.trust-remote",
        put("cluster/engine/arguments", {"trust-remote": True}),
    ),
    (
        "environment-owned",
        "vllm_cluster.engine.environment.VLLM_HOST_IP",
        put("cluster/engine/environment", {"VLLM_HOST_IP": "10.20.1.11"}),
    ),
    *[
        ("secret-written", f"vllm_cluster.engine.{part}.{name}", put(f"cluster/engine/{part}", {name: value}))
        for part, name, value in SECRETS
    ],
    (
        "secret-written",
        "vllm_cluster.install.index_url",
        put("cluster/install", {"index_url": "https://me:hunter2@packages.example.org/simple"}),
    ),
    (
        "env-dev-mode",
        "hosts.engine1.engine.environment.VLLM_SERVER_DEV_MODE",
        put("cluster/engine/environment", {"VLLM_SERVER_DEV_MODE": 1}),
    ),
    (
        "arg-remote-code",
        "hosts.engine1.engine.argv.--trust-remote-code",
        put("cluster/engine/arguments", {"trust_remote_code": True}),
    ),
    (
        "waiver-expired",
        "vllm_cluster.waivers[0].expires",
        put(
            "cluster/waivers",
            [{"rule": "arg-queue", "reason": "because of a test", "owner": "tests", "expires": "2026-11-22"}],
        ),
    ),
    *[
        ("bad-value", "vllm_cluster.media.allowed_domains[0]", put("cluster/media/allowed_domains", [name]))
        for name in ("https://example.org", "*.example.org", "example.org:443", "Example.org", "10.0.0.1", "a/b", "")
    ],
    ("wrong-type", "vllm_cluster.media.allowed_domains", put("cluster/media/allowed_domains", "example.org")),
    *[
        ("egress-unsafe", "vllm_cluster.egress[0].to[0]", put("cluster/egress", [{**CALL, "to": [block]}]))
        for block in ("0.0.0.0/0", "::/0", "169.254.169.254/32", "169.0.0.0/8", "fd00:ec2::254/128", "127.0.0.1/32")
    ],
    ("egress-unsafe", "vllm_cluster.media.proxy.address", put("cluster/media/proxy", {"address": "::1", "port": 80})),
    ("egress-name-shared", "vllm_cluster.egress", put("cluster/egress", [CALL, {**CALL, "port": 4318}])),
    ("media-unresolved", "vllm_cluster.media.resolvers", put("cluster/media/allowed_domains", ["media.example.org"])),
    ("not-in-release", "hosts.engine1.engine.argv.--max-num-queued-tokens", old_release),
    ("protection-missing", "vllm_cluster.release", put("cluster/release", "0.22.1")),
    ("install-source", "vllm_cluster.install.bundle", put("cluster/install", {"bundle": "x", "method": "existing"})),
    (
        "install-source",
        "vllm_cluster.install.bundle",
        put("cluster/install", {"bundle": "x", "index_url": "https://index.example.org/simple"}),
    ),
    (
        "install-source",
        "vllm_cluster.install.bundle",
        put("cluster/install", {"bundle": "x", "find_links": "/opt/wheels"}),
    ),
    (
        "install-source",
        "vllm_cluster.install.bundle",
        put("cluster/install", {"bundle": "x", "requirements": ["torch==2.13.0"]}),
    ),
    ("install-unlocked", "vllm_cluster.install.lock", put("cluster/install", {})),
    ("install-source", "vllm_cluster.install.lock", put("cluster/install", {"lock": "x", "method": "existing"})),
    (
        "install-source",
        "vllm_cluster.install.lock",
        put("cluster/install", {"lock": "x", "requirements": ["torch==2.13.0"]}),
    ),
    ("install-source", "vllm_cluster.install.bundle", put("cluster/install", {**IMAGE, "bundle": "x"})),
    ("install-source", "vllm_cluster.install.image", put("cluster/install", {"image": IMAGE["image"]})),
    ("install-source", "vllm_cluster.install.image_archive", put("cluster/install", {"image_archive": "vllm.tar"})),
    ("image-moves", "vllm_cluster.install.image", put("cluster/install", {"method": "image"})),
    *[
        ("image-moves", "vllm_cluster.install.image", put("cluster/install", {**IMAGE, "image": image}))
        for image in (TAGGED, f"{TAGGED}@sha256:{'0' * 64}", "registry.example.org/vllm@sha256:0123")
    ],
    ("bad-value", "vllm_cluster.install.image", put("cluster/install", {**IMAGE, "image": "vllm"})),
    ("device-unfit", "vllm_cluster.engine.devices", put("cluster/engine/devices", ["nvidia.com/gpu=all"])),
]


@pytest.mark.parametrize(("rule", "path", "mistake", "number"), numbered(MISTAKES), ids=lambda value: str(value)[:60])
def test_each_mistake_is_said_in_full(
    rule: str, path: str, mistake: Mistake, number: int, cluster: Any, hosts: Any, today: Any
) -> None:
    check_sentence(rule, path, mistake, number, cluster, hosts, today)
