# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sizes of a model that decide how it can be split, from its config.json."""

from __future__ import annotations

import json
import os
from typing import Any, Dict, List, Optional

from ansible_collections.hardened.vllm.plugins.module_utils.probe_common import Unknown, read_text, under

# Families of models name the same size differently.
NAMES = {
    "attention_heads": ("num_attention_heads", "n_head", "num_heads"),
    "key_value_heads": ("num_key_value_heads", "num_kv_heads", "n_head_kv"),
    "layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "experts": ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"),
}


def models(paths: List[str], root: str = "/") -> Dict[str, Optional[Dict[str, Optional[int]]]]:
    """Path to sizes, null for a model without a config.json; Unknown for one that cannot be read."""
    return {path: _sizes(os.path.join(path, "config.json"), root) for path in paths}


def _sizes(path: str, root: str) -> Optional[Dict[str, Optional[int]]]:
    place = under(root, path)
    if not os.path.exists(place):
        return None
    try:
        config: Any = json.loads(read_text(place))
    except ValueError as error:
        raise Unknown("%s is no JSON: %s" % (path, error)) from None
    if not isinstance(config, dict):
        raise Unknown("%s holds no object" % path)
    # A model of several modalities keeps its language part in an object of its own.
    parts = [part for part in (config, config.get("text_config"), config.get("llm_config")) if isinstance(part, dict)]
    return {size: _first(parts, names) for size, names in NAMES.items()}


def _first(parts: List[Dict[str, Any]], names: Any) -> Optional[int]:
    for part in parts:
        for name in names:
            value = part.get(name)
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return value
    return None
