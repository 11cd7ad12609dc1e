"""What the admin wrote, as frozen values. Made only by `cluster.load`; nothing here reads text.

MACs are strings in one spelling (`00:25:90:c0:f7:80`), addresses are `ipaddress` values. Every default has been
filled in: no reader of these values asks "and if it is missing?", except where a field's type says `| None`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network


class Role(StrEnum):
    ETCD = "etcd"
    MASTER = "master"
    FLANNEL = "flannel"
    WORKER = "worker"
    INGRESS = "ingress"
    CEPH_MON = "ceph-mon"
    CEPH_OSD = "ceph-osd"


class DhcpMode(StrEnum):
    AUTHORITATIVE = "authoritative"
    RESERVATIONS = "reservations"
    PROXY = "proxy"
    OFF = "off"


class UnknownPolicy(StrEnum):
    """What a machine that is not in the file gets (design.md rule 2)."""

    IGNORE = "ignore"
    DISCOVER = "discover"
    WORKER = "worker"


class LocalBoot(StrEnum):
    """How a machine that is installed, and boots over the network all the same, gets to its disk.

    What each does is in `boot.local_disk`.
    """

    AUTO = "auto"
    NO_FILE = "no-file"
    REFUSED_FILE = "refused-file"
    NO_OFFER = "no-offer"
    FIRST_DISK = "first-disk"
    NEXT_ENTRY = "next-entry"
    EXIT = "exit"
    HTTP_404 = "http-404"


class OsFamily(StrEnum):
    FLATCAR = "flatcar"
    FEDORA_COREOS = "fedora-coreos"
    DEBIAN = "debian"


class Provision(StrEnum):
    CLOUD_CONFIG = "cloud-config"
    IGNITION = "ignition"


class Arch(StrEnum):
    AMD64 = "amd64"
    ARM64 = "arm64"


@dataclass(frozen=True, slots=True)
class AddressRange:
    """First and last address, both included."""

    first: IPv4Address
    last: IPv4Address

    def __contains__(self, address: IPv4Address) -> bool:
        return self.first <= address <= self.last

    def __len__(self) -> int:
        return int(self.last) - int(self.first) + 1


@dataclass(frozen=True, slots=True)
class Subnet:
    """One network we give addresses on: our own link, or one behind a relay."""

    network: IPv4Network
    routers: tuple[IPv4Address, ...]
    range: AddressRange | None
    "Addresses for machines without a fixed one; None: reservations only."


@dataclass(frozen=True, slots=True)
class Dhcp:
    mode: DhcpMode
    lease_s: int
    "Lease time in seconds."


@dataclass(frozen=True, slots=True)
class Dns:
    upstream: tuple[IPv4Address, ...]
    "Forwarders; empty: only the cluster's own names are answered."
    records: Mapping[str, IPv4Address]
    "Extra host names, relative to the domain (`nas`) or ending in a dot."


@dataclass(frozen=True, slots=True)
class Ntp:
    serve: bool
    upstream: tuple[str, ...]
    "Host names or addresses; empty: our own clock at a high stratum."


@dataclass(frozen=True, slots=True)
class Network:
    link: Subnet
    "The subnet this server stands on."
    bootstrapper: IPv4Address
    interface: str | None
    "None: the interface that holds `bootstrapper`."
    more_subnets: tuple[Subnet, ...]
    "Behind relays."
    dhcp: Dhcp
    dns: Dns
    ntp: Ntp

    @property
    def subnets(self) -> tuple[Subnet, ...]:
        return (self.link, *self.more_subnets)

    def find_subnet(self, address: IPv4Address) -> Subnet | None:
        return next((subnet for subnet in self.subnets if address in subnet.network), None)


@dataclass(frozen=True, slots=True)
class Updates:
    strategy: str
    "`off` or `reboot`."
    window_start: str
    window_length: str


@dataclass(frozen=True, slots=True)
class OperatingSystem:
    family: OsFamily
    channel: str
    version: str
    provision: Provision
    timezone: str
    updates: Updates
    kernel_args: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Api:
    host: str
    vip: IPv4Address | None
    port: int


@dataclass(frozen=True, slots=True)
class Kubernetes:
    version: str
    pod_cidr: IPv4Network
    node_cidr_mask: int
    dns_domain: str
    service_cidr: IPv4Network
    dns_ip: IPv4Address
    api: Api
    proxy_mode: str
    max_pods: int
    extra_args: Mapping[str, Mapping[str, str]]
    "Component -> flag without dashes -> value."


@dataclass(frozen=True, slots=True)
class Flannel:
    version: str
    backend: str
    datastore: str


@dataclass(frozen=True, slots=True)
class Registry:
    serve: bool
    port: int
    mirror: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AssetSource:
    """An entry of `assets:`: where a file comes from and how it is proven genuine."""

    url: str
    sha256: str | None
    sha512: str | None
    signature: str | None
    key: str | None = None
    "Who signs: `flatcar`, or the path of a public key, from the description's directory."


@dataclass(frozen=True, slots=True)
class DiskSelector:
    """Which disk to install on; resolved on the machine (design.md rule 5). All None: the only non-removable disk."""

    path: str | None = None
    wwn: str | None = None
    serial: str | None = None
    model: str | None = None
    min_bytes: int | None = None
    max_bytes: int | None = None
    rotational: bool | None = None
    transport: str | None = None


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface of the installed system beyond the boot card's plain DHCP address."""

    name: str
    kind: str
    "`physical`, `bond` or `vlan`."
    mac: str | None
    addresses: tuple[str, ...]
    "In CIDR form, `10.20.0.11/24`."
    gateway: IPv4Address | None
    mtu: int | None
    bond_mode: str | None
    members: tuple[str, ...]
    "A bond's member interfaces."
    vlan_id: int | None
    parent: str | None
    "A VLAN's parent interface."


