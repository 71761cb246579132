# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of modules that let pip fetch wheels."""

from __future__ import annotations


class ModuleDocFragment:
    """What is fetched, from where, by which interpreter; module_utils/engine_pip.py has the specification."""

    DOCUMENTATION = r"""
options:
  package:
    description: Distribution that carries vLLM.
    type: str
    default: vllm
  base_python:
    description: Interpreter that makes the virtual environment, and that the wheels are for.
    type: path
    default: /usr/bin/python3
  index_url:
    description:
      - Package index to ask. It may hold credentials, which are kept out of every output.
      - Without it and without O(find_links), pip's configuration on the node decides.
    type: str
  index_hosts:
    description:
      - Hosts beside the index's own that its pages send pip to, where they name files elsewhere. Those of pypi.org are known.
      - Looked at only without O(destinations).
    type: list
    elements: str
    default: []
  find_links:
    description: Directory on the node that holds wheels. Without O(index_url), no index is asked.
    type: path
  requirements:
    description: Further lines for pip's requirements file, such as pins. If one has a C(--hash), all packages need one.
    type: list
    elements: str
    default: []
  destinations:
    description:
      - Address blocks that pip may exchange packets with, and nobody else. An empty list is nobody, that is no network at all.
      - Without it, they are the addresses that the host finds for the index, for O(index_hosts) and for the proxies of its environment;
        none where only O(find_links) is given.
      - Pip runs in a unit of its own, with whose end they are closed, and the module fails on a host that cannot hold it back.
    type: list
    elements: str
  timeout_seconds:
    description: Time that pip may take.
    type: int
    default: 3600
"""
