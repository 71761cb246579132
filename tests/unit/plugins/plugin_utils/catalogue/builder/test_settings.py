# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options, variables, fields and connectors are read from syntax alone."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.hardened.vllm.tools.catalogue import transfer
from ansible_collections.hardened.vllm.tools.catalogue.flags import FlagReader
from ansible_collections.hardened.vllm.tools.catalogue.variables import VariableReader

CLI = "entrypoints__openai__cli_args"
FRONTEND = """
    import json
    DEFAULT = 4 * 1024

    @config
    class Sub:
        x: int = 1

    class Mapping(dict): ...

    @config
    class Base:
        shared: bool = False

    @config
    class FrontendArgs(Base):
        host: str | None = None
        port: int = 8000
        names: list[str] | None = field(default_factory=lambda: ["*"])
        origins: list[str] = field(default_factory=list)
        size: int = DEFAULT
        sub: Sub = field(default_factory=Sub)
        mode: Literal["a", "b"] = "a"
        fixed: tuple[int, int] = (1, 2)
        table: dict[str, int] = field(default_factory=dict)
        limits: Mapping = field(default_factory=Mapping)
        hidden: ClassVar[int] = 3
        either: bool | str | None = None

        @classmethod
        def add_cli_args(cls, parser):
            kwargs = get_kwargs(cls)
            del kwargs["origins"]["nargs"]
            kwargs["size"]["default"] = 7
            group = parser.add_argument_group(title="x")
            for key, value in kwargs.items():
                group.add_argument(f"--{key.replace('_', '-')}", **value)
            return parser

    def make_arg_parser(parser):
        parser.add_argument("model_tag", nargs="?")
        parser.add_argument("--headless", action="store_true")
        parser.add_argument("--count", "-c", type=int, default=compute())
        parser.add_argument("--old", action=argparse.BooleanOptionalAction, deprecated=True, default=not FrontendArgs.shared)
        parser.add_argument("--size-too", **{**get_kwargs(FrontendArgs)["size"], "default": None})
        return FrontendArgs.add_cli_args(parser)
"""


def test_options_follow_the_parser(library: Any) -> None:
    reader = FlagReader(library(**{CLI: FRONTEND}))
    flags = reader.read()
    assert reader.undecided == set()
    plain = {name: entry.get("default") for name, entry in flags.items() if "default" in entry}
    assert plain == {
        "help": None,
        "headless": False,
        "old": True,
        "size-too": None,
        "shared": False,
        "host": None,
        "port": 8000,
        "names": ["*"],
        "origins": [],
        "size": 7,
        "mode": "a",
        "fixed": [1, 2],
        "table": {},
        "either": None,
    }
    assert {name: entry["default_code"] for name, entry in flags.items() if "default_code" in entry} == {
        "count": "compute()",
        "sub": "Sub()",
        "limits": "Mapping()",
    }
    assert {name for name, entry in flags.items() if entry["switch"]} == {"help", "headless", "old", "shared", "either"}
    assert {name for name, entry in flags.items() if entry["several"]} == {"names"}
    assert {name for name, entry in flags.items() if entry.get("json")} == {"sub", "table", "limits"}
    assert flags["count"]["aliases"] == ["c"]
    assert flags["old"]["deprecated"]


def test_a_release_with_optional_values_has_one_switch_less(library: Any) -> None:
    reader = FlagReader(library(**{CLI: FRONTEND, "engine__arg_utils": 'kwargs[name]["const"] = True'}))
    assert not reader.read()["either"]["switch"]


def test_a_class_method_of_a_base_fills_the_parser_of_the_class_asked(library: Any) -> None:
    source = """
        @config
        class Base:
            a: int = 1

            @classmethod
            def _customize_cli_kwargs(cls, kwargs):
                kwargs["a"]["default"] = 2
                return kwargs

            @classmethod
            def add_cli_args(cls, parser):
                kwargs = cls._customize_cli_kwargs(get_kwargs(cls))
                for key, value in kwargs.items():
                    extra = value.pop("flags", [])
                    parser.add_argument(*extra, f"--{key}", **value)
                return parser

        @config
        class FrontendArgs(Base):
            b: int = 3

            @classmethod
            def _customize_cli_kwargs(cls, kwargs):
                kwargs = super()._customize_cli_kwargs(kwargs)
                kwargs["b"]["default"] = 4
                return kwargs

        def make_arg_parser(parser):
            return FrontendArgs.add_cli_args(parser)
    """
    flags = FlagReader(library(**{CLI: source})).read()
    assert {name: flags[name]["default"] for name in ("a", "b")} == {"a": 2, "b": 4}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("parser.add_argument(make_name())", "names of parser.add_argument(make_name())"),
        ("parser.add_argument('--a', **make())", "parser.add_argument('--a', **make())"),
        ("Unknown.add_cli_args(parser)", "Unknown.add_cli_args(parser)"),
        ("x = get_kwargs(Unknown)", "class Unknown of get_kwargs"),
    ],
)
def test_what_cannot_be_followed_is_said(library: Any, line: str, said: str) -> None:
    reader = FlagReader(library(**{CLI: f"def make_arg_parser(parser):\n    {line}\n"}))
    reader.read()
    assert [text.partition(": ")[2] for text in reader.undecided] == [said]


