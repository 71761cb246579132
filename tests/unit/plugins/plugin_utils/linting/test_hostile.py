# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Input of unknown origin gives one clear error for its file, and the rest go on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.artefacts import lint_paths, lint_text
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.reading.kinds import KINDS
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.reading.library import LIMIT, head
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "\n".join(
    f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 10)}]" for number in range(1, 12)
)
MERGES = "a0: &a0 {x: 1}\n" + "\n".join(
    f"a{number}: &a{number}\n  <<: [*a{number - 1}, *a{number - 1}]\n  k{number}: 1" for number in range(1, 40)
)
HOSTILE: dict[str, tuple[bytes, str]] = {
    "binary": (b"vllm serve\0\1", "binary data"),
    "large": (b"x" * (LIMIT + 1), "more than 2097152 bytes"),
    "utf8": (b"ok\n\xff", "no UTF-8 (byte 3)"),
    "utf16": ("vllm serve /m".encode("utf-16"), "binary data"),
    "flow": (b"a: " + b"[" * 100_000, "YAML nested more than 100 levels deep"),
    "closed": (b"a: " + b"[" * 150 + b"]" * 150, "YAML nested more than 100 levels deep"),
    "dashes": (b"- " * 50_000 + b"x", "YAML nested more than 100 levels deep"),
    "blocks": ("\n".join(" " * n + "a:" for n in range(1500)).encode(), "YAML nested more than 100 levels deep"),
    "keys": (b"? " * 5000 + b"a", "YAML nested more than 100 levels deep"),
    "bomb": (BOMB.encode(), "more than 200000 values with anchors written out"),
    "merges": (MERGES.encode(), "more than 200000 values with anchors written out"),
    "itself": (b"a: &a [*a]\n", "an anchor that contains itself"),
    "tag": (
        b"services: !!python/object/apply:os.system [id]\n",
        "the YAML tag 'tag:yaml.org,2002:python/object/apply:os",
    ),
    "own tag": (b"services:\n  vllm: !own x\n", "the YAML tag '!own'"),
    "broken": (b"services: [vllm\n", "broken YAML: "),
    "mapping key": (b"? {a: b}\n: c\n", "a mapping with a key that is no word"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_one_error_each_and_the_rest_go_on(name: str, tmp_path: Path) -> None:
    data, message = HOSTILE[name]
    (tmp_path / "bad.yaml").write_bytes(data)
    (tmp_path / "good.sh").write_text("vllm serve /m --grpc\n", encoding="utf-8")
    findings = lint_paths([str(tmp_path)]).findings
    bad = [finding for finding in findings if finding.path.endswith("bad.yaml")]
    assert [finding.rule for finding in bad] == ["unreadable"]
    assert bad[0].found.startswith(message)
    assert bad[0].line > 0
    assert bad[0].remedy
    assert "arg-grpc" in {finding.rule for finding in findings if finding.path.endswith("good.sh")}


@pytest.mark.parametrize(
    "text",
    [
        "vllm serve " + "${A:-" * 20_000 + "x" + "}" * 20_000,
        "vllm serve " + "$(" * 20_000,
        "vllm serve '" + "a" * 500_000,
        'vllm serve "' + '\\"' * 200_000,
        "vllm serve" + " " * 500_000 + "x",
        "vllm serve /m --kv-transfer-config '" + "[" * 50_000 + "'",
        "vllm serve /m --kv-transfer-config" + ".a" * 50_000 + " x",
        "vllm serve <<<<<<<< ((((( )))) ;;;; &&&& || | & > < \\",
        "vllm serve <<EOF",
        # A few bytes that stand for more than memory holds.
        "A=xxxxxxxxxx\n" + "A=$A$A$A$A$A$A$A$A$A$A\n" * 12 + "vllm serve $A",
        "A=(x x)\n" + 'A=("${A[@]}" "${A[@]}")\n' * 40 + "vllm serve ${A[@]}",
        "A=(x x)\n" + 'A+=("${A[@]}")\n' * 40 + "vllm serve ${A[@]}",
        "A=x\n" + "A+=$A\n" * 60 + "vllm serve $A",
    ],
)
def test_hostile_scripts_end(text: str) -> None:
    lint_text(text, "script")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (
            "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: vllm/vllm-openai\n    args: ['"
            + "$(A)" * 100_000
            + f"']\n    env: [{{name: A, value: {'x' * 100_000}}}]\n",
            "kubernetes",
        ),
        (
            "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: vllm/vllm-openai\n    args: ['$(A12)']\n"
            "    env:\n    - {name: A0, value: xxxxxxxxxx}\n"
            + "".join(f"    - {{name: A{n}, value: {f'$(A{n - 1})' * 10}}}\n" for n in range(1, 13)),
            "kubernetes",
        ),
        ("FROM own\nENV A=xxxxxxxxxx\n" + "ENV A=$A$A$A$A$A$A$A$A$A$A\n" * 12 + "CMD vllm serve $A\n", "dockerfile"),
        ("FROM own\n" + "RUN <<A\n" * 100_000, "dockerfile"),
        ("FROM own\nENV " + "A=b " * 300_000 + "\n", "dockerfile"),
        ("FROM own\nRUN " + "\\\n" * 300_000, "dockerfile"),
        (f"[Service]\nEnvironment=A={'x' * 100_000}\nExecStart=vllm serve /m " + "${A}" * 100_000, "systemd"),
        ("[Service]\nExecStart=vllm serve \\\n" + "x \\\n" * 100_000, "systemd"),
    ],
)
def test_what_stands_for_more_than_memory_holds_is_not_written_out(text: str, kind: str) -> None:
    lint_text(text, kind)


