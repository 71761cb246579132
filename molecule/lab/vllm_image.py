"""Container images with the lab's vLLM, as an OCI layout that a registry of the lab serves: no builder, no registry asked.

``images.json`` beside it gives their digests: ``works``, ``next`` (the same with a file more) and ``broken`` (its vLLM does not start).
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab import assets, images, vllm_env
from lab.commands import run
from lab.host import Host
from lab.paths import STATE, VLLM_IN_NODE
from lab.progress import Progress
from lab.spec import digest

DIRECTORY = STATE / "vllm" / "image"
# Counts up when what is built from the same parts changes.
LAYOUT = "1"

_MEDIA = "application/vnd.oci.image"
_SITE = f"{VLLM_IN_NODE}/lib/python{vllm_env.VERSION}/site-packages"
_REMEDY = "see that 4 GB are free in .lab"
_VARIANTS: Mapping[str, Mapping[str, str]] = {
    "works": {},
    "next": {"/etc/image": "next\n"},
    "broken": {f"{_SITE}/vllm/entrypoints/cli/main.py": "raise SystemExit('this image is broken')\n"},
}


def ensure(host: Host, progress: Progress) -> Path:
    """Build the images unless they are there; return the directory of the layout."""
    vllm_env.ensure(progress)
    base = images.ensure(host, "bookworm", progress)
    recipe = digest(
        base, (vllm_env.DIRECTORY / assets.STAMP).read_text(), json.dumps(_VARIANTS, sort_keys=True), LAYOUT
    )
    assets.ensure(DIRECTORY, recipe, lambda directory: _build(host, base, directory), progress)
    return DIRECTORY


def _build(host: Host, base: str, directory: Path) -> None:
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    shared = [_system(host, base, blobs), _environment(blobs)]
    found = {}
    for name, files in _VARIANTS.items():
        layers = [*shared, _small(blobs, files)] if files else shared
        found[name] = _image(blobs, layers)["digest"]
    (directory / "images.json").write_text(json.dumps(found))


def _system(host: Host, base: str, blobs: Path) -> dict[str, Any]:
    beside = blobs / "system"
    container = host.podman("create", base).strip()
    try:
        run([*host.prefix, "podman", "export", "--output", str(beside), container], timeout=600, remedy=_REMEDY)
    finally:
        host.podman("rm", container)
    return _layer(beside)


def _environment(blobs: Path) -> dict[str, Any]:
    beside = blobs / "environment"
    argv = ["tar", "--create", "--file", str(beside), "--sort=name", "--owner=0", "--group=0", "--numeric-owner"]
    argv += [
        "--mtime=@0",
        f"--transform=flags=r;s,^[.],{VLLM_IN_NODE.lstrip('/')},",
        "-C",
        str(vllm_env.DIRECTORY),
        ".",
    ]
    run(argv, timeout=900, remedy=_REMEDY)
    return _layer(beside)


def _small(blobs: Path, files: Mapping[str, str]) -> dict[str, Any]:
    beside = blobs / "small"
    with tarfile.open(beside, "w") as archive:
        for path, text in files.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(text), 0o644
            archive.addfile(entry, io.BytesIO(text.encode()))
    return _layer(beside)


def _layer(beside: Path) -> dict[str, Any]:
    with beside.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    size = beside.stat().st_size
    beside.rename(beside.with_name(found))
    return {"mediaType": f"{_MEDIA}.layer.v1.tar", "digest": f"sha256:{found}", "size": size}


def _image(blobs: Path, layers: list[dict[str, Any]]) -> dict[str, Any]:
    config = {
        "architecture": "amd64",
        "os": "linux",
        # What somebody's image may bring along; the unit has none of it.
        "config": {"Entrypoint": ["/bin/false"], "User": "0", "Volumes": {"/data": {}}},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_MEDIA}.manifest.v1+json",
        "config": _document(blobs, config, "config"),
        "layers": layers,
    }
    return _document(blobs, manifest, "manifest")


def _document(blobs: Path, content: Mapping[str, Any], kind: str) -> dict[str, Any]:
    data = json.dumps(content, sort_keys=True).encode()
    found = hashlib.sha256(data).hexdigest()
    (blobs / found).write_bytes(data)
    return {"mediaType": f"{_MEDIA}.{kind}.v1+json", "digest": f"sha256:{found}", "size": len(data)}


def archive(name: str, file: Path) -> None:
    """Write the image ``name`` as an OCI archive, as skopeo would."""
    manifest = json.loads((DIRECTORY / "images.json").read_text())[name]
    content = json.loads(_blob(manifest).read_text())
    parts = [manifest, content["config"]["digest"], *(layer["digest"] for layer in content["layers"])]
    entry = {"mediaType": content["mediaType"], "digest": manifest, "size": _blob(manifest).stat().st_size}
    with tempfile.TemporaryDirectory() as scratch, tarfile.open(file, "w") as tar:
        for path, text in {
            "oci-layout": {"imageLayoutVersion": "1.0.0"},
            "index.json": {"schemaVersion": 2, "manifests": [entry]},
        }.items():
            (Path(scratch) / path).write_text(json.dumps(text))
            tar.add(Path(scratch) / path, path)
        for part in parts:
            tar.add(_blob(part), f"blobs/{part.replace(':', '/')}")


def _blob(named: str) -> Path:
    return DIRECTORY / "blobs" / named.replace(":", "/")
