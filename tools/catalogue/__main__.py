# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Entry point of ``python tools/catalogue``: finds the collection's own packages, then runs the tool."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _link() -> Path:
    """Return a directory from which ``ansible_collections.hardened.vllm`` is this checkout."""
    link = ROOT / ".cache/ansible_collections/hardened/vllm"
    if not link.exists():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(ROOT, target_is_directory=True)
    return ROOT / ".cache"


if __name__ == "__main__":
    sys.path.insert(0, str(_link()))
    from ansible_collections.hardened.vllm.tools.catalogue.main import main

    sys.exit(main())
