# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Words after ``vllm serve`` are read as its parser reads them."""

from __future__ import annotations

import pytest
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.command import json_of, parse
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.spelling import resolve
from ansible_collections.hardened.vllm.plugins.plugin_utils.linting.texts import Text


@pytest.mark.parametrize(
    ("written", "name", "negated"),
    [
        ("--trust-remote-code", "trust-remote-code", False),
        ("--trust_remote_code", "trust-remote-code", False),
        ("--trust-remote", "trust-remote-code", False),
        ("--no-trust-remote-code", "trust-remote-code", True),
        ("--no_trust_remote", "trust-remote-code", True),
        ("--api-k", "api-key", False),
        ("-tp", "tensor-parallel-size", False),
        ("-t", "tensor-parallel-size", False),
        ("--tp", None, False),
        ("-host", None, False),
        ("--kv-transfer-config.kv_role", "kv-transfer-config", False),
        ("--enable", None, False),
        ("--Host", None, False),
        ("--kv-ip", None, False),
    ],
)
def test_names_are_resolved_as_the_parser_does(written: str, name: str | None, negated: bool) -> None:
    assert resolve(written) == (name, negated)


def test_names_are_those_of_the_release() -> None:
    assert resolve("--task", "0.12.0") == ("task", False)
    assert resolve("--task", "0.32.0") == (None, False)


def test_values_go_to_their_options() -> None:
    command = parse(["/m", "--allowed-media-domains", "a", "b", "--port=9", "--enforce-eager", "--host", "::"])
    assert [(option.name, option.values, option.equals) for option in command.options] == [
        ("allowed-media-domains", ["a", "b"], False),
        ("port", ["9"], True),
        ("enforce-eager", [], False),
        ("host", ["::"], False),
    ]
    assert command.positional == ("/m",)
    assert command.refused == ()


def test_the_last_of_several_counts() -> None:
    assert parse(["/m", "--host", "::", "--ho=127.0.0.1"]).last()["host"].values == ["127.0.0.1"]


def test_a_number_and_a_word_with_a_space_are_values() -> None:
    command = parse(["/m", "--max-logprobs", "-1", "--chat-template", "-x y"])
    assert [option.values for option in command.options] == [["-1"], ["-x y"]]
    assert command.unknown == ()


def test_dotted_options_are_one_json_value_that_replaces_the_other() -> None:
    dotted = ["--kv_transfer_config.kv_connector", "NixlConnector"]
    dotted += ["--kv-transfer-config.kv_connector_extra_config.a.b=2k", "--kv-transfer-config.list+", "x,y"]
    command = parse(["/m", "--kv-transfer-config", '{"kv_port": 1}', *dotted])
    assert json_of(command.last()["kv-transfer-config"]) == {
        "kv_connector": "NixlConnector",
        "kv_connector_extra_config": {"a": {"b": 2000}},
        "list": ["x", "y"],
    }


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--trust-remote-code=true"], "a switch takes no value"),
        (["--host"], "a value must follow"),
        (["--no-host"], "only switches have a --no- form"),
        (["--trust-remote-code", "true"], "the parser expects no further word here"),
        (["--kv-transfer-config", "NixlConnector"], "its value must be JSON"),
        (["--config"], "--config names no file"),
        (["--config", "serve.conf"], "the file of --config must end in .yaml or .yml"),
        (["--config", "a.yaml", "--config", "b.yaml"], "only one --config is allowed"),
        (["--kv-transfer-config.kv_role"], "no value follows"),
    ],
)
def test_what_the_parser_refuses(words: list[str], why: str) -> None:
    assert why in [reason for _word, reason in parse(["/m", *words]).refused]


def test_abbreviations_of_several_are_ambiguous() -> None:
    assert parse(["/m", "--data-parallel-s", "2"]).ambiguous == ("--data-parallel-s",)
    assert parse(["/m", "--no-such", "2"]).unknown == ("--no-such",)


def test_the_words_of_the_file_come_before_those_of_the_command() -> None:
    def read(name: Text) -> list[Text]:
        assert name == "serve.yaml"
        return [Text("--host"), Text("0.0.0.0"), Text("--port"), Text("1")]

    command = parse(["/m", "--config", "serve.yaml", "--host", "127.0.0.1"], read)
    assert {name: option.values for name, option in command.last().items()} == {"host": ["127.0.0.1"], "port": ["1"]}
    assert command.positional == ("/m",)


def test_a_file_in_any_other_form_is_not_read() -> None:
    def read(_name: Text) -> list[Text]:
        raise AssertionError("the file was read")

    assert "config" in parse(["/m", "--config=serve.yaml"], read).last()
