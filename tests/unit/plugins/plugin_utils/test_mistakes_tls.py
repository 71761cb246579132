# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certificates of the gateway and of its clients, mistaken in each way there is a rule for."""

from __future__ import annotations

from typing import Any

import pytest
from support.mistakes import Mistake, both, check_sentence, numbered, put

TLS, PROVED = "vllm_cluster.gateway.tls", "vllm_cluster.tenants[0].certificate"
SERVER = {"directory": "https://ca.example/dir", "contact": "ops@example.org"}
SECOND_GATEWAY = {"fabric": ["10.20.1.201"], "management": ["10.20.2.201"], "edge": ["192.0.2.201"]}


def acme(mistake: Mistake) -> Mistake:
    return both(put("cluster/gateway/tls", {"issuer": "acme", "acme": dict(SERVER)}), mistake)


def tenant(name: str, subject: str) -> dict[str, Any]:
    return {"name": name, "certificate": subject, "keys": [{"id": "k1"}]}


ENGINES = "vllm_cluster.engine.tls"
FILES = {"issuer": "files", "certificate": "/c", "key": "/k", "authority": "/a"}
NIXL = {"connector": "nixl", "router_port": 9000}


def engines(**tls: Any) -> Mistake:
    return put("cluster/engine", {"tls": tls})


MISTAKES: list[tuple[str, str, Mistake]] = [
    ("missing-key", f"{TLS}.key", put("cluster/gateway/tls", {"certificate": "/c"})),
    ("missing-key", f"{TLS}.acme", put("cluster/gateway/tls", {"issuer": "acme"})),
    ("tls-source", f"{TLS}.certificate", put("cluster/gateway/tls/issuer", "private")),
    ("tls-source", f"{TLS}.acme", put("cluster/gateway/tls/acme", SERVER)),
    ("bad-value", f"{TLS}.acme.directory", acme(put("cluster/gateway/tls/acme/directory", "http://ca.example/dir"))),
    ("bad-value", f"{TLS}.acme.contact", acme(put("cluster/gateway/tls/acme/contact", "ops"))),
    ("port-collision", f"{TLS}.issuer", acme(put("cluster/gateway/port", 80))),
    (
        "acme-gateways",
        f"{TLS}.issuer",
        acme(put("hosts/gateway2", {"roles": ["gateway"], "node": {"addresses": SECOND_GATEWAY}})),
    ),
    ("missing-key", f"{ENGINES}.authority", engines(issuer="files", certificate="/c", key="/k")),
    ("missing-key", f"{ENGINES}.client_key", engines(**FILES, client=True)),
    ("tls-source", f"{ENGINES}.certificate", engines(certificate="/c")),
    ("tls-source", f"{ENGINES}.client_authority", engines(**FILES, client_authority="/a")),
    ("bad-value", f"{ENGINES}.name", engines(name="10.20.1.11")),
    ("tls-behind-router", ENGINES, both(engines(), put("cluster/transfer", NIXL))),
    (
        "argument-owned",
        "vllm_cluster.engine.arguments.ssl_certfile",
        put("cluster/engine", {"arguments": {"ssl_certfile": "/c"}}),
    ),
    ("client-authority-missing", PROVED, put("cluster/tenants/0/certificate", "CN=acme")),
    ("bad-value", PROVED, put("cluster/tenants/0/certificate", 'CN=acme" "" ; #')),
    (
        "certificate-shared",
        "vllm_cluster.tenants[1].certificate",
        both(
            put("cluster/gateway/tls/client_authority", "/a"),
            put("cluster/tenants", [tenant("acme", "CN=a"), tenant("other", "cn=A")]),
        ),
    ),
]


@pytest.mark.parametrize(("rule", "path", "mistake", "number"), numbered(MISTAKES), ids=lambda value: str(value)[:60])
def test_each_mistake_is_said_in_full(
    rule: str, path: str, mistake: Mistake, number: int, cluster: Any, hosts: Any, today: Any
) -> None:
    check_sentence(rule, path, mistake, number, cluster, hosts, today)
