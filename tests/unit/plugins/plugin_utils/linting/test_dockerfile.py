# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Recipes of images: what the last stage starts, with what."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.reading.kinds import by_content, by_name

from .conftest import ruled, seen

Lint = Callable[[dict[str, str]], set[tuple[str, int, str]]]


def judged(text: str) -> set[tuple[int, str]]:
    return {found for found in seen(text, "dockerfile") if found[1] not in ("image-tag", "tls-missing")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('FROM vllm/vllm-openai\nCMD ["--model", "/m", "--grpc"]\n', {(2, "arg-grpc")}),
        ('FROM own\nENTRYPOINT ["vllm", "serve"]\nCMD ["/m", "--grpc"]\n', {(3, "arg-grpc")}),
        ("FROM own\nCMD vllm serve /m \\\n    --grpc\n", {(3, "arg-grpc")}),
        (
            "FROM own\nENTRYPOINT python3 -m vllm.entrypoints.openai.api_server \\\n # why\n  --grpc\n",
            {(4, "arg-grpc")},
        ),
        ('FROM own\nARG M=/m\nENV HOST=0.0.0.0\nCMD vllm serve $M --host "$HOST"\n', {(4, "arg-host")}),
        ("FROM own AS base\nENV VLLM_SERVER_DEV_MODE=1\nFROM base\nCMD vllm serve /m\n", {(2, "env-dev-mode")}),
        ("FROM own AS base\nENV VLLM_SERVER_DEV_MODE=1\nFROM own\nCMD vllm serve /m\n", set()),
        ("FROM own\nENV VLLM_SERVER_DEV_MODE 1\nCMD vllm serve /m\n", {(2, "env-dev-mode")}),
        ("FROM own\nENV A=b \\\n  HF_TOKEN='hf_x'\nCMD vllm serve /m\n", {(3, "env-secret")}),
        ("FROM own\nARG HF_TOKEN\nENV HF_TOKEN=$HF_TOKEN\nCMD vllm serve /m\n", set()),
        ("FROM own\nUSER root\nCMD vllm serve /m\n", {(2, "run-as-root")}),
        ("FROM own\nRUN <<END\nCMD vllm serve /m --grpc\nEND\nCMD vllm serve /m\n", set()),
        ('FROM own\nCMD vllm serve /m --grpc\nENTRYPOINT ["sleep"]\n', set()),
        ("FROM own\nENTRYPOINT vllm serve /m\nCMD --grpc\n", set()),
        ("FROM own\nRUN pip install vllm==0.11.0\nCMD vllm serve /m\n", {(2, "release-old")}),
        ("FROM own\nRUN echo vllm serve /m --grpc\n", set()),
        ('ARG BASE=vllm/vllm-openai:v0.11.0\nFROM $BASE\nCMD ["/m"]\n', {(2, "release-old")}),
    ],
)
def test_recipes(text: str, expected: set[tuple[int, str]]) -> None:
    assert {found for found in judged(text) if found[1] != "unresolved"} == expected


def test_who_runs_the_image_may_add_the_rest() -> None:
    # No key is not said (it comes at run time), and an image on top of vLLM's own is only a part.
    assert "api-key" not in ruled("FROM own\nCMD vllm serve /m\n", "dockerfile")
    assert "arg-docs" in ruled("FROM own\nCMD vllm serve /m\n", "dockerfile")
    assert "arg-docs" not in ruled("FROM vllm/vllm-openai:v0.32.0\nENV A=b\n", "dockerfile")


def test_a_value_the_build_gives_is_unresolved() -> None:
    text = "FROM own\nARG MODEL=\nENV MODEL=$MODEL\nCMD vllm serve --model $MODEL ${REVISION:+--revision $REVISION}\n"
    assert ruled(text, "dockerfile") >= {"unresolved"}
    assert "arg-refused" not in ruled(text, "dockerfile")


@pytest.mark.parametrize("name", ["Dockerfile", "a/Containerfile", "Dockerfile.gpu", "Dockerfile_cpu", "x.dockerfile"])
def test_names(name: str) -> None:
    assert by_name(name) == "dockerfile"
    assert by_content("FROM own\nRUN true\n") == "dockerfile"


def test_files_below_a_folder(folder: Lint) -> None:
    found = folder({"image/Dockerfile": "FROM own\nCMD vllm serve /m --grpc\n", "other/Dockerfile": "FROM nginx\n"})
    assert ("in/image/Dockerfile", 2, "arg-grpc") in found
    assert {path for path, _line, _rule in found} == {"in/image/Dockerfile"}
