# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Scripts and command lines: quoting, continuations, variables, wrappers, containers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.artefacts import lint_text

from .conftest import ruled, seen

SCRIPT = """\
#!/bin/bash
set -euo pipefail
HOST=${HOST:-0.0.0.0}   # every interface
ARGS=(--port 8000
  --trust_remote)
if [ -n "${DEBUG:-}" ]; then
  export VLLM_LOGGING_LEVEL="DEBUG"
fi
export VLLM_SERVER_DEV_MODE=1 VLLM_API_KEY=$(cat /run/key)
pip install "vllm==0.12.0"
exec python3 -O -m vllm.entrypoints.openai.api_server \\
  --model '/srv/my model' \\
  --host="$HOST" \\
  "${ARGS[@]}" > /var/log/vllm.log 2>&1 &
"""


def test_a_script_is_followed() -> None:
    assert seen(SCRIPT, path="run.sh") >= {
        (7, "env-log-debug"),
        (9, "env-dev-mode"),
        (10, "release-old"),
        (11, "env-python-optimize"),
        (13, "arg-host"),
        (14, "arg-remote-code"),
    }
    assert not ruled(SCRIPT, path="run.sh") & {"api-key", "unresolved", "arg-refused", "arg-unknown"}


@pytest.mark.parametrize(
    "command",
    [
        "vllm serve /m --host 0.0.0.0",
        "/opt/vllm/bin/vllm serve /m --host=0.0.0.0",
        "nohup numactl -N 0 vllm serve /m --host '0.0.0.0' &",
        "sudo -E env A=b vllm serve /m --ho 0.0.0.0",
        "python -m vllm.entrypoints.openai.api_server --model /m --host 0.0.0.0",
        "python -m vllm.entrypoints.cli.main serve /m --host 0.0.0.0",
        'bash -lc "cd /srv && vllm serve /m --host 0.0.0.0"',
        "ssh node2 'vllm serve /m --host 0.0.0.0'",
        "tmux new -d 'vllm serve /m --host 0.0.0.0'",
        "bash <<EOF\nvllm serve /m --host 0.0.0.0\nEOF",
        'A=0.0.0.0; B="$A"\nvllm serve /m --host $B',
        "OPTS='--host 0.0.0.0 --port 1'\nvllm serve /m $OPTS",
        "OPTS='--port 1'\nOPTS+=' --host 0.0.0.0'\nvllm serve /m ${OPTS}",
        "serve() {\n  vllm serve /m --host 0.0.0.0\n}\nserve",
        "case $1 in\n  start) vllm serve /m --host 0.0.0.0 ;;\nesac",
        "for i in 1 2; do vllm serve /m --host 0.0.0.0; done",
        "docker run --network host vllm/vllm-openai:v0.32.0 --model /m --host 0.0.0.0",
        "podman run --net=host --entrypoint vllm img serve /m --host 0.0.0.0",
    ],
)
def test_a_server_is_found_however_it_is_wrapped(command: str) -> None:
    assert "arg-host" in ruled(command, "script")


@pytest.mark.parametrize(
    "command",
    [
        'echo "vllm serve /m --host 0.0.0.0"',
        "# vllm serve /m --host 0.0.0.0",
        "pkill -f 'vllm serve'",
        "pip install vllm",
        "vllm bench serve --host 0.0.0.0",
        "cat > run.sh <<EOF\nvllm serve /m --host 0.0.0.0\nEOF",
        "curl http://localhost:8000/v1/models | grep vllm",
    ],
)
def test_what_only_mentions_a_server_is_none(command: str) -> None:
    assert ruled(command, "script") <= {"unresolved"}


def test_a_command_line_may_begin_behind_serve() -> None:
    assert "arg-host" in ruled("/m --host 0.0.0.0", "command")


def test_what_needs_a_shell_is_said_and_hides_nothing_else() -> None:
    text = 'vllm serve "$MODEL" --host $BIND --max-model-len 5 "$@"'
    assert seen(text, "script") == {(1, "unresolved")}
    # Unknown words may be options, so nothing is said to be missing.
    assert "arg-docs" not in ruled(text, "script")


def test_a_model_that_is_not_known_hides_no_missing_option() -> None:
    assert ruled("vllm serve $MODEL", "script") >= {"api-key", "arg-docs", "unresolved"}
    assert "arg-docs" not in ruled("vllm serve $VLLM_ARGS", "script")


