# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes of models, as families of models write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.module_utils import probe_model, probe_network
from ansible_collections.hardened.vllm.plugins.module_utils.probe_common import Unknown


def config(root: Path, content: str) -> str:
    (root / "m").mkdir()
    (root / "m" / "config.json").write_text(content)
    return "/m"


@pytest.mark.parametrize(
    ("content", "sizes"),
    [
        ({"num_attention_heads": 32, "num_key_value_heads": 8, "num_hidden_layers": 16}, (32, 8, 16, None)),
        ({"n_head": 12, "n_layer": 6}, (12, None, 6, None)),
        ({"text_config": {"num_attention_heads": 4, "num_hidden_layers": 2}, "vision_config": {}}, (4, None, 2, None)),
        ({"num_attention_heads": 8, "n_routed_experts": 64}, (8, None, None, 64)),
        ({"num_attention_heads": "8", "num_hidden_layers": True, "num_experts": 0}, (None, None, None, None)),
    ],
)
def test_the_sizes(tmp_path: Path, content: dict[str, Any], sizes: tuple[int | None, ...]) -> None:
    path = config(tmp_path, json.dumps(content))
    (found,) = probe_model.models([path], str(tmp_path)).values()
    assert found == dict(zip(("attention_heads", "key_value_heads", "layers", "experts"), sizes, strict=True))


def test_a_model_without_a_configuration(tmp_path: Path) -> None:
    assert probe_model.models(["/nowhere"], str(tmp_path)) == {"/nowhere": None}


@pytest.mark.parametrize(("content", "said"), [("{", "is no JSON"), ("[]", "holds no object")])
def test_what_is_no_configuration_is_said(tmp_path: Path, content: str, said: str) -> None:
    path = config(tmp_path, content)
    with pytest.raises(Unknown, match=said):
        probe_model.models([path], str(tmp_path))


def test_names() -> None:
    found = probe_network.resolved(["localhost", "no-such-name.invalid"])
    assert "127.0.0.1" in found["localhost"]
    assert found["no-such-name.invalid"] == []
