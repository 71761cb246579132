#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module hardened.vllm.certificate."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: certificate
short_description: Look at a server's certificate, or make it with an authority of one's own
version_added: 0.1.0
author: hardened.vllm maintainers (@hardened-vllm)
description:
  - Refuses a certificate that is over, is not for the names clients use or does not belong to its key, and says when it ends.
  - With O(authority_key) it makes what is missing, an authority that may sign for O(names) and what is below them and for no address, and a
    certificate by it. The certificate is made again in the last third of its life or when the names changed, the authority never.
  - Warns in the last two weeks.
  - Where the authority is made, its key stays (C(delegate_to) localhost). Needs the program C(openssl), 1.1.1 or newer.
options:
  certificate:
    description: The certificate, with those that lead to its authority (PEM).
    type: path
    required: true
  key:
    description: Its private key (PEM).
    type: path
    required: true
  names:
    description: Host names it has to be for.
    type: list
    elements: str
    required: true
  authority:
    description: The authority's certificate (PEM); without O(authority_key) it has to have signed what is there.
    type: path
  authority_key:
    description: The authority's private key (PEM). When given, what is missing is made.
    type: path
  purpose:
    description: Whether the certificate is shown by a server or by a client.
    type: str
    choices: [server, client]
    default: server
  lifetime_days:
    description: How long a certificate that is made is good.
    type: int
    default: 90
  make:
    description: Whether to make anything; when false, what is missing is named in RV(missing).
    type: bool
    default: true
  required:
    description:
      - Whether it is an error when there is no certificate, or one that clients would refuse.
      - When false the first is in order and the second a warning, because something else is about to mend it.
    type: bool
    default: true
notes:
  - Keys themselves are never returned.
attributes:
  check_mode:
    description: Says whether it would make something.
    support: full
"""

EXAMPLES = r"""
- name: Have a certificate of the cluster's own authority
  hardened.vllm.certificate:
    certificate: /srv/secrets/tls/gateway.pem
    key: /srv/secrets/tls/gateway.key
    authority: /srv/secrets/tls/authority.pem
    authority_key: /srv/secrets/tls/authority.key
    names: [llm.example.org]
  delegate_to: localhost
"""

RETURN = r"""
not_after:
  description: When the certificate or its authority ends, in UTC, whichever is first; empty when there is none yet.
  type: str
  returned: success
  sample: "2027-01-31T12:00:00Z"
days_left:
  description: Whole days until then.
  type: int
  returned: success
missing:
  description: Files that would have to be made.
  type: list
  elements: str
  returned: success
"""

import datetime
import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.hardened.vllm.plugins.module_utils.certificates import Certificate, Problem, look

SOON_DAYS = 14


def main():
    """Run the module."""
    paths = {name: {"type": "path", "required": True, "no_log": False} for name in ("certificate", "key")}
    paths.update({name: {"type": "path", "no_log": False} for name in ("authority", "authority_key")})
    module = AnsibleModule(
        argument_spec={
            **paths,
            "names": {"type": "list", "elements": "str", "required": True},
            "purpose": {"type": "str", "choices": ["server", "client"], "default": "server"},
            "lifetime_days": {"type": "int", "default": 90},
            "make": {"type": "bool", "default": True},
            "required": {"type": "bool", "default": True},
        },
        required_by={"authority_key": ("authority",)},
        supports_check_mode=True,
    )
    options = module.params
    now = datetime.datetime.now(datetime.timezone.utc)
    result = {"changed": False, "missing": [], "not_after": "", "days_left": 0}
    try:
        if options["authority_key"]:
            wanted = Certificate(options)
            result["missing"] = wanted.missing(now)
            result["changed"] = bool(result["missing"]) and options["make"]
            if result["changed"] and not module.check_mode:
                wanted.make(result["missing"])
        to_come = options["certificate"] in result["missing"] and (module.check_mode or not options["make"])
        if not to_come and (options["required"] or os.path.exists(options["certificate"])):
            end = look(options, now)
            result.update(not_after=end.strftime("%Y-%m-%dT%H:%M:%SZ"), days_left=(end - now).days)
            if result["days_left"] < SOON_DAYS:
                module.warn(
                    f"the certificate {options['certificate']} ends in {result['days_left']} days: clients refuse it then"
                )
    except Problem as problem:
        if options["required"]:
            module.fail_json(msg=str(problem))
        module.warn(str(problem))
    except OSError as error:
        module.fail_json(msg=f"cannot read or make the certificate: {error}")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
