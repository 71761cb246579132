# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Here-documents: what a script writes or hands on is read as what it becomes, or said not to be."""

from __future__ import annotations

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.artefacts import DOCUMENTS

from .conftest import ruled, seen

UNIT = "[Service]\nExecStart=/opt/vllm/bin/vllm serve /m --host HOST --grpc\n"
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: chat}
spec: {containers: [{name: server, image: "vllm/vllm-openai:v0.32.0", args: [/m, --grpc]}]}
"""


def written(body: str, mark: str = "'EOF'", command: str = "cat > /etc/file") -> str:
    return f"#!/bin/sh\n{command} <<{mark}\n{body}EOF\nsystemctl restart vllm\n"


@pytest.mark.parametrize(
    ("body", "command", "line"),
    [
        (UNIT, "cat > /etc/systemd/system/vllm.service", 4),
        (UNIT, "sudo tee /etc/systemd/system/vllm.service > /dev/null", 4),
        (POD, "kubectl apply -f -", 6),
        ("#!/bin/sh\nexec vllm serve /m --grpc\n", "cat > /usr/local/bin/serve", 4),
        ("services:\n  chat:\n    image: vllm/vllm-openai\n    command: /m --grpc\n", "cat > compose.yaml", 6),
        ('FROM vllm/vllm-openai:v0.32.0\nCMD ["/m", "--grpc"]\n', "docker build -t chat -", 4),
    ],
)
def test_a_file_a_script_writes_is_linted_at_its_lines(body: str, command: str, line: int) -> None:
    assert (line, "arg-grpc") in seen(written(body, command=command), "script")


def test_documents_in_each_other_and_in_substitutions_are_linted() -> None:
    inner = f"#!/bin/sh\ncat > /etc/systemd/system/vllm.service <<'UNIT'\n{UNIT}UNIT\n"
    script = f"#!/bin/sh\nINIT=$(cat <<'EOF'\n{inner}EOF\n)\ncloud create --data \"$INIT\"\n"
    assert (6, "arg-grpc") in seen(script, "script")


def test_manifests_a_pod_applies_are_linted() -> None:
    script = "".join(f"            {line}\n" for line in ["kubectl apply -f - <<'EOF'", *POD.splitlines(), "EOF"])
    pod = (
        "apiVersion: v1\nkind: Pod\nmetadata: {name: setup}\nspec:\n  containers:\n    - name: setup\n"
        f"      image: tools\n      command:\n        - sh\n        - -c\n        - |\n{script}"
    )
    assert (16, "arg-grpc") in seen(pod, "kubernetes")


def test_the_shell_puts_variables_in_where_the_mark_is_not_quoted() -> None:
    script = f"#!/bin/sh\nHOST=127.0.0.1\ncat > vllm.service <<MARK\n{UNIT.replace('HOST', '${HOST}')}EOF\n"
    assert "arg-host" not in ruled(script.replace("MARK", "EOF"), "script")
    assert "unresolved" in ruled(script.replace("MARK", "'EOF'"), "script")
    escaped = script.replace("MARK", "EOF").replace("${HOST}", "\\${HOST}")
    assert "unresolved" in ruled(escaped, "script")


@pytest.mark.parametrize(
    "body", ["usage: start\n\n  vllm serve MODEL --grpc\n", "vllm serve: [\n", "IMAGE=vllm/vllm-openai\n"]
)
def test_what_is_no_artefact_is_said_and_not_judged(body: str) -> None:
    assert seen(written(body), "script") == {(3, "unresolved")}


def test_more_than_anybody_writes_is_said_and_not_read() -> None:
    many = "#!/bin/sh\n" + "".join(f"cat > {number} <<'EOF'\n{UNIT}EOF\n" for number in range(DOCUMENTS + 1))
    found = seen(many, "script")
    assert len([line for line, rule in found if rule == "arg-grpc"]) == DOCUMENTS
    assert (3 + 4 * DOCUMENTS, "unresolved") in found
    far = written(UNIT).replace("#!/bin/sh\n", "#!/bin/sh\n" + "\n" * 20_000)
    assert seen(far, "script") == {(20_003, "unresolved")}
    deep = UNIT
    for mark in ("A", "B", "C", "D"):
        deep = f"#!/bin/sh\ncat > file <<'{mark}'\n{deep}{mark}\n"
    assert ruled(deep, "script") == {"unresolved"}
