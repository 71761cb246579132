"""Things made once and shared by all labs: built beside, stamped, and swapped in whole."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.paths import write_file
from lab.progress import Progress

STAMP = ".stamp"


def is_current(target: Path, recipe: str) -> bool:
    """Tell whether a finished asset of this recipe lies at ``target``."""
    try:
        return (target / STAMP).read_text().strip() == recipe
    except OSError:
        return False


def ensure(target: Path, recipe: str, build: Callable[[Path], None], progress: Progress) -> bool:
    """Have ``build`` fill a directory beside ``target`` and rename it; return False when nothing was to do.

    ``recipe`` is a digest of everything the result depends on. What an interrupted build left behind is thrown away;
    two builds of the same asset wait for each other.
    """
    if is_current(target, recipe):
        return False
    with _locked(target):
        if is_current(target, recipe):
            return False
        for leftover in target.parent.glob(f"{target.name}.*"):
            shutil.rmtree(leftover)
        # The process number keeps apart what a killed build's orphaned installer may still be writing.
        beside, old = target.with_name(f"{target.name}.building-{os.getpid()}"), target.with_name(f"{target.name}.old")
        with progress.step(f"building {target.parent.name}/{target.name}"):
            build(beside)
            write_file(beside / STAMP, f"{recipe}\n")
            if target.exists():
                target.rename(old)
            beside.rename(target)
            if old.exists():
                shutil.rmtree(old)
    return True


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f".{target.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
