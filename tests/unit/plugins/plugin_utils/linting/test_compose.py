# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""docker-compose: interpolation, env_file, extends, merge keys, and what opens a service."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.artefacts import lint_text
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.releases import of_image
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.texts import Text

from .conftest import ruled, seen

Lint = Callable[[dict[str, str]], set[tuple[str, int, str]]]


def service(body: str) -> str:
    return "services:\n  vllm:\n    image: vllm/vllm-openai:v0.32.0\n" + body


def test_lists_maps_folded_and_literal_commands_have_their_lines() -> None:
    text = """\
x-env: &env
  VLLM_SERVER_DEV_MODE: 1
services:
  a:
    image: vllm/vllm-openai:${TAG:-v0.11.0}
    environment:
      <<: *env
      VLLM_LOGGING_LEVEL: "DEBUG"
    command: >
      --model /m
      --host ${BIND:-0.0.0.0}
      --trust-remote-code
  b:
    image: vllm/vllm-openai@sha256:0123
    environment:
      - VLLM_TRACE_FUNCTION=1
    command: |
      --model /m
      --grpc
  c:
    image: registry.example/llm:1
    entrypoint: [vllm, serve]
    command: ["/m", "--max-logprobs", "-1"]
  proxy:
    image: nginx
    ports: ["80:80"]
"""
    found = seen(text, path="compose.yml")
    assert found >= {
        (2, "env-dev-mode"),
        (5, "release-old"),
        (8, "env-log-debug"),
        (11, "arg-host"),
        (12, "arg-remote-code"),
        (16, "env-trace"),
        (19, "arg-grpc"),
        (23, "arg-logprobs"),
    }
    assert "published-port" not in {rule for _line, rule in found}


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("${HOST:-0.0.0.0}", True),
        ("${HOST-0.0.0.0}", True),
        ("${HOST:-${OTHER:-0.0.0.0}}", True),
        ("0.0.0.0", True),
        ("${HOST:-127.0.0.1}", False),
        ("${HOST}", False),
        ("$HOST", False),
        ("${HOST:?must be set}", False),
        ("$$HOST", False),
    ],
)
def test_defaults_of_variables(written: str, found: bool) -> None:
    text = service(f'    command: ["--model", "/m", "--host", "{written}"]\n')
    rules = {rule for _line, rule in seen(text, "compose")}
    assert ("arg-host" in rules) is found
    assert ("unresolved" in rules) is (written in ("${HOST}", "$HOST", "${HOST:?must be set}"))


@pytest.mark.parametrize(
    ("port", "rule"),
    [
        ("8000:8000", "published-port"),
        ("8000", "published-port"),
        ("0.0.0.0:8000:8000", "published-port"),
        ("[::]:8000:8000", "published-port"),
        ("203.0.113.5:8000:8000", None),
        ("8.8.8.8:8000:8000", "published-port"),
        ("${PORT:-8000}:8000", "published-port"),
        ("${PORT}:8000", "published-port"),
        ("${BIND}:8000:8000", None),
        ("127.0.0.1:8000:8000", None),
        ("[::1]:8000:8000", None),
        ("10.0.0.5:8000:8000", None),
        ("10.0.0.5:29501:29501", "published-internal"),
        ("5557:5557/tcp", "published-internal"),
        ("127.0.0.1:29501:29501", None),
    ],
)
def test_published_ports(port: str, rule: str | None) -> None:
    rules = ruled(service(f'    ports: ["{port}"]\n'), "compose") & {"published-port", "published-internal"}
    assert rules == ({rule} if rule else set())


def test_long_ports_and_privileges() -> None:
    text = service(
        """\
    ports:
      - target: 8000
        published: "80"
      - {target: 8000, published: 80, host_ip: 127.0.0.1}
    network_mode: host
    ipc: host
    pid: host
    privileged: true
    user: root
    cap_add: [SYS_ADMIN]
    security_opt: [apparmor:unconfined]
    volumes:
      - /var/run/docker.sock:/var/run/docker.sock
      - {type: bind, source: /, target: /host}
"""
    )
    assert seen(text, "compose") >= {
        (6, "published-port"),
        (8, "host-network"),
        (9, "host-ipc"),
        (10, "host-pid"),
        (11, "privileged"),
        (12, "run-as-root"),
        (13, "capabilities"),
        (14, "unconfined"),
        (16, "container-socket"),
        (17, "host-mount"),
    }


def test_secrets_are_literal_or_references() -> None:
    assert "env-secret" in ruled(service("    environment: [HF_TOKEN=hf_abcdefghijkl]\n"), "compose")
    assert "env-secret" not in ruled(service("    environment: [HF_TOKEN]\n"), "compose")
    assert "env-secret" not in ruled(service("    environment: {HF_TOKEN: '${HF_TOKEN}'}\n"), "compose")


def test_shells_see_the_environment_of_the_service() -> None:
    text = service(
        """\
    environment: {BIND: 0.0.0.0}
    entrypoint: /bin/bash -c "
      cd /srv &&
      vllm serve /m --host $${BIND} --port $${PORT}"
"""
    )
    assert seen(text, "compose") >= {(7, "arg-host"), (7, "unresolved")}


