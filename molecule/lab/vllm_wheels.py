"""The wheels of vLLM's CPU build and of all it needs, which a node mounts read-only in place of an index."""

from __future__ import annotations

import zipfile
from pathlib import Path

from lab import assets, vllm_env
from lab.commands import run
from lab.paths import STATE
from lab.progress import Progress
from lab.spec import digest

DIRECTORY = STATE / "vllm" / "wheels"
# Wheels without a file: the distribution's own name, which vLLM asks for (see vllm_env), and what the environment leaves out (see its
# requirements). pip resolves the whole set with them, as it would at an index.
EMPTY = {
    "vllm": f"{vllm_env.RELEASE}+cpu",
    "torchvision": "0.28.0",
    "torchaudio": "2.13.0",
    "torchcodec": "0.14.0",
    "triton": "3.7.0",
}


def ensure(progress: Progress) -> Path:
    """Fetch the wheels unless they are there; return their directory on this machine."""
    recipe = digest(vllm_env.REQUIREMENTS.read_text(), vllm_env.VERSION, repr(EMPTY))
    assets.ensure(DIRECTORY, recipe, _build, progress)
    return DIRECTORY


def _build(directory: Path) -> None:
    directory.mkdir(parents=True)
    tool = directory / ".tool"
    run([vllm_env.PYTHON, "-m", "venv", str(tool)], remedy="apt-get install python3-venv")
    pip = [str(tool / "bin" / "python"), "-m", "pip", "download", "--quiet", "--quiet", "--no-input"]
    pip += ["--disable-pip-version-check", "--only-binary", ":all:", "--no-deps", "--dest", str(directory)]
    run([*pip, "--requirement", str(vllm_env.REQUIREMENTS)], timeout=3600, remedy=vllm_env.PIP_REMEDY)
    run(["rm", "-rf", str(tool)], remedy="see that the disk is sound")
    for name, version in EMPTY.items():
        _write_empty(directory, name, version)


def _write_empty(directory: Path, name: str, version: str) -> None:
    about = f"{name}-{version}.dist-info"
    texts = {
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    # A record without digests is one that pip takes and that says nothing it could not keep (PEP 376).
    record = "".join(f"{path},,\n" for path in (*texts, f"{about}/RECORD"))
    with zipfile.ZipFile(directory / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for path, text in {**texts, f"{about}/RECORD": record}.items():
            wheel.writestr(path, text)
