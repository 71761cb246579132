# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The file of --config, our own declaration, and the filter's forms of input."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.artefacts import lint_paths
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.reading.config import words_of

from .conftest import ruled, seen

Lint = Callable[[dict[str, str]], set[tuple[str, int, str]]]
SAMPLES = Path(__file__).resolve().parents[5] / "inventory-sample"


def test_the_words_vllm_makes_of_its_file() -> None:
    text = """\
api-key:
host: 0.0.0.0
allowed-media-domains: []
trust_remote_code: true
enforce-eager: false
max-model-len: false
port: 0x10
served-model-name: [a, b]
kv_transfer_config: {kv_connector: NixlConnector, n: 1}
"""
    assert words_of(text, "serve.yaml") == [
        "--api-key",
        "None",
        "--host",
        "0.0.0.0",
        "--trust_remote_code",
        "--no-enforce-eager",
        "--port",
        "16",
        "--served-model-name",
        "a",
        "b",
        "--kv_transfer_config",
        '{"kv_connector": "NixlConnector", "n": 1}',
    ]
    found = seen(text, path="serve.yaml")
    assert {(1, "api-key-weak"), (2, "arg-host"), (4, "arg-remote-code"), (9, "kv-field-removed")} <= found
    # A key in a file only the service reads is where it belongs.
    assert "arg-api-key" not in {rule for _line, rule in found}
    assert "arg-media-domains" in ruled(text, path="serve.yaml")


def test_a_file_that_is_no_mapping_is_refused() -> None:
    assert seen("- host: a\n", "config", "serve.yaml") == {(1, "unreadable")}


def test_other_yaml_is_left_alone() -> None:
    for text in ("model: a\nlearning_rate: 0.1\n", "port: 80\n", "name: CI\non: push\njobs: {}\n", "a\n", ""):
        assert ruled(text, path="other.yaml") == set()


def test_a_command_and_its_file_are_one(folder: Lint) -> None:
    found = folder(
        {
            "run.sh": "vllm serve /m --config conf/serve.yaml --host 127.0.0.1\n",
            "conf/serve.yaml": "host: 0.0.0.0\ntrust-remote-code: true\nport: 1\n",
        }
    )
    assert ("in/conf/serve.yaml", 2, "arg-remote-code") in found
    assert ("in/run.sh", 1, "unresolved") not in found


def test_a_file_that_is_not_at_hand_is_said(folder: Lint) -> None:
    assert folder({"run.sh": "vllm serve /m --config /etc/vllm/serve.yaml --host 127.0.0.1\n"}) == {
        ("in/run.sh", 1, "unresolved")
    }
    assert folder({"run.sh": "vllm serve /m --config=serve.yaml --host 127.0.0.1\n"}) == {
        ("in/run.sh", 1, "arg-config-form")
    }


def test_the_sample_inventories_are_sound() -> None:
    for sample in sorted(SAMPLES.iterdir()):
        assert [f for f in lint_paths([str(sample)]).findings if f.severity.name == "ERROR"] == [], sample


def test_mistakes_of_a_declaration_have_their_line(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES / "replicas", tmp_path / "in")
    path = tmp_path / "in/group_vars/all.yml"
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    values["vllm_cluster"].setdefault("engine", {})["port"] = 70000
    values["vllm_cluster"]["modle"] = 1
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    lines = path.read_text(encoding="utf-8").splitlines()
    findings = {finding.rule: finding for finding in lint_paths([str(tmp_path / "in")]).findings}
    for rule, word in (("out-of-range", "port: 70000"), ("unknown-key", "modle")):
        assert findings[rule].path == str(path)
        assert word in lines[findings[rule].line - 1]


def test_a_declaration_without_its_hosts_says_so() -> None:
    text = "vllm_cluster:\n  name: chat\n  topology: star\n"
    assert ruled(text, path="vllm.yml") >= {"bad-value", "unresolved"}
    assert "host-missing" not in ruled(text, path="vllm.yml")


def test_templates_in_a_declaration_are_not_judged() -> None:
    text = "vllm_cluster:\n  name: chat\n  release: '{{ release }}'\n"
    (finding,) = [item for item in seen(text, path="vllm.yml") if item == (3, "unresolved")]
    assert finding


@pytest.mark.parametrize("value", ["", "3", "[]", "null"])
def test_a_declaration_of_nothing_is_an_error_and_no_crash(value: str) -> None:
    assert ruled(f"vllm_cluster: {value}\n", path="vllm.yml") & {"wrong-type", "missing-key"}