def test_tags_of_compose_are_understood() -> None:
    assert "host-ipc" not in ruled(service("    ipc: !reset null\n    command: !override [--model, /m]\n"), "compose")


def test_an_image_without_a_visible_command_is_said() -> None:
    text = "services:\n  llm:\n    image: team/my-vllm:1\n    environment: {VLLM_SERVER_DEV_MODE: 1}\n"
    assert seen(text, "compose") == {(3, "unresolved")}


def test_files_of_variables_dotenv_and_extends(folder: Lint) -> None:
    found = folder(
        {
            "compose.yml": service(
                "    env_file: [vllm.env, missing.env]\n    command: --model /m --host ${BIND}\n"
                "  other:\n    extends: {service: vllm}\n    command: [--model, /m, --grpc]\n"
            ),
            ".env": "BIND=0.0.0.0\n",
            "vllm.env": "VLLM_SERVER_DEV_MODE=1\nVLLM_API_KEY=short\n",
        }
    )
    assert found >= {
        ("in/vllm.env", 1, "env-dev-mode"),
        ("in/vllm.env", 2, "api-key-weak"),
        ("in/compose.yml", 4, "unresolved"),
        ("in/compose.yml", 5, "arg-host"),
        ("in/compose.yml", 8, "arg-grpc"),
    }


def test_a_service_that_extends_one_of_another_file(folder: Lint) -> None:
    base = "services:\n  base:\n    image: vllm/vllm-openai\n    command: [/m, --grpc]\n    env_file: [base.env]\n"
    top = "services:\n  vllm:\n    extends: {file: ../base/compose.yml, service: base}\n    ports: ['8000:8000']\n"
    files = {"top/compose.yml": top, "base/compose.yml": base, "base/base.env": "VLLM_SERVER_DEV_MODE=1\n"}
    found = folder(files)
    assert ("in/base/compose.yml", 4, "arg-grpc") in found
    assert ("in/base/base.env", 1, "env-dev-mode") in found
    assert ("in/top/compose.yml", 4, "published-port") in found
    assert "unresolved" not in {rule for _path, _line, rule in found}


def test_what_is_missing_beside_a_service_nobody_has_says_nothing() -> None:
    text = "services:\n  vllm:\n    extends: {file: other.yml, service: vllm}\n    image: vllm/vllm-openai:v0.11.0\n"
    assert ruled(text) == {"image-tag", "release-old", "unresolved"}
    assert "api-key" in ruled(text.replace("    extends: {file: other.yml, service: vllm}\n", ""))


def test_the_config_of_a_container_is_found_through_its_mounts(folder: Lint) -> None:
    text = """\
services:
  vllm:
    image: vllm/vllm-openai
    command: [--config, /etc/vllm/serve.yaml]
    network_mode: MODE
    volumes:
      - ${DIR:-./conf}:/etc/vllm:ro
"""
    config = "model: /m\ntrust-remote-code: true\n"
    for mode in ("bridge", "host"):
        found = folder({"compose.yml": text.replace("MODE", mode), "conf/serve.yaml": config})
        assert ("in/conf/serve.yaml", 2, "arg-remote-code") in found
        assert "unresolved" not in {rule for _path, _line, rule in found}
    # A file of that name on the host is another one.
    found = folder({"compose.yml": text.replace(":/etc/vllm:ro", ":/srv")})
    assert ("in/compose.yml", 4, "unresolved") in found


@pytest.mark.parametrize(
    ("image", "serves"),
    [
        ("registry.example/vllm-gaudi:1.22.0", True),
        ("registry.example/llm-vllm:1", True),
        ("registry.example/proxy:1", False),
    ],
)
def test_images_of_others_that_hand_their_words_to_vllm(image: str, serves: bool) -> None:
    text = f"services:\n  chat:\n    image: {image}\n    command: --model /m --host 0.0.0.0 --grpc\n"
    assert ((4, "arg-grpc") in seen(text)) is serves
    assert "arg-grpc" not in ruled(text.replace("--model /m --host", "--listen"))


@pytest.mark.parametrize(
    ("image", "release"),
    [
        ("vllm/vllm-openai:v0.11.0", "0.11.0"),
        ("registry.example:5000/vllm/vllm-openai:v0.10.1.1@sha256:0a", "0.10.1.1"),
        ("rocm/vllm:rocm6.4.1_vllm_0.10.1_20250909", "0.10.1"),
        ("rocm/vllm:rocm7_vllm-v0.10.1", "0.10.1"),
        # Months, and releases of somebody's own.
        ("nvcr.io/nvidia/vllm:25.11-py3", None),
        ("registry.example/vllm-gaudi:1.22.0", None),
        ("lmcache/vllm-openai:2025-05-27-v1", None),
        ("vllm/vllm-openai", None),
    ],
)
def test_which_tags_name_a_release(image: str, release: str | None) -> None:
    assert of_image(Text(image)) == release


def test_tags_that_move() -> None:
    text = "services:\n  chat:\n    image: vllm/vllm-openai:TAG\n    command: --model /m\n"
    found = {tag: lint_text(text.replace("TAG", tag)) for tag in ("latest-cpu", "latest", "v0.32.0", "nightly-0a1b2c")}
    moving = {tag for tag, items in found.items() if any("content changes" in item.found for item in items)}
    assert moving == {"latest-cpu", "latest"}