def test_docker_run_is_a_container() -> None:
    text = """docker run -d --rm -it --gpus all -p 8000:8000 -p 127.0.0.1:29501:29501 --ipc=host --privileged \\
  -v /var/run/docker.sock:/var/run/docker.sock --cap-add SYS_ADMIN,NET_RAW -e VLLM_SERVER_DEV_MODE=1 \\
  -e HF_TOKEN --env VLLM_API_KEY=changeme --user 0:0 --security-opt seccomp=unconfined --pid host \\
  vllm/vllm-openai:latest --model /m
"""
    assert seen(text, "script") >= {
        (1, "published-port"),
        (1, "host-ipc"),
        (1, "privileged"),
        (2, "container-socket"),
        (2, "capabilities"),
        (2, "env-dev-mode"),
        (3, "api-key-weak"),
        (3, "env-secret"),
        (3, "run-as-root"),
        (3, "unconfined"),
        (3, "host-pid"),
        (4, "image-tag"),
    }


def test_ray_nodes() -> None:
    assert seen("ray start --head --dashboard-host=0.0.0.0", "script") == {(1, "ray-dashboard")}
    assert "ray-auth" in ruled("ray start --address 10.0.0.1:6379", "script")
    assert not ruled("export RAY_AUTH_MODE=token\nray start --address 10.0.0.1:6379", "script")


def test_several_servers_have_lines_of_their_own() -> None:
    text = "vllm serve /a --grpc\n\nvllm serve /b --trust-remote-code\n"
    assert {(1, "arg-grpc"), (3, "arg-remote-code")} <= seen(text, "script")


def test_variables_of_a_file() -> None:
    text = """\
# comment
export VLLM_SERVER_DEV_MODE=1
VLLM_LOGGING_LEVEL='DEBUG'  # said twice
; another
VLLM_MEDIA_URL_ALLOW_REDIRECTS="1"
LONG=a\\
b
VLLM_API_KEY=
VLLM_MAX_N_SEQUENCES
VLLM_HOST_IP=${ADDRESS}
"""
    assert seen(text, path="vllm.env") == {
        (2, "env-dev-mode"),
        (3, "env-log-debug"),
        (5, "env-media-redirects"),
        (8, "api-key-empty"),
        (9, "unresolved"),
        (10, "unresolved"),
    }


Lint = Callable[[dict[str, str]], set[tuple[str, int, str]]]


@pytest.mark.parametrize(
    "place",
    [
        '"$(dirname "$0")"',
        '$(dirname "${BASH_SOURCE[0]}")',
        '"$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"',
        '"$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" >/dev/null 2>&1 && pwd -P)"',
        '$(dirname "$(readlink -f "$0")")',
    ],
)
def test_files_beside_the_script(folder: Lint, place: str) -> None:
    script = f'#!/bin/bash\nHERE={place}\nsource "$HERE/../conf/vllm.sh"\nvllm serve /m\n'
    found = folder({"bin/run.sh": script, "conf/vllm.sh": "export VLLM_SERVER_DEV_MODE=1\n"})
    assert ("in/conf/vllm.sh", 1, "env-dev-mode") in found
    assert "unresolved" not in {rule for _path, _line, rule in found}


def test_other_substituted_commands_stay_unknown() -> None:
    assert "unresolved" in ruled('source "$(find / -name a)/x"\nvllm serve /m\n', "script")
    assert "unresolved" in ruled('source "$(dirname "$1")/x"\nvllm serve /m\n', "script")


@pytest.mark.parametrize("tool", ["venv/bin/activate", "/opt/intel/oneapi/setvars.sh", "~/.bashrc"])
def test_environments_of_tools_hide_no_missing_key(tool: str) -> None:
    text = f"source {tool}\nvllm serve /m --host 10.0.0.1\n"
    assert "api-key" in ruled(text, "script")
    assert "unresolved" not in ruled(text, "script")
    assert "api-key" not in ruled(text.replace(tool, "vllm.env"), "script")


def test_the_server_for_demonstrations_asks_for_no_key() -> None:
    text = "export VLLM_API_KEY=$(cat /run/key)\npython -m vllm.entrypoints.api_server --model /m\n"
    assert (2, "api-key") in seen(text, "script")
    assert "api-key" not in ruled(text.replace("entrypoints.api", "entrypoints.openai.api"), "script")


def test_many_words_that_are_not_known_are_one_line() -> None:
    words = " ".join(f'${{A{number}:+--seed "$A{number}"}}' for number in range(20))
    findings = [item for item in lint_text(f"vllm serve /m {words}", "script") if item.rule == "unresolved"]
    assert len(findings) == 1
    assert findings[0].found.startswith("${A0}, ${A1}, ")
    assert "and 12 more" in findings[0].found


def test_words_read_and_looped_over_keep_their_names() -> None:
    text = 'read -r -a EXTRA <<< "$ARGS"\nfor host in $HOSTS; do vllm serve /m --host $host "${EXTRA[@]}"; done\n'
    found = " ".join(item.found for item in lint_text(text, "script") if item.rule == "unresolved")
    assert "$host" in found
    assert "$EXTRA" in found
