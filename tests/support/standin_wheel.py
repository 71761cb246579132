# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a small wheel that carries the name of vLLM: python3 standin_wheel.py FOLDER VERSION [NAME [BEHAVIOUR [REQUIRES]]].

pip installs it like any other; what it does when started, and the behaviours, are in standin_vllm.py beside this file.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import zipfile
from pathlib import Path

MAIN = Path(__file__).with_name("standin_vllm.py")


def digest(content: bytes) -> str:
    """Return a digest as RECORD (PEP 376) writes it."""
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def write(folder: Path, version: str, name: str = "vllm", behaviour: str = "", requires: str = "") -> Path:
    """Make ``folder`` where needed, write the wheel into it and return its path."""
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    tag = f"{name.replace('-', '_')}-{version}"
    texts = {
        f"{name}/__init__.py": "",
        f"{name}/entrypoints/__init__.py": "",
        f"{name}/entrypoints/cli/__init__.py": "",
        f"{name}/entrypoints/cli/main.py": MAIN.read_text(encoding="utf-8"),
        f"{tag}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{tag}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{tag}.dist-info/entry_points.txt": f"[console_scripts]\n{name} = {name}.entrypoints.cli.main:main\n",
    }
    if behaviour:
        texts[f"{name}/behaviour.json"] = json.dumps({"release": version, "behaviour": behaviour})
    rows = [f"{path},{digest(text.encode())},{len(text)}\n" for path, text in texts.items()]
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{tag}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in texts.items():
            archive.writestr(path, text)
        archive.writestr(f"{tag}.dist-info/RECORD", "".join(rows) + f"{tag}.dist-info/RECORD,,\n")
    return wheel


if __name__ == "__main__":
    write(Path(sys.argv[1]), *sys.argv[2:])
