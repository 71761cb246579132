"""Starts the vLLM that all labs share: in wheels of this scenario, so that releases are installed, changed and gone back to."""

from __future__ import annotations

import os
import sys

PYTHON = "/opt/vllm-lab/bin/python"


def main() -> None:
    """Become that vLLM, with the same arguments."""
    os.execv(PYTHON, [PYTHON, "-m", "vllm.entrypoints.cli.main", *sys.argv[1:]])  # noqa: S606 - no shell


if __name__ == "__main__":
    main()
