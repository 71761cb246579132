# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write the options of the real ``vllm serve`` parser as JSON; run by the interpreter of a vLLM environment.

Usage: PYTHON tools/dump_parser.py > plugins/plugin_utils/catalogue/data/parser.json
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any


def options(parser: argparse.ArgumentParser) -> dict[str, Any]:
    """Return ``{"options": {name: {switch, several, default}}, "aliases": {spelling: name}}``, names without dashes.

    A default is left out where JSON has no word for it.
    """
    known: dict[str, Any] = {}
    aliases: dict[str, str] = {}
    for action in parser._actions:
        spellings = [text for text in action.option_strings if not text.startswith("--no-")]
        long = [text for text in spellings if text.startswith("--")]
        if not long:
            continue
        name = long[0].lstrip("-").replace("_", "-")
        known[name] = {"switch": action.nargs == 0, "several": action.nargs in ("+", "*")}
        default = sorted(action.default) if isinstance(action.default, set) else action.default
        if name != "help" and plain(default) and default != argparse.SUPPRESS:
            known[name]["default"] = default
        for text in spellings:
            other = text.lstrip("-").replace("_", "-")
            if other != name:
                aliases[other] = name
    return {"options": dict(sorted(known.items())), "aliases": dict(sorted(aliases.items()))}


def plain(value: Any) -> bool:
    """Tell whether JSON gives ``value`` back as it is."""
    if isinstance(value, list):
        return all(plain(item) for item in value)
    return value is None or type(value) in (bool, int, float, str) or value == {}


def main() -> None:
    """Build the parser as ``vllm serve`` does and print its options."""
    from vllm import __version__  # type: ignore[import-not-found]  # it is in another environment
    from vllm.entrypoints.launchers.cli_args import make_arg_parser  # type: ignore[import-not-found]  # likewise
    from vllm.utils.argparse_utils import FlexibleArgumentParser  # type: ignore[import-not-found]  # likewise

    parser = make_arg_parser(FlexibleArgumentParser())
    json.dump({"release": __version__.split("+")[0], **options(parser)}, sys.stdout, indent=0, sort_keys=True)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