ENVS = """
    import os
    TWO = "2"

    def port():
        return int(os.getenv("VLLM_PORT", "0"))

    def env_with_choices(name, default, choices): ...

    environment_variables = {
        "VLLM_A": lambda: bool(int(os.getenv("VLLM_A", "1"))),
        "VLLM_B": lambda: os.environ.get("VLLM_B"),
        "VLLM_C": env_with_choices("VLLM_C", "x", ["x", "y"]),
        "VLLM_PORT": port,
        "VLLM_D": lambda: os.getenv("VLLM_D", TWO),
        "VLLM_E": lambda: os.getenv("VLLM_E", tempfile.gettempdir()),
        "VLLM_F": lambda: os.environ["VLLM_F"] if "VLLM_F" in os.environ else None,
        "VLLM_G": lambda: os.environ.get("VLLM_G", None) or os.environ.get("OTHER", None),
    }
"""
USES = """
    import os
    KEY = "FROM_CONSTANT"
    GONE = {"VLLM_OLD": "new"}
    for name, new in GONE.items():
        if name in os.environ:
            warn()
    for tried in ("FIRST_ONE", "SECOND_ONE"):
        os.environ.get(tried)

    def f(any_name):
        key = "FROM_LOCAL"
        os.environ["WRITTEN"] = "1"
        return os.getenv(KEY), os.environ.get(key, 5), os.environ["READ"], os.environ.get(any_name)
"""


def test_variables_and_their_defaults(library: Any) -> None:
    reader = VariableReader(library(envs=ENVS, other=USES), {})
    found = reader.read()
    declared = {
        name: entry.get("default", entry.get("default_code")) for name, entry in found.items() if entry["declared"]
    }
    assert declared == {
        "VLLM_A": "1",
        "VLLM_B": None,
        "VLLM_C": "x",
        "VLLM_D": "2",
        "VLLM_E": "tempfile.gettempdir()",
        "VLLM_F": None,
        "VLLM_G": None,
        "VLLM_PORT": "0",
    }
    assert found["VLLM_E"]["default_code"] == "tempfile.gettempdir()"
    others = {name: entry["default"] for name, entry in found.items() if not entry["declared"]}
    assert others == {
        "OTHER": None,
        "FROM_CONSTANT": None,
        "FROM_LOCAL": "5",
        "READ": None,
        "FIRST_ONE": None,
        "SECOND_ONE": None,
    }
    assert reader.undecided == {"vllm/other.py: the name any_name"}


def test_variables_of_the_sagemaker_package(library: Any) -> None:
    config = 'class XEnvVars:\n    A = "CUSTOM_A"\nclass SageMakerConfig:\n    enable_it: bool = False\n'
    found = VariableReader(library(envs=ENVS), {"p/sagemaker/config.py": config}).read()
    assert {"CUSTOM_A", "SAGEMAKER_ENABLE_IT"} <= found.keys()


def test_fields_and_who_reads_them(library: Any) -> None:
    config = """
        @config
        class KVTransferConfig:
            kv_ip: str = "127.0.0.1"
            kv_port: int = 14579
            device: str = field(default_factory=pick)
            _private: int = 1
    """
    engine = "def f(config):\n    return config.kv_port\n"
    found = transfer.read_fields(library(config__kv_transfer=config, distributed__engine=engine))
    assert found == {
        "KVTransferConfig.device": {"type": "str", "default_code": "pick()"},
        "KVTransferConfig.kv_ip": {"type": "str", "default": "127.0.0.1", "read_by": []},
        "KVTransferConfig.kv_port": {"type": "int", "default": 14579, "read_by": ["vllm/distributed/engine.py"]},
    }


def test_connectors_keys_and_servers(library: Any) -> None:
    factory = 'KVConnectorFactory.register_connector("New", "vllm.new", "New")\n'
    connector = """
        def f(config):
            extra_config = config.kv_connector_extra_config
            return config.get_from_extra_config("host", "h"), extra_config.get("port", 1), extra_config["path"]
    """
    other = "app = FastAPI()\n@app.get('/health')\ndef h(): ...\n"
    made = library(
        distributed__kv_transfer__factory=factory,
        distributed__kv_transfer__kv_connector__v1__new__connector=connector,
        entrypoints__other=other,
    )
    assert transfer.read_connectors(made) == {"kv:New": {"module": "vllm.new"}}
    assert transfer.read_extra_keys(made) == {
        "new:host": {"default": "h"},
        "new:path": {"default": None},
        "new:port": {"default": 1},
    }
    assert transfer.read_servers(made, set()) == {"vllm/entrypoints/other.py GET /health": {}}
    assert transfer.read_servers(made, {"vllm/entrypoints/other.py"}) == {}
