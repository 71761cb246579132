"""The vLLM environment that every engine node mounts read-only at /opt/vllm-lab."""

from __future__ import annotations

from pathlib import Path

from lab import assets
from lab.commands import run
from lab.errors import LabError
from lab.paths import STATE, VLLM_IN_NODE
from lab.progress import Progress
from lab.spec import digest

RELEASE = "0.32.0"
DIRECTORY = STATE / "vllm" / "env"
REQUIREMENTS = Path(__file__).with_name("vllm-requirements.txt")
# The nodes' own interpreter: Debian 12's. The environment is made with the same one, at the same path.
PYTHON = "/usr/bin/python3"
VERSION = "3.11"
# Counts up when what is built from the same requirements changes.
LAYOUT = "1"

PIP_REMEDY = (
    "torch's '+cpu' builds may need PyTorch's CPU wheel index: name it in PIP_EXTRA_INDEX_URL and repeat; "
    "4 GB of free disk are needed"
)
# Without the alias vLLM neither finds metadata under its own name nor recognises the CPU platform.
_ALIAS = f"Metadata-Version: 2.1\nName: vllm\nVersion: {RELEASE}+cpu\n"
_CHECK = (
    "import vllm.platforms, importlib.metadata as metadata;"
    "assert vllm.platforms.current_platform.is_cpu(), vllm.platforms.current_platform;"
    f"assert metadata.version('vllm') == '{RELEASE}+cpu', metadata.version('vllm')"
)


def ensure(progress: Progress) -> Path:
    """Build the environment unless it is there; return its directory on this machine."""
    recipe = digest(REQUIREMENTS.read_text(), PYTHON, VERSION, VLLM_IN_NODE, _ALIAS, LAYOUT)
    assets.ensure(DIRECTORY, recipe, _build, progress)
    return DIRECTORY


def _build(directory: Path) -> None:
    found = run(
        [PYTHON, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], remedy="apt-get install python3"
    ).strip()
    if found != VERSION:
        raise LabError(
            f"{PYTHON} is Python {found}; the lab's engine nodes run Debian 12 with Python {VERSION}",
            "run the lab on Debian 12",
        )
    run([PYTHON, "-m", "venv", str(directory)], remedy="apt-get install python3-venv")
    python = str(directory / "bin" / "python")
    pip = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--quiet",
        "--no-input",
        "--no-compile",
        "--disable-pip-version-check",
    ]
    run([*pip, "--no-deps", "--requirement", str(REQUIREMENTS)], timeout=3600, remedy=PIP_REMEDY)
    site = directory / "lib" / f"python{VERSION}" / "site-packages"
    alias = site / f"vllm-{RELEASE}+cpu.dist-info"
    alias.mkdir()
    (alias / "METADATA").write_text(_ALIAS)
    _point_scripts_at_node(directory)
    _compile(python, directory)
    run([python, "-c", _CHECK], timeout=300, remedy="delete .lab/vllm and repeat")


def _point_scripts_at_node(directory: Path) -> None:
    """Make the programs in bin/ start the interpreter at the path that the nodes see."""
    for script in (directory / "bin").iterdir():
        if script.is_symlink() or not script.is_file():
            continue
        lines = script.read_bytes().split(b"\n", 1)
        if lines[0].startswith(b"#!" + str(directory).encode()):
            script.write_bytes(b"#!" + VLLM_IN_NODE.encode() + b"/bin/python\n" + lines[1])


def _compile(python: str, directory: Path) -> None:
    """Write the bytecode now: the mount is read-only and a node could not keep it. Takes both cores a few seconds."""
    # Packages ship files for other Python versions, which do not compile; those are never imported.
    # -s and -p: tracebacks name the path in the node.
    source = ["-s", str(directory), "-p", VLLM_IN_NODE, str(directory / "lib")]
    compiled = run(
        ["sh", "-c", '"$@" || test $? -eq 1', "sh", python, "-m", "compileall", "-qq", "-j", "0", *source],
        timeout=900,
        remedy="see that the disk has room",
    )
    if compiled.strip():
        raise LabError("compileall said something unexpected", "delete .lab/vllm and repeat", compiled)
