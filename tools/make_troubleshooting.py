# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page docs/troubleshooting.md: what validation and preflight say, by the id in the message."""

from __future__ import annotations

import re
from collections import defaultdict

from support.mistakes import SENTENCES

HEAD = """\
# Troubleshooting

`preflight`, and every playbook before it changes a host, names all problems at once, one line each:

```text
error [id] where: found what is there; expected what should be. What to change.
```

Here is an example of each id, word for word what the tests see when they make the mistake (`tests/support/sentences.yml`). Ids of dangerous settings, which
the linter reports too, are explained on [their own page](rules.md). An error holds the run back before any host is touched. A warning does not.

What goes wrong later, on hosts, is the matter of the [runbooks](runbooks/README.md). The message of a failed
task says what was put back and how things stand now.

| it looks like this | read |
|---|---|
| a playbook stops at a node that does not answer | [remove a node](runbooks/remove-node.md), [the gateway is lost](runbooks/gateway-lost.md) |
| `/health` answers, requests hang or fail | [an engine is dead](runbooks/engine-dead.md) |
| 401, 404, 413, 429 or 503 from the gateway | [role gateway](../roles/gateway/README.md): its log names tenant, key id and cause of each refusal |
| `site` refuses to restart an engine | [upgrade](runbooks/upgrade.md), or `-e site_restart_ok=true` |
| "the change was taken back" | [role isolation](../roles/isolation/README.md): no fresh login came through the new rules |
| a certificate is about to expire | [certificate](runbooks/certificate-expiring.md) |
"""


def page() -> str:
    """Return docs/troubleshooting.md."""
    by_id: defaultdict[str, list[str]] = defaultdict(list)
    for mistake, sentences in SENTENCES.items():
        by_id[mistake.split()[0]] += sentences
    parts = [HEAD]
    for name, sentences in sorted(by_id.items()):
        unique = dict.fromkeys(re.sub(r"\s+", " ", sentence) for sentence in sentences)
        parts.append(f"## {name}\n\n```text\n" + "\n".join(unique) + "\n```\n")
    return "\n".join(parts)
