# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a gateway and its tenants are declared with."""

from __future__ import annotations

from .kinds import Boolean, Choice, Field, Integer, ListOf, MapOf, Record
from .words import (
    ADDRESS_BLOCK,
    CONTROLLER_PATH,
    DIGEST,
    EXPIRY,
    HOST_NAME,
    HTTPS_URL,
    KEY_PATH,
    MAIL,
    NAME,
    NETWORKS,
    ORIGIN,
    PORT,
    SECRET,
    SUBJECT,
)

BODY = Integer(1, 10**10)

LIMITS = Record(
    "limits",
    {
        "body_bytes": Field(BODY, "Largest request body.", 10_485_760),
        "route_body_bytes": Field(MapOf(NAME, BODY), "Largest request body of single groups of routes.", {}),
        "header_bytes": Field(Integer(1024, 65536), "Largest request header.", 8192),
        "read_timeout_seconds": Field(Integer(1, 86400), "Longest silence of an engine.", 600),
        "connect_timeout_seconds": Field(Integer(1, 75), "Longest wait for a connection to an engine.", 5),
        "failed_keys_per_minute": Field(
            Integer(1, 10_000), "Requests without a good key one source may make before it gets 429.", 60
        ),
        "connections_per_source": Field(
            Integer(0, 1_000_000),
            "Connections one source (IPv6: one /64) may hold to the gateway's port at the same time; the firewall refuses "
            "further ones. Raise it where many clients share an address (NAT, a load balancer in front); 0 does not limit.",
            1024,
        ),
    },
)

ACME = Record(
    "acme",
    {
        "directory": Field(HTTPS_URL, "Address of the ACME server's directory.", required=True),
        "contact": Field(MAIL, "Mail address the ACME server may write to.", required=True),
        "authority": Field(
            CONTROLLER_PATH, "Certificates (PEM) the ACME server is known by; the host's own when left out."
        ),
    },
)

TLS = Record(
    "tls",
    {
        "issuer": Field(
            Choice(("files", "private", "acme")),
            "Where the gateway's certificate comes from: files on the controller, an authority of the cluster's own that the "
            "role makes below secrets_directory, or an ACME server, which asks back on port 80.",
            "files",
        ),
        "certificate": Field(CONTROLLER_PATH, "Certificate chain (PEM) on the controller, for issuer files."),
        "key": Field(KEY_PATH, "Private key (PEM) on the controller, for issuer files."),
        "lifetime_days": Field(
            Integer(2, 398), "Life of a certificate of issuer private; a run in its last third renews it.", 90
        ),
        "acme": Field(ACME, "The server of issuer acme."),
        "client_authority": Field(
            CONTROLLER_PATH, "Certificates (PEM) on the controller of who signs tenants' client certificates."
        ),
        "client_revocations": Field(
            CONTROLLER_PATH,
            "Revocation list (PEM) on the controller of client_authority, and after it one of every authority below that signs.",
        ),
    },
)

GATEWAY = Record(
    "gateway",
    {
        "network": Field(Choice(NETWORKS), "Network whose addresses the gateway listens on.", "edge"),
        "port": Field(PORT, "Port of the gateway.", 443),
        "monitor_port": Field(
            PORT, "Port on the management network for the hosts of vllm_monitors; no such listener when left out."
        ),
        "server_name": Field(HOST_NAME, "Name in the gateway's certificate.", required=True),
        "routes": Field(
            ListOf(NAME, 1), "Groups of routes to pass; see docs/routes.md.", ["models", "chat", "completions"]
        ),
        "tls": Field(TLS, "Certificate and key of the gateway.", required=True),
        "syslog": Field(Boolean(), "Whether the access log goes to the host's own syslog (/dev/log) too.", False),
        "limits": Field(LIMITS, "Limits of every request.", {}),
        "balancing": Field(
            Choice(("least_connections", "tenant", "session")),
            "Which engine takes a request: the least busy one, one for each tenant, or one for each value of a tenant's "
            "header X-Session-ID (both by consistent hashing, for prefix caches).",
            "least_connections",
        ),
        "cors_origins": Field(ListOf(ORIGIN), "Origins whose pages may call the service from browsers.", []),
    },
)

TENANT_KEY = Record(
    "a key",
    {
        "id": Field(NAME, "Name of the key in logs.", required=True),
        "file": Field(KEY_PATH, "File on the controller that holds the key; one below secrets_directory by default."),
        "sha256": Field(DIGEST, "Digest of a key that is kept elsewhere."),
        "value": Field(SECRET, "The key itself, from a vault."),
        "expires": Field(EXPIRY, "Day or moment from which on the key is refused."),
    },
)

TENANT = Record(
    "a tenant",
    {
        "name": Field(NAME, "Name of the tenant in logs and limits.", required=True),
        "keys": Field(ListOf(TENANT_KEY, 1), "Keys of the tenant.", required=True),
        "routes": Field(ListOf(NAME, 1), "Groups of routes it may use; all of gateway.routes when left out."),
        "from": Field(ListOf(ADDRESS_BLOCK, 1), "Networks its keys are good from; anywhere when left out."),
        "certificate": Field(
            SUBJECT, "Subject of the client certificate without which its keys are refused (case does not matter)."
        ),
        "requests_per_second": Field(Integer(1, 100_000), "Requests a second.", 10),
        "burst": Field(Integer(0, 100_000), "Requests above the rate that are let through at once.", 20),
        "concurrent": Field(Integer(1, 65_535), "Requests at the same time.", 16),
        "body_bytes": Field(BODY, "Largest request body of this tenant; the route's own limit holds too."),
    },
)
