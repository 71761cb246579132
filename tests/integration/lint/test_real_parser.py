# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The linter reads command lines as the real parser of vLLM does.

Needs a Python with vLLM in HARDENED_VLLM_PYTHON (the lab's, .lab/vllm/env/bin/python); one process parses every case.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils import catalogue
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.command import Command, parse

LAB = Path(__file__).resolve().parents[3] / ".lab/vllm/env/bin/python"
PYTHON = os.environ.get("HARDENED_VLLM_PYTHON") or (str(LAB) if LAB.exists() else None)

TEXTS = ["host", "root-path", "download-dir", "revision", "code-revision", "tokenizer-revision", "chat-template", "uds"]
SEVERAL = ["api-key", "allowed-media-domains", "served-model-name"]
SWITCHES = ["trust-remote-code", "enable-log-requests", "enable-lora", "disable-fastapi-docs", "enable-prompt-embeds"]
JSON = ["kv-transfer-config", "kv-events-config"]
SIZES = {"-tp": "tensor-parallel-size", "-n": "nnodes", "-dp": "data-parallel-size"}

CHILD = r"""
import dataclasses, io, json, sys
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser
names = json.loads(sys.argv[1])
parser = make_arg_parser(FlexibleArgumentParser(prog="vllm serve"))
answers = []
for argv in json.load(sys.stdin):
    sys.stderr = io.StringIO()
    try:
        found = parser.parse_args(argv)
    except SystemExit:
        answers.append(None)
        continue
    finally:
        sys.stderr = sys.__stderr__
    answer = {}
    for name in names:
        value = getattr(found, name.replace("-", "_"))
        answer[name] = dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value
    answers.append(answer)
print("ANSWERS", json.dumps(answers, default=str))
"""


def spelled(rng: random.Random, name: str) -> str:
    """An option as people write it: whole, cut short, with underscores."""
    cut = name[: rng.randint(3, len(name))] if rng.random() < 0.4 else name
    return "--" + (cut.replace("-", "_") if rng.random() < 0.3 else cut)


def case(rng: random.Random) -> list[str]:
    words = ["/m"] if rng.random() < 0.9 else []
    for _count in range(rng.randint(1, 5)):
        kind = rng.random()
        if kind < 0.35:
            name, value = spelled(rng, rng.choice(TEXTS)), rng.choice(["a", "10.0.0.1", "x y", "a=b", "-1", "a.b"])
            words += [f"{name}={value}"] if rng.random() < 0.4 else [name, value]
        elif kind < 0.5:
            words += [spelled(rng, rng.choice(SEVERAL)), *rng.choices(["k1", "k2", "h.example"], k=rng.randint(0, 3))]
        elif kind < 0.75:
            name = spelled(rng, rng.choice(SWITCHES))
            name = name.replace("--", "--no-", 1) if rng.random() < 0.3 else name
            words.append(f"{name}=true" if rng.random() < 0.1 else name)
        elif kind < 0.85:
            name = rng.choice(JSON)
            words += rng.choice(
                [
                    [f"--{name}", '{"engine_id": "e"}' if name.startswith("kv-t") else '{"topic": "t"}'],
                    [f"--{name}.{'engine_id' if name.startswith('kv-t') else 'topic'}", "dotted"],
                    [f"--{name.replace('-', '_')}.{'kv_buffer_device' if name.startswith('kv-t') else 'endpoint'}=cpu"],
                ]
            )
        elif kind < 0.95:
            short = rng.choice(list(SIZES))
            words += rng.choice([[short, "2"], [f"{short}=2"], [f"{short}2"]])
        else:
            words.append(rng.choice(["--no-such-option", "stray", "--enable"]))
    return words


def refuses(command: Command) -> bool:
    return bool(command.refused or command.unknown or command.ambiguous)


def read(command: Command, name: str) -> Any:
    option = command.last().get(name)
    if option is None:
        return None
    known = catalogue.options()[name]
    if known.switch:
        return not option.negated
    if name in JSON:
        return json.loads(option.values[-1])
    if name in SIZES.values():
        return int(option.values[-1])
    return [str(value) for value in option.values] if known.several else str(option.values[-1])


@pytest.mark.skipif(PYTHON is None, reason="no Python with vLLM at hand: set HARDENED_VLLM_PYTHON")
def test_every_case_is_read_as_the_real_parser_reads_it() -> None:
    rng = random.Random(20261123)  # noqa: S311 - the same cases every time
    cases = [case(rng) for _count in range(1500)]
    names = [*TEXTS, *SEVERAL, *SWITCHES, *JSON, *SIZES.values()]
    done = subprocess.run(
        [str(PYTHON), "-c", CHILD, json.dumps(names)],
        input=json.dumps(cases),
        capture_output=True,
        text=True,
        check=True,
        timeout=500,
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("ANSWERS ")]
    answers = json.loads(line.removeprefix("ANSWERS "))
    accepted = 0
    for words, answer in zip(cases, answers, strict=True):
        command = parse(words)
        assert refuses(command) == (answer is None), words
        if answer is None:
            continue
        accepted += 1
        for name in names:
            ours = read(command, name)
            if isinstance(ours, dict):
                assert ours.items() <= answer[name].items(), (words, name)
            elif ours is not None:
                assert ours == answer[name], (words, name)
            elif name in (*TEXTS, *SEVERAL):
                assert not answer[name], (words, name)
    assert 400 < accepted < 1500
