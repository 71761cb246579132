"""Where the lab keeps its files. Everything it makes lies in ``.lab`` of the checkout, or in ``/run`` while it runs."""

from __future__ import annotations

import os
from pathlib import Path

from lab.errors import LabError

CHECKOUT = Path(__file__).resolve().parents[2]
STATE = CHECKOUT / ".lab"
RUNTIME = Path("/run/hardened-vllm-lab")

VLLM_IN_NODE = "/opt/vllm-lab"
MODELS_IN_NODE = "/opt/models"
IMAGES_IN_NODE = "/opt/images"
WHEELS_IN_NODE = "/opt/vllm-wheels"

# Names below .lab that belong to all labs; a lab of this name would mix its files with them.
SHARED_NAMES = frozenset({"vllm", "models", "inventory", "logs", "build"})


def lab_directory(name: str) -> Path:
    """Return the directory of the lab ``name``."""
    return STATE / name


def private_directory(path: Path) -> Path:
    """Make a directory (mode 0700) and its parents; return it."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


def write_file(path: Path, content: str | bytes, mode: int = 0o644) -> bool:
    """Write a file atomically; return False and touch nothing when it already holds exactly this."""
    data = content.encode() if isinstance(content, str) else content
    if path.is_file() and path.read_bytes() == data and path.stat().st_mode & 0o777 == mode:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
    beside.chmod(mode)
    beside.replace(path)
    return True


def read_text(path: Path, remedy: str) -> str:
    """Return a file's text; raise LabError with ``remedy`` when it cannot be read."""
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise LabError(f"cannot read {path}: {error}", remedy) from error
