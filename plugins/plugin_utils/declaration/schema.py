# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The declaration: every key of ``vllm_cluster`` and ``vllm_node``, its kind, its default and what it means.

Validation, the planner's defaults and docs/declaration.md all come from here.
"""

from __future__ import annotations

from .gateway_schema import GATEWAY, TENANT
from .kinds import Choice, Field, Integer, ListOf, MapOf, Record, Scalar, Text
from .topology_schema import BETWEEN, PLACEMENT, RAY, STAGE, TOPOLOGY
from .upstream import UPSTREAM
from .words import (
    ADDRESS,
    ADDRESS_BLOCK,
    CONTROLLER_PATH,
    DATE,
    DEVICE,
    DIGEST,
    FLAG,
    HOST_NAME,
    HTTPS_URL,
    IMAGE,
    IP_ADDRESS,
    NAME,
    NETWORKS,
    PATH,
    PORT,
    PORTS,
    PURPOSE,
    RULE,
    VARIABLE,
)

NETWORK = Record(
    "a network",
    {
        "cidrs": Field(ListOf(ADDRESS_BLOCK, 1), "The address blocks of this network, IPv4 and IPv6.", required=True),
    },
)

FABRIC = Record(
    "the fabric",
    {
        **NETWORK.fields,
        "rdma_isolated_by": Field(
            PURPOSE,
            "What keeps others off the RDMA traffic, which no firewall of a host sees; needed with RDMA devices.",
        ),
    },
)

SOURCE = Record(
    "a model's source",
    {
        "repository": Field(
            Text("a repository such as owner/name", r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}"),
            "Repository on the hub.",
            required=True,
        ),
        "revision": Field(
            Text("a commit of 40 lower-case hexadecimal digits, no branch or tag", r"[0-9a-f]{40}"),
            "Commit of the repository.",
            required=True,
        ),
        "endpoint": Field(HTTPS_URL, "The hub, or a mirror that speaks as it does.", "https://huggingface.co"),
        "hosts": Field(
            ListOf(HOST_NAME),
            "Further hosts the hub may send a node to for its files; the token does not go there.",
            ["cas-bridge.xethub.hf.co", "cdn-lfs.hf.co", "cdn-lfs-us-1.hf.co", "cdn-lfs-eu-1.hf.co"],
        ),
        "token_file": Field(
            CONTROLLER_PATH,
            "File on the controller that holds a token for the hub; ansible-vault may have encrypted it.",
        ),
        "digest": Field(
            DIGEST,
            "What engine_model returned as digest for this revision: SHA-256 over what sha256sum prints for all files. Without it the hub is "
            "believed which files belong to the revision.",
        ),
        "timeout_seconds": Field(Integer(60, 604_800), "How long fetching may take as a whole.", 21_600),
    },
)

MODEL = Record(
    "model",
    {
        "path": Field(
            PATH, "Directory of the model on the engine nodes, brought there by you. Either this or source is needed."
        ),
        "source": Field(
            SOURCE,
            "Where nodes fetch the model from, once, before an engine starts; weights in safetensors only. Nothing is fetched at run time.",
        ),
        "name": Field(
            Text("a model name", r"[A-Za-z0-9][A-Za-z0-9._/-]{0,95}"), "Name clients ask for.", required=True
        ),
        "modalities": Field(
            ListOf(Choice(("text", "image", "audio", "video")), 1), "What the model takes as input.", ["text"]
        ),
    },
)

INSTALL = Record(
    "install",
    {
        "method": Field(
            Choice(("index", "existing", "image")),
            "index: an exact release into a virtual environment of its own; existing: an interpreter that has vLLM; image: a container image "
            "by digest, as a rootful Quadlet of podman.",
            "index",
        ),
        "python": Field(
            PATH,
            "existing: the interpreter; index: the one to make the environment with; image: the one in the image that has vLLM.",
            "/usr/bin/python3",
        ),
        "image": Field(
            IMAGE,
            "Container image by digest, with its registry: registry.example.org/vllm/vllm-openai@sha256:... A tag can be moved to another "
            "image, so none is taken.",
        ),
        "image_archive": Field(
            CONTROLLER_PATH,
            "OCI archive of that image on the controller, for nodes without a registry: skopeo copy --preserve-digests docker://IMAGE "
            "oci-archive:FILE.",
        ),
        "registry_auth": Field(
            CONTROLLER_PATH,
            "File on the controller as podman login writes it (containers-auth.json), for a registry that asks who pulls; ansible-vault may have "
            "encrypted it.",
        ),
        "package": Field(
            Text("a distribution name", r"[A-Za-z0-9][A-Za-z0-9._-]*"), "Distribution to install.", "vllm"
        ),
        "index_url": Field(
            Text("a URL", r"https?://[!-~]+"), "Package index; the node's own pip configuration when unset."
        ),
        "index_hosts": Field(
            ListOf(HOST_NAME),
            "Hosts beside the index's own that its pages send pip to (those of pypi.org are known), or beside the registry's that have its layers. "
            "Nobody else may be called meanwhile.",
            [],
        ),
        "find_links": Field(PATH, "Directory of wheels on the node; no index is asked when it is set."),
        "requirements": Field(ListOf(Text("a pinned requirement", r"[^\s=]+==\S+")), "Further exact pins.", []),
        "lock": Field(
            CONTROLLER_PATH,
            "Requirements file on the controller with an exact pin and SHA-256 hashes for every package; nothing else is installed.",
        ),
        "bundle": Field(
            CONTROLLER_PATH,
            "Directory on the controller that the playbook bundle made; nodes get their wheels from there and ask no index.",
        ),
        "bytes_needed": Field(
            Integer(0, 10**15), "Free space asked for before an installation starts.", 15_000_000_000
        ),
    },
)

ENGINE = Record(
    "engine",
    {
        "port": Field(PORT, "Port of vLLM's HTTP server on the fabric address, with listener tcp.", 8000),
        "master_port": Field(PORT, "Port of the torch.distributed rendezvous.", 29501),
        "data_parallel_port": Field(PORT, "Port of the data parallel handshake.", 29550),
        "ephemeral_ports": Field(PORTS, "Range the kernel takes ports from; opened between peers only.", "40000-44999"),
        **UPSTREAM,
        **PLACEMENT,
        "ray": Field(RAY, "Ports of the Ray cluster, with executor ray.", {}),
        "arguments": Field(MapOf(FLAG, Scalar()), "Further options of vllm serve, passed through; no secrets.", {}),
        "environment": Field(
            MapOf(VARIABLE, Scalar()), "Further environment variables, passed through; no secrets.", {}
        ),
        "max_queued_requests": Field(Integer(1, 10**6), "Requests that may wait in the engine.", 256),
        "max_sequences": Field(Integer(1, 128), "Cap of the request parameter n.", 64),
        "media_items": Field(Integer(1, 999), "Items of each modality one prompt may hold.", 2),
        "devices": Field(ListOf(DEVICE), "Devices the engine may open; none for CPU.", []),
        "memory_max": Field(Text("a size such as 64G", r"[1-9][0-9]*[KMGT]"), "Memory limit of the unit."),
        "ready_timeout_seconds": Field(Integer(10, 86400), "How long an engine may take until its first token.", 900),
    },
)

SERVICE = Record(
    "a service",
    {
        "name": Field(NAME, "Name of the service.", required=True),
        "network": Field(Choice(NETWORKS), "Network it is offered on.", "management"),
        "protocol": Field(Choice(("tcp", "udp")), "Protocol.", "tcp"),
        "port": Field(PORT, "Port.", required=True),
        "from": Field(ListOf(ADDRESS_BLOCK, 1), "Who may reach it.", required=True),
    },
)

ADMIN = Record(
    "admin",
    {
        "ssh_port": Field(PORT, "Port of the SSH server.", 22),
        "ssh_from": Field(ListOf(ADDRESS_BLOCK, 1), "Who may log in over SSH.", required=True),
        "services": Field(ListOf(SERVICE), "Services of yours that stay reachable, such as a node exporter.", []),
    },
)

PROXY = Record(
    "a proxy",
    {
        "address": Field(IP_ADDRESS, "Address of the proxy.", required=True),
        "port": Field(PORT, "Port of the proxy.", required=True),
    },
)

EGRESS = Record(
    "a destination",
    {
        "name": Field(NAME, "Name of the destination.", required=True),
        "to": Field(ListOf(ADDRESS_BLOCK, 1), "Address blocks.", required=True),
        "protocol": Field(Choice(("tcp", "udp")), "Protocol.", "tcp"),
        "port": Field(PORT, "Port.", required=True),
        "purpose": Field(
            Choice(("serve", "install", "model")),
            "serve: the engines may call it, always; install: only the installation of vLLM may, while it runs; model: only what fetches the "
            "model may, while it runs. Once one is declared of such a purpose, nobody else may be called for it, by address, not by port. "
            "Without one an installation calls the hosts of its index alone, one from wheels on the node (install.bundle, or "
            "install.find_links without install.index_url) nobody, and what fetches the model its endpoint and hosts alone.",
            "serve",
        ),
        "why": Field(PURPOSE, "What it is needed for.", required=True),
    },
)

MEDIA = Record(
    "media",
    {
        "allowed_domains": Field(
            ListOf(HOST_NAME), "Hosts a request may name media on. Empty: none, media by URL is refused.", []
        ),
        "resolvers": Field(
            ListOf(IP_ADDRESS),
            "Name servers the proxy on the gateways asks; needed with allowed_domains, unless proxy is set.",
            [],
        ),
        "port": Field(PORT, "Port of that proxy on the gateways' fabric addresses.", 3128),
        "item_megabytes": Field(
            Integer(1, 4096),
            "Largest item got by URL, in MiB. One inside a request is held to gateway.limits.body_bytes.",
            64,
        ),
        "item_seconds": Field(Integer(1, 3600), "Longest time one connection through that proxy may last.", 60),
        "proxy": Field(PROXY, "A forward proxy of your own that leads to those hosts; the gateways then have none."),
    },
)

WAIVER = Record(
    "a waiver",
    {
        "rule": Field(RULE, "Rule, or control with all its rules, that is waived.", required=True),
        "reason": Field(Text("a sentence", r"[^\x00-\x1f]{10,}"), "Why it is acceptable here.", required=True),
        "expires": Field(DATE, "Last day of the waiver.", required=True),
        "hosts": Field(ListOf(Text(), 1), "Hosts it holds for; all of the cluster when left out."),
        "owner": Field(Text(), "Role of who answers for it.", required=True),
    },
)

CLUSTER = Record(
    "vllm_cluster",
    {
        "name": Field(NAME, "Name of the cluster.", required=True),
        "release": Field(
            Text("a release such as 0.32.0", r"[0-9][0-9A-Za-z.+]{0,31}"), "Release of vLLM.", required=True
        ),
        "topology": Field(
            TOPOLOGY,
            "How the nodes of an engine share its work. replicas: each node serves alone; tensor_parallel: every layer is "
            "split over the nodes; pipeline_parallel: each node has some of the layers; data_parallel: each node has the "
            "whole model.",
            required=True,
        ),
        "model": Field(MODEL, "The model to serve.", required=True),
        "networks": Field(
            Record(
                "networks",
                {
                    "fabric": Field(FABRIC, "Between engines, and from gateways to engines.", required=True),
                    "management": Field(NETWORK, "From the operator to every host."),
                    "edge": Field(NETWORK, "From clients to gateways."),
                },
            ),
            "The networks hosts have addresses on.",
            required=True,
        ),
        "install": Field(INSTALL, "How vLLM gets on the nodes.", {}),
        "engine": Field(ENGINE, "The vLLM process.", {}),
        **BETWEEN,
        "media": Field(MEDIA, "Media by URL.", {}),
        "egress": Field(ListOf(EGRESS), "Who may be called besides an engine's peers.", []),
        "gateway": Field(GATEWAY, "The only door for clients.", required=True),
        "tenants": Field(ListOf(TENANT, 1), "Who may use the service.", required=True),
        "admin": Field(ADMIN, "Who may administer the hosts.", required=True),
        "secrets_directory": Field(
            CONTROLLER_PATH, "Directory on the controller for generated secrets; made with mode 0700.", required=True
        ),
        "waivers": Field(ListOf(WAIVER), "Rules and controls accepted for a while: by validation, lint and audit.", []),
    },
)

NODE = Record(
    "vllm_node",
    {
        "addresses": Field(
            Record(
                "addresses", {name: Field(ListOf(ADDRESS, 1), f"Addresses on the {name} network.") for name in NETWORKS}
            ),
            "The host's addresses, by network; the first of a family is the one that is used.",
            required=True,
        ),
        "interfaces": Field(
            Record(
                "interfaces",
                {
                    name: Field(Text("an interface name", r"[A-Za-z0-9._-]{1,15}"), f"Interface on the {name} network.")
                    for name in NETWORKS
                },
            ),
            "Interfaces by network; found by the addresses when left out.",
            {},
        ),
        "stage": STAGE,
        "rank": Field(Integer(0, 100_000), "Rank of this node in its engine; by name when left out."),
    },
)
