"""Make a model of the same shape and other weights: every matrix of its layers with its rows in another order.

Usage: other_weights.py MODEL COPY, by a Python that has torch and safetensors.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def main() -> None:
    """Write the copy."""
    model, copy = map(Path, sys.argv[1:])
    shutil.copytree(model, copy)
    torch.manual_seed(0)
    for path in copy.glob("*.safetensors"):
        weights = load_file(path)
        mixed = {
            name: one[torch.randperm(len(one))].contiguous() if ".layers." in name and one.dim() == 2 else one
            for name, one in weights.items()
        }
        save_file(mixed, path, {"format": "pt"})
        path.chmod(0o644)


if __name__ == "__main__":
    main()