POD = "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: vllm/vllm-openai:v0.30.0\n"
NUMBERS = {
    "digits of another script": ("vllm serve /m --nnodes ²", "script"),
    "more digits than Python reads": (f"vllm serve /m --nnodes {'9' * 5000}", "script"),
    "a limit": ("vllm serve /m --max-logprobs ²", "script"),
    "a limit of media": ("vllm serve /m --limit-mm-per-prompt.image ²", "script"),
    "a size beyond every number": (f"vllm serve /m --kv-transfer-config.kv_port {'9' * 400}k", "script"),
    "limits nested in a pod": (f"{POD}    args: ['--limit-mm-per-prompt', '{'[' * 100_000}']\n", "kubernetes"),
    "a port of a pod": (f"{POD}    ports: [{{containerPort: ², hostPort: 80}}]\n", "kubernetes"),
    "a target": ("services:\n  v:\n    image: vllm/vllm-openai\n    ports: [{target: ², published: 80}]\n", "compose"),
    "a port": ("services:\n  v:\n    image: vllm/vllm-openai\n    ports: ['8000:²']\n", "compose"),
    "a number in a file": (f"nnodes: {'9' * 5000}\nmax-model-len: 1\n", "config"),
    "a day that does not exist": ("model: 2024-99-99\nmax-model-len: 1\n", "config"),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_that_are_none_stop_nothing(name: str, tmp_path: Path) -> None:
    text, kind = NUMBERS[name]
    findings = lint_text(text, kind, release="0.30.0")
    assert findings
    assert ("unreadable" in {item.rule for item in findings}) is (kind == "config")
    (tmp_path / "a.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "b.sh").write_text("vllm serve /m --grpc\n", encoding="utf-8")
    assert "arg-grpc" in {item.rule for item in lint_paths([str(tmp_path)], release="0.30.0").findings}


def test_a_path_that_cannot_be_looked_at_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.sh").write_text("vllm serve /m --grpc\n", encoding="utf-8")
    result = lint_paths([f"/{'a' * 5000}", str(tmp_path / "a.sh")])
    assert [item.found for item in result.findings if item.rule == "unreadable"] == [
        "a path that cannot be opened (File name too long)"
    ]
    assert "arg-grpc" in {item.rule for item in result.findings}

    def denied(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "vllm.service.d").mkdir()
    (tmp_path / "vllm.service").write_text("[Service]\nExecStart=/usr/bin/vllm serve /m --grpc\n", encoding="utf-8")
    monkeypatch.setattr(Path, "iterdir", denied)
    assert "arg-grpc" in {item.rule for item in lint_paths([str(tmp_path / "vllm.service")]).findings}
    monkeypatch.setattr(Path, "exists", denied)
    assert [item.found for item in lint_paths([str(tmp_path)]).findings] == [
        "a path that cannot be opened (Permission denied)"
    ]


def test_a_file_that_gives_nothing_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    writer = os.open(tmp_path / "pipe", os.O_RDWR)
    try:
        with pytest.raises(BlockingIOError):
            head(tmp_path / "pipe", 2)
    finally:
        os.close(writer)


def test_a_file_that_was_named_and_starts_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("Nothing.\n", encoding="utf-8")
    (tmp_path / "nginx.service").write_text("[Service]\nExecStart=/usr/sbin/nginx\n", encoding="utf-8")
    (finding,) = lint_paths([str(tmp_path / "notes.txt")]).findings
    assert (finding.rule, finding.found) == ("unresolved", "nothing that starts vLLM")
    assert not lint_paths([str(tmp_path)]).findings


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("values-prod.yaml", "server: {image: vllm/vllm-openai}\n", True),
        ("other.yaml", "engine:\n  - repository: lmcache/vllm-openai\n    tag: latest\n", True),
        ("values.yaml", "image: nginx\n", False),
        ("other.yaml", "note: vllm\n", False),
    ],
)
def test_values_of_a_chart_are_said_to_be_no_manifests(tmp_path: Path, name: str, text: str, said: bool) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert [item.rule for item in lint_paths([str(tmp_path)]).findings] == ["not-rendered"] * said


