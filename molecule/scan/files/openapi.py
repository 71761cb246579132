# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints the OpenAPI document vLLM writes of itself, with every route of its task; run by the interpreter of a vLLM environment."""

import contextlib
import io
import json

from vllm.entrypoints.launchers.app import build_app
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser

with contextlib.redirect_stdout(io.StringIO()):
    arguments = make_arg_parser(FlexibleArgumentParser()).parse_args(["--model", "none"])
    document = build_app(arguments, ("generate",)).openapi()
print(json.dumps(document))
