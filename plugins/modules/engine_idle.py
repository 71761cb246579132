#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module hardened.vllm.engine_idle."""

from __future__ import annotations

DOCUMENTATION = r"""
module: engine_idle
short_description: Wait until nobody is connected to an engine
version_added: "0.1.0"
author:
  - hardened.vllm maintainers (@hardened-vllm)
description:
  - Waits until the API of an engine on this node has no connections, as C(ansible.builtin.wait_for) does with V(drained), for a unix
    socket too.
  - Closes nothing. Drain the engine at the gateways first.
options:
  api:
    description: Where the API listens, by address and port or by socket.
    type: dict
    required: true
    suboptions:
      address:
        description: IP address.
        type: str
      port:
        description: TCP port.
        type: int
      socket:
        description: Path of a unix socket.
        type: path
  timeout:
    description: How long to wait, in seconds.
    type: int
    default: 600
  msg:
    description: What to say when it is still busy then.
    type: str
    default: The engine is still busy.
attributes:
  check_mode:
    description: Does not wait.
    support: full
  diff_mode:
    description: There is nothing to show.
    support: none
"""

EXAMPLES = r"""
- name: Wait until the engine has answered what it had taken
  hardened.vllm.engine_idle:
    api: {socket: /run/hardened-vllm-engine/api.sock}
    timeout: 60
"""

RETURN = r"""
connections:
  description: How many connections there were at the last look.
  returned: always
  type: int
  sample: 0
"""

import ipaddress
import time

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hardened.vllm.plugins.module_utils import engine_api
from ansible_collections.hardened.vllm.plugins.module_utils.probe_common import (
    Unknown,
    read_optional,
    read_text,
    under,
)
from ansible_collections.hardened.vllm.plugins.module_utils.probe_network import socket_address

PAUSE = 1.0
TCP_BUSY = ("01", "03")  # established, and on the way there
UNIX_BUSY = ("02", "03")  # on the way: nobody has accepted it yet; and connected


def connections(api, root="/"):
    """Return how many connections the API of ``api`` (dict: address and port, or socket) has."""
    if api.get("socket"):
        # The accepting end carries the path. Num RefCount Protocol Flags Type St Inode Path
        rows = (line.split(None, 7) for line in read_text(under(root, "/proc/net/unix")).splitlines()[1:])
        return sum(len(row) == 8 and row[5] in UNIX_BUSY and row[7] == api["socket"] for row in rows)
    wanted = (ipaddress.ip_address(api["address"]), api["port"])
    lines = read_text(under(root, "/proc/net/tcp")).splitlines()[1:]
    # A kernel without IPv6 has no such file.
    lines += read_optional(under(root, "/proc/net/tcp6")).splitlines()[1:]
    return sum(row[3] in TCP_BUSY and _end(row[1]) == wanted for row in map(str.split, lines))


def _end(text):
    address, port = socket_address(text)
    found = ipaddress.ip_address(address)
    return getattr(found, "ipv4_mapped", None) or found, port


def main():
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "api": dict(engine_api.API, required=True),
            "timeout": {"type": "int", "default": 600},
            "msg": {"type": "str", "default": "The engine is still busy."},
        },
        supports_check_mode=True,
    )
    deadline = time.monotonic() + module.params["timeout"]
    try:
        count = connections(module.params["api"])
        while count and not module.check_mode:
            if time.monotonic() >= deadline:
                module.fail_json(msg=module.params["msg"], connections=count)
            time.sleep(PAUSE)
            count = connections(module.params["api"])
    except (Unknown, ValueError) as error:
        module.fail_json(msg="Who is connected to the engine cannot be seen: %s" % error, connections=0)
    module.exit_json(changed=False, connections=count)


if __name__ == "__main__":
    main()