def test_an_artefact_with_many_servers_is_cut() -> None:
    findings = lint_text("vllm serve /m\n" * 500, "script")
    assert any("500 servers, of which 200 were judged" in finding.found for finding in findings)


def test_special_files_links_and_folders_without_permission(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.sh")
    (tmp_path / "nowhere.sh").symlink_to(tmp_path / "missing")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "a.sh").write_text("vllm serve /m --grpc\n", encoding="utf-8")
    result = lint_paths([str(tmp_path)])
    assert {finding.path for finding in result.findings} == {str(tmp_path / "a.sh")}
    assert [f.rule for f in lint_paths([str(tmp_path / "pipe.sh")]).findings] == ["unreadable"]
    assert [f.found for f in lint_paths([str(tmp_path / "missing")]).findings] == ["nothing"]


def test_files_outside_the_given_paths_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "secret.env").write_text("VLLM_SERVER_DEV_MODE=1\n", encoding="utf-8")
    inside = tmp_path / "in"
    inside.mkdir()
    (inside / "link.env").symlink_to(tmp_path / "secret.env")
    for name in ("../secret.env", str(tmp_path / "secret.env"), "link.env", "a\\0b"):
        text = f'services:\n  vllm:\n    image: vllm/vllm-openai:v0.32.0\n    env_file: ["{name}"]\n'
        (inside / "compose.yml").write_text(text, encoding="utf-8")
        rules = {finding.rule for finding in lint_paths([str(inside / "compose.yml")]).findings}
        assert "unresolved" in rules
        assert "env-dev-mode" not in rules


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    name = os.fsencode(str(tmp_path)) + b"/\xff.sh"
    Path(os.fsdecode(name)).write_text("vllm serve /m\n", encoding="utf-8")
    (finding,) = lint_paths([str(tmp_path)]).findings
    assert finding.found == "a name that is no UTF-8"
    finding.path.encode("utf-8")


PIECES = r"""vllm serve --host 0.0.0.0 ${A:-b} $B ' " \ | ; && <<E ( ) = A=( --kv-transfer-config {} --config x.yaml
docker run -e -p 1:2 [Service] ExecStart= # [Container] services: image: command: - : export source -- -n2 %i"""
NAMES = """services vllm image command entrypoint environment env_file ports volumes extends build apiVersion kind spec
template containers args env envFrom name value valueFrom data metadata labels selector type rules http paths items
vllm_cluster securityContext"""
WORDS = st.sampled_from([*PIECES.split(), "\n", "\n  vllm:", "\n    image:", "\n    command:"])
KEYS = st.sampled_from(NAMES.split())
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 70000)
    | st.sampled_from(["vllm/vllm-openai", "Service", "Pod", "List", "a"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
RELAXED = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@RELAXED
@given(st.lists(WORDS, max_size=25), st.sampled_from(KINDS))
def test_no_text_of_any_kind_raises(words: list[str], kind: str) -> None:
    lint_text(" ".join(words), kind)
    lint_text(" ".join(words))


@RELAXED
@given(
    st.dictionaries(KEYS, VALUES, max_size=5), st.sampled_from(["compose", "kubernetes", "config", "declaration", None])
)
def test_no_shape_of_yaml_raises(document: dict[str, Any], kind: str | None) -> None:
    lint_text(json.dumps(document), kind, "x.yaml")
