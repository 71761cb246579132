"""What a lab is made of: one YAML file, checked before anything is built."""

from __future__ import annotations

import hashlib
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lab.errors import LabError
from lab.paths import SHARED_NAMES, read_text

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
# An interface name has 15 characters at most and the lab appends a digit.
NetworkName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,13}$")]
NodeName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")]
GroupName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
MODELS = Literal["tiny", "smollm2", "llava"]
IMAGES = Literal["bookworm", "trixie", "quadlet"]

FIRST_HOST_NUMBER = 11


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NodeSpec(_Strict):
    """One node. ``number`` is its host number in every network (counted up from 11 when left out)."""

    name: NodeName
    image: IMAGES = "bookworm"
    networks: list[NetworkName] = Field(min_length=1)
    groups: list[GroupName] = Field(default_factory=list)
    number: int | None = Field(default=None, ge=2, le=99)
    engine: bool = False
    # Has container images with vLLM for a registry to serve.
    registry: bool = False
    # Has wheels of vLLM and of all it needs, as an index of one's own would.
    wheels: bool = False


class NetworkSpec(_Strict):
    """One isolated network: an IPv4 subnet, an IPv6 subnet, or one of each."""

    subnets: list[Network] = Field(min_length=1, max_length=2)

    @model_validator(mode="after")
    def _one_of_each(self) -> NetworkSpec:
        if len({subnet.version for subnet in self.subnets}) != len(self.subnets):
            raise ValueError("give at most one IPv4 and one IPv6 subnet")
        for subnet in self.subnets:
            if subnet.num_addresses < 128:
                raise ValueError(f"{subnet} is too small: /25 or larger is needed (IPv6: /121)")
        return self


class TlsSpec(_Strict):
    """The server certificate: the node it is for (its addresses become names too) and its DNS names."""

    node: NodeName
    names: list[str] = Field(min_length=1)


class LabSpec(_Strict):
    """A whole lab. ``models`` are built before the nodes and mounted read-only into the engine nodes."""

    name: NodeName
    networks: dict[NetworkName, NetworkSpec] = Field(min_length=1)
    management: NetworkName = "management"
    nodes: list[NodeSpec] = Field(min_length=1)
    models: list[MODELS] = Field(default_factory=list)
    tls: TlsSpec | None = None

    @model_validator(mode="after")
    def _consistent(self) -> LabSpec:
        if self.name in SHARED_NAMES:
            raise ValueError(f"name: '{self.name}' is taken by the lab's own files; choose another")
        names = [node.name for node in self.nodes]
        if doubled := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"nodes: {', '.join(doubled)} named more than once")
        for node in self.nodes:
            if unknown := [network for network in node.networks if network not in self.networks]:
                raise ValueError(f"nodes: {node.name} is on {', '.join(unknown)}, which networks does not define")
        numbers = list(self.numbers.values())
        if len(set(numbers)) != len(numbers):
            raise ValueError("nodes: two nodes have the same number; numbers are counted up from 11 where not given")
        if self.tls and self.tls.node not in names:
            raise ValueError(f"tls.node: there is no node '{self.tls.node}'")
        subnets = [subnet for network in self.networks.values() for subnet in network.subnets]
        for index, subnet in enumerate(subnets):
            for other in subnets[index + 1 :]:
                if overlap(subnet, other):
                    raise ValueError(f"networks: {subnet} and {other} overlap")
        return self

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Host number of every node."""
        return {
            node.name: node.number if node.number is not None else FIRST_HOST_NUMBER + index
            for index, node in enumerate(self.nodes)
        }

    @property
    def needs_vllm(self) -> bool:
        """Whether any node wants the shared vLLM environment."""
        return any(node.engine for node in self.nodes)

    @property
    def needs_images(self) -> bool:
        """Whether any node serves container images with vLLM."""
        return any(node.registry for node in self.nodes)

    @property
    def needs_wheels(self) -> bool:
        """Whether any node has the wheels of vLLM."""
        return any(node.wheels for node in self.nodes)

    def node(self, name: str) -> NodeSpec:
        """Return the node of this name; LabError when there is none."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise LabError(
            f"lab '{self.name}' has no node '{name}'", f"choose one of: {', '.join(node.name for node in self.nodes)}"
        )

    def addresses(self, node: NodeSpec, network: str) -> list[Address]:
        """Return a node's addresses on a network, in the order of its subnets."""
        return [host_address(subnet, self.numbers[node.name]) for subnet in self.networks[network].subnets]

    def reached_by(self, node: NodeSpec) -> Address:
        """Return the address the controller uses: on the management network where the node has a leg there."""
        network = self.management if self.management in node.networks else node.networks[0]
        return self.addresses(node, network)[0]


def overlap(one: Network, other: Network) -> bool:
    """Tell whether two subnets share an address; subnets of different versions never do."""
    if isinstance(one, IPv4Network):
        return isinstance(other, IPv4Network) and one.overlaps(other)
    return isinstance(other, IPv6Network) and one.overlaps(other)


def host_address(subnet: Network, number: int) -> Address:
    """Return the address of a host number: 11 in 10.0.0.0/24 is 10.0.0.11, in fd00::/64 it is fd00::11."""
    return subnet[number] if subnet.version == 4 else subnet[int(str(number), 16)]


def controller_address(subnet: Network) -> Address:
    """Return the address this machine has in a lab's subnet."""
    return subnet[1]


def interface_name(network: str) -> str:
    """Return the name of the interface that every node has on a network."""
    return f"{network}0"


def digest(*parts: str) -> str:
    """Return twelve hexadecimal digits that stand for these texts."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def load(path: Path) -> LabSpec:
    """Read and check a lab's file; LabError names every field that is wrong."""
    text = read_text(path, "give the path of a lab's YAML file, for example molecule/lab/specs/demo.yml")
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise LabError(f"{path} is not YAML: {error}", "correct the place the message names") from error
    return parse(data, str(path))


def parse(data: object, source: str) -> LabSpec:
    """Check the content of a lab's file; ``source`` names it in errors."""
    try:
        return LabSpec.model_validate(data)
    except ValidationError as error:
        found = [
            f"{'.'.join(map(str, problem['loc'])) or 'the file'}: {problem['msg']} (found: {problem['input']!r:.80})"
            for problem in error.errors()
        ]
        raise LabError(f"{source} does not describe a lab", "correct the fields above", "\n".join(found)) from error