@dataclass(frozen=True, slots=True)
class Bmc:
    address: str
    user: str | None


@dataclass(frozen=True, slots=True)
class Hardware:
    """What the admin says a machine is made of: for advice and for the lab's virtual machines."""

    cpus: int | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    macs: tuple[str, ...]
    "The identity; the first one names the machine in state and URLs."
    host: str
    "Short host name; the MAC with dashes when the file gives none."
    ip: IPv4Address | None
    roles: frozenset[Role]
    "As written, plus those implied (`flannel` by master and worker, `worker` by ingress on a non-master)."
    profile: str | None
    uuid: str | None
    serial: str | None
    disk: DiskSelector
    data_disk: DiskSelector | None
    interfaces: tuple[Interface, ...]
    labels: Mapping[str, str]
    taints: tuple[str, ...]
    "`key=value:Effect`."
    os: OperatingSystem
    "Resolved: machine over profile over the file's `os`, with `kernel_args` of all levels joined."
    arch: Arch
    console: str | None
    bmc: Bmc | None
    line: int = field(compare=False)
    "Where the machine stands in the file; moving a machine there does not change it."
    hardware: Hardware = Hardware()
    local_boot: LocalBoot = LocalBoot.AUTO

    @property
    def mac(self) -> str:
        return self.macs[0]


@dataclass(frozen=True)
class Cluster:
    name: str
    domain: str
    network: Network
    os: OperatingSystem
    kubernetes: Kubernetes
    etcd_version: str
    flannel: Flannel
    containerd_version: str
    "`os`, or a version to install."
    registry: Registry
    assets: Mapping[str, AssetSource]
    addons: tuple[str, ...]
    ssh_authorized_keys: tuple[str, ...]
    unknown_machines: UnknownPolicy
    machines: tuple[Machine, ...]
    file: str = field(default="", compare=False)
    lines: Mapping[str, int] = field(default_factory=dict, compare=False, repr=False)
    "Line of each key that is written above `machines`, by its path (`network.dhcp.lease`); for advice."

    @cached_property
    def by_mac(self) -> Mapping[str, Machine]:
        """Every MAC of every machine, for look-ups that cost one dictionary access."""
        return {mac: machine for machine in self.machines for mac in machine.macs}

    @cached_property
    def by_host(self) -> Mapping[str, Machine]:
        return {machine.host: machine for machine in self.machines}

    @cached_property
    def by_ip(self) -> Mapping[IPv4Address, Machine]:
        """Those whose address is in the description."""
        return {machine.ip: machine for machine in self.machines if machine.ip is not None}

    @cached_property
    def hosts(self) -> Mapping[str, str]:
        """Host name of each MAC."""
        return {mac: machine.host for mac, machine in self.by_mac.items()}

    def prepare(self) -> None:
        """Make these tables now: processes that are forked then share them, instead of each making its own, and, by
        counting references, a copy of the machines as well."""
        _ = (self.by_mac, self.by_host, self.by_ip, self.hosts)

    def with_role(self, role: Role) -> tuple[Machine, ...]:
        return tuple(machine for machine in self.machines if role in machine.roles)

    def fqdn(self, machine: Machine) -> str:
        return f"{machine.host}.{self.domain}"
