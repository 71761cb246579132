# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""systemd units with drop-ins, and Quadlet."""

from __future__ import annotations

from collections.abc import Callable

from .conftest import ruled, seen

Lint = Callable[[dict[str, str]], set[tuple[str, int, str]]]

UNIT = """\
[Unit]
Description=a server

[Service]
Environment="VLLM_API_KEY=abc" 'VLLM_PLUGINS=' HOST=0.0.0.0
Environment=VLLM_LOGGING_LEVEL=DEBUG
Environment=
Environment=HOST=0.0.0.0 OPTS="--grpc --enable-prompt-embeds"
EnvironmentFile=-vllm.env
# a comment
ExecStart=-/opt/vllm/bin/vllm serve /srv/m \\
  --host ${HOST} \\
# in the middle
  $OPTS
[Install]
WantedBy=multi-user.target
"""


def test_a_unit_is_read_as_systemd_reads_it() -> None:
    found = seen(UNIT, path="vllm.service")
    assert found >= {(9, "unresolved"), (11, "arg-host"), (11, "arg-grpc"), (11, "arg-embeds"), (11, "unit-sandbox")}
    rules = {rule for _line, rule in found}
    # An empty setting empties the list, so neither the key nor the level is there.
    assert not rules & {"api-key-weak", "env-secret", "env-log-debug", "arg-refused"}
    assert "run-as-root" in ruled(UNIT, path="vllm.service")


def test_a_sandboxed_unit_is_no_finding() -> None:
    text = """[Service]
User=vllm
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=strict
ProtectHome=yes
UMask=0077
ExecStart=/opt/vllm/bin/vllm serve /m --host 127.0.0.1
"""
    assert not ruled(text, path="vllm.service") & {"run-as-root", "unit-sandbox"}


def test_specifiers_and_unset_variables_are_said() -> None:
    text = "[Service]\nExecStart=/usr/bin/vllm serve /srv/%i --host ${BIND} --port 1 --served-model-name 100%%\n"
    assert [rule for _line, rule in seen(text, path="vllm@.service")].count("unresolved") == 1
    assert "arg-host" not in ruled(text, path="vllm@.service")


def test_a_unit_that_runs_a_shell_or_a_container() -> None:
    shell = "[Service]\nExecStart=/bin/sh -c 'exec vllm serve /m --host \"0.0.0.0\"'\n"
    assert "arg-host" in ruled(shell, path="a.service")
    container = "[Service]\nExecStart=/usr/bin/podman run --rm -p 8000:8000 vllm/vllm-openai:v0.32.0 --model /m\n"
    assert "published-port" in ruled(container, path="a.service")


def test_other_units_are_left_alone() -> None:
    assert ruled("[Service]\nExecStart=/usr/sbin/nginx\nEnvironmentFile=/etc/x\n", path="nginx.service") == set()


def test_drop_ins_and_files_of_variables_count(folder: Lint) -> None:
    found = folder(
        {
            "vllm.service": "[Service]\nEnvironmentFile=env/vllm.env\nExecStart=/usr/bin/vllm serve /m --host 127.0.0.1\n",
            "env/vllm.env": "VLLM_SERVER_DEV_MODE=1\n",
            "vllm.service.d/20-host.conf": "[Service]\nExecStart=\nExecStart=/usr/bin/vllm serve /m --host 0.0.0.0\n",
            "vllm.service.d/10-debug.conf": "[Service]\nEnvironment=VLLM_TRACE_FUNCTION=1\n",
        }
    )
    assert found >= {
        ("in/env/vllm.env", 1, "env-dev-mode"),
        ("in/vllm.service.d/20-host.conf", 3, "arg-host"),
        ("in/vllm.service.d/10-debug.conf", 2, "env-trace"),
    }
    assert len([item for item in found if item[2] == "env-dev-mode"]) == 1


def test_quadlet() -> None:
    text = """\
[Container]
Image=docker.io/vllm/vllm-openai:v0.32.0
Exec=--model /m --host 0.0.0.0 \\
  --enable-prompt-embeds
PublishPort=8000:8000
PublishPort=127.0.0.1:9000:9000
Network=host
Environment=VLLM_SERVER_DEV_MODE=1
Secret=key,type=env,target=VLLM_API_KEY
PodmanArgs=--ipc=host --privileged
AddCapability=SYS_ADMIN IPC_LOCK
Volume=/run/podman/podman.sock:/run/podman/podman.sock
SecurityLabelDisable=true
User=0
"""
    found = seen(text, path="vllm.container")
    assert found >= {
        (2, "image-tag"),
        (3, "arg-host"),
        (3, "arg-embeds"),
        (5, "published-port"),
        (7, "host-network"),
        (8, "env-dev-mode"),
        (10, "host-ipc"),
        (10, "privileged"),
        (11, "capabilities"),
        (12, "container-socket"),
        (13, "unconfined"),
        (14, "run-as-root"),
    }
    assert "api-key" not in ruled(text, path="vllm.container")


def test_the_ports_of_a_pod_are_its_containers(folder: Lint) -> None:
    found = folder(
        {
            "vllm.container": "[Container]\nImage=vllm/vllm-openai:v0.32.0\nPod=llm.pod\nExec=--model /m\n",
            "llm.pod": "[Pod]\nPublishPort=8000:8000\n",
        }
    )
    assert ("in/llm.pod", 2, "published-port") in found


def test_a_unit_that_runs_a_script(folder: Lint) -> None:
    unit = "[Service]\nEnvironment=VLLM_SERVER_DEV_MODE=1\nExecStart=/usr/bin/env bash run-vllm.sh\n"
    found = folder({"vllm.service": unit, "run-vllm.sh": "vllm serve /m --grpc\n"})
    assert ("in/vllm.service", 2, "env-dev-mode") in found
    assert ("in/run-vllm.sh", 1, "arg-grpc") in found
    assert "unresolved" not in {rule for _path, _line, rule in found}


def test_a_script_nobody_has_is_said() -> None:
    assert (2, "unresolved") in seen("[Service]\nExecStart=/opt/vllm/bin/run.sh\n", "systemd")
    assert not seen("[Service]\nExecStart=/opt/other/bin/run.sh\n", "systemd")
    assert not seen("[Unit]\nAfter=vllm.service\n[Service]\nExecStart=/usr/sbin/nginx\n", "systemd")
