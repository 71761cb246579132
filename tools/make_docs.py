# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write the pages that come from the same data as the code.

They are docs/comparison.md, docs/controls.md, docs/declaration.md, docs/faults.md, docs/sample-audit.md, docs/topologies.md with
the pages in docs/topologies, and docs/troubleshooting.md.

Usage: PYTHONPATH=.cache:tests python tools/make_docs.py [--check]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import make_comparison
import make_controls
import make_faults
import make_sample
import make_topologies
import make_troubleshooting
from ansible_collections.hardened.vllm.plugins.plugin_utils.declaration.kinds import Kind, ListOf, Record
from ansible_collections.hardened.vllm.plugins.plugin_utils.declaration.schema import CLUSTER, NODE

DOCS = Path(__file__).resolve().parent.parent / "docs"

INTRODUCTION = """\
# The declaration

Made from the schema the validation uses (`plugins/plugin_utils/declaration/schema.py`). One variable describes a cluster, `vllm_cluster`, set
in the variables of its group; `vllm_node` holds what differs by host. Keys that are not listed are refused.
"""


def _inner(kind: Kind) -> Record | None:
    if isinstance(kind, Record):
        return kind
    return _inner(kind.kind) if isinstance(kind, ListOf) else None


def rows(record: Record, path: str) -> Iterator[str]:
    """Yield a table row for each key below ``record``."""
    for name, field in record.fields.items():
        here = f"{path}.{name}" if path else name
        inner = _inner(field.kind)
        default = (
            "**required**" if field.required else "" if field.default is None else f"`{json.dumps(field.default)}`"
        )
        what = "" if isinstance(field.kind, Record) else field.kind.expects
        yield f"| `{here}` | {what} | {default} | {field.doc} |"
        if inner is not None:
            yield from rows(inner, f"{here}[]" if isinstance(field.kind, ListOf) else here)


def declaration_page() -> str:
    """Return docs/declaration.md."""
    parts = [INTRODUCTION]
    for record in (CLUSTER, NODE):
        table = "\n".join(["| key | kind | default | meaning |", "|---|---|---|---|", *rows(record, "")])
        parts.append(f"## `{record.name}`\n\n{table}\n")
    return "\n".join(parts)


def main() -> int:
    """Write the pages, or with --check say which are stale; the exit code is 1 then."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail when a page is stale")
    check = parser.parse_args().check
    stale = []
    pages = {
        DOCS / "comparison.md": make_comparison.page(),
        DOCS / "controls.md": make_controls.page(),
        DOCS / "declaration.md": declaration_page(),
        DOCS / "faults.md": make_faults.page(),
        DOCS / "sample-audit.md": make_sample.page(),
        DOCS / "troubleshooting.md": make_troubleshooting.page(),
        **{DOCS / path: text for path, text in make_topologies.pages().items()},
    }
    for path, text in pages.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            stale.append(path.name)
            if not check:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, encoding="utf-8")
    if check and stale:
        print(f"stale: {', '.join(stale)}; run make docs", file=sys.stderr)
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
