# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the real vLLM makes of planned processes; run by the interpreter of a vLLM environment, of any release.

Reads ``[{"argv": [...], "environment": {...}, "model": a directory or null}]`` and prints, after the word ANSWERS,
``[{"refused": message or null, "parsed": {...}, "config": {...} or null, "config_error": message or null}]``.
With a model the whole configuration of the engine is made as ``vllm serve`` would make it, without starting anything.
"""

import contextlib
import dataclasses
import importlib
import inspect
import io
import json
import os
import sys

PARSERS = ("vllm.entrypoints.launchers.cli_args", "vllm.entrypoints.openai.cli_args")
WORDS = ("vllm.utils.argparse_utils", "vllm.utils")
PARALLEL = (
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "data_parallel_size",
    "data_parallel_size_local",
    "data_parallel_rank",
    "data_parallel_master_ip",
    "data_parallel_rpc_port",
    "data_parallel_external_lb",
    "data_parallel_hybrid_lb",
    "data_parallel_backend",
    "nnodes",
    "node_rank",
    "master_addr",
    "master_port",
    "distributed_executor_backend",
)


def first(modules, name):
    """Return ``name`` of the first of ``modules`` that has it; it has moved from release to release."""
    for module in modules:
        with contextlib.suppress(ImportError, AttributeError):
            return getattr(importlib.import_module(module), name)
    raise ImportError(f"{name} is in none of {', '.join(modules)}")


def plain(value):
    """Return ``value`` as JSON types."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value) if field.init}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def configured(arguments, headless):
    """Return what the engine's configuration says of its place and its connectors."""
    engine = importlib.import_module("vllm").AsyncEngineArgs.from_cli_args(arguments)
    known = inspect.signature(engine.create_engine_config).parameters
    made = engine.create_engine_config(**({"headless": headless} if "headless" in known else {}))
    found = {name: plain(getattr(made.parallel_config, name, None)) for name in PARALLEL}
    return {
        **found,
        "kv_transfer_config": plain(made.kv_transfer_config),
        "kv_events_config": plain(made.kv_events_config),
    }


def answer(parser, case):
    """Return what becomes of one process."""
    said = io.StringIO()
    # As the unit gives it: the environment of the case and nothing of this process's own pins.
    for name in [name for name in os.environ if name.startswith(("VLLM_", "RAY_", "NCCL_", "GLOO_"))]:
        del os.environ[name]
    os.environ.update(case["environment"])
    try:
        with contextlib.redirect_stderr(said):
            arguments = parser.parse_args(case["argv"][1:])
    except (SystemExit, ValueError) as refusal:
        return {"refused": said.getvalue().strip()[-600:] or str(refusal), "parsed": None, "config": None}
    result = {"refused": None, "parsed": plain(vars(arguments)), "config": None, "config_error": None}
    if case["model"] is None:
        return result
    # The model is not what is asked about: a directory that exists, with heads, layers and experts enough for any size.
    arguments.model_tag = arguments.model = case["model"]
    if hasattr(arguments, "swap_space"):
        arguments.swap_space = 0  # of this machine, in releases that have it
    arguments.hf_overrides = {
        "num_attention_heads": 64,
        "num_experts": 8,
        "num_hidden_layers": 64,
        "num_key_value_heads": 64,
    }
    try:
        result["config"] = configured(arguments, arguments.headless)
    except (ValueError, AssertionError, RuntimeError, NotImplementedError, ImportError) as error:
        result["config_error"] = f"{type(error).__name__}: {error}"[:800]
    return result


def main():
    """Answer for every case."""
    cases = json.load(sys.stdin)
    parser = first(PARSERS, "make_arg_parser")(first(WORDS, "FlexibleArgumentParser")(prog="vllm serve"))
    print("ANSWERS", json.dumps([answer(parser, case) for case in cases]))


if __name__ == "__main__":
    main()
