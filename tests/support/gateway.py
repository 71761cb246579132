# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role gateway's configuration rendered into a directory of this machine, for checks that need no host."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

ROLE = Path(__file__).resolve().parents[2] / "roles" / "gateway"
TEMPLATES = "etc/hardened-vllm/gateway"


def _load(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((ROLE / name).read_text(encoding="utf-8")))


def _trusted(value: Any) -> Any:
    if isinstance(value, str):
        return trust_as_template(value)
    if isinstance(value, list):
        return [_trusted(item) for item in value]
    if isinstance(value, dict):
        return {key: _trusted(item) for key, item in value.items()}
    return value


def _values(directory: Path, gateway: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
    return {
        **_load("defaults/main.yml"),
        **_load("vars/main.yml"),
        "ansible_check_mode": False,
        "gateway_plan": {"cluster": {"cluster": "test"}, "host": {"gateway": gateway}},
        "gateway_probe": {"os": {"id": "debian", "version": "12"}, "packages": {}},
        "gateway_digests": {},
        "gateway_retired": {},
        "gateway_drained": [],
        "__gateway_directory": str(directory),
        "__gateway_log_directory": str(directory),
        "__gateway_runtime_directory": str(directory),
        # Lookups are not to be had here.
        "__gateway_client_texts": [path.read_text() for path in sorted(directory.glob("clients*.pem"))],
        **variables,
    }


def _text(values: dict[str, Any], name: str) -> str:
    loader = DataLoader()
    loader.set_basedir(str(ROLE))
    templar = Templar(loader=loader, variables=_trusted(values)).copy_with_new_env(searchpath=[str(ROLE / "templates")])
    source = (ROLE / "templates" / f"{name}.j2").read_text(encoding="utf-8")
    return str(templar.template(trust_as_template(source), escape_backslashes=False))


def text(directory: Path, gateway: dict[str, Any], name: str, **variables: Any) -> str:
    """Return what the template ``name`` (its path on the host, without a leading slash) becomes, as ``render`` takes it."""
    return _text(_values(directory, gateway, variables), name)


def render(directory: Path, gateway: dict[str, Any], **variables: Any) -> list[Path]:
    """Write the configuration for ``gateway``, a gateway's part of a plan, into ``directory``; return what was written.

    ``variables`` take the place of the role's own. The upstream key is "upstream-key"; tls.crt and tls.key are the caller's.
    """
    values = _values(directory, gateway, variables)
    written = []
    for name in values["__gateway_rendered"] + values["__gateway_rendered_closed"]:
        made = _text(values, f"{TEMPLATES}/{name}")
        (directory / name).write_text(made.replace("@secret:upstream@", "upstream-key"), encoding="utf-8")
        written.append(directory / name)
    for name in values["__gateway_copied"]:
        (directory / name).write_bytes((ROLE / "files" / TEMPLATES / name).read_bytes())
        written.append(directory / name)
    return written
