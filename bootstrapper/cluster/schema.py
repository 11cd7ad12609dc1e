"""The one table of keys: name, kind of value, default, and what it is for.

`load` reads by it, the JSON schema for editors and the page docs/description.md are checked against it. A default is
written as the admin would write it; one that follows from other keys is told in `derived` and filled in by `load`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypeAlias

from bootstrapper.cluster import fields as f
from bootstrapper.cluster.model import Arch, DhcpMode, LocalBoot, OsFamily, Provision, Role, UnknownPolicy

Default: TypeAlias = str | tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Word:
    """One scalar."""

    parse: Callable[[str], Any]
    expects: str
    "For a reader of the docs, and for a value that is not a scalar at all."
    json: Mapping[str, Any] = field(default_factory=dict)
    "What an editor can check."


@dataclass(frozen=True, slots=True)
class Many:
    """A list."""

    item: Kind
    least: int = 0
    finish: Callable[[tuple[Any, ...]], tuple[Any, ...]] | None = None
    "Puts right what YAML makes of the usual spelling."


@dataclass(frozen=True, slots=True)
class Named:
    """A mapping whose keys the admin makes up."""

    key: Word
    value: Kind


@dataclass(frozen=True)
class Group:
    """A mapping whose keys are ours."""

    keys: tuple[Key, ...]

    @cached_property
    def by_name(self) -> Mapping[str, Key]:
        return MappingProxyType({key.name: key for key in self.keys})


Kind: TypeAlias = Word | Many | Named | Group


@dataclass(frozen=True, slots=True)
class Key:
    name: str
    kind: Kind
    help: str
    default: Default = None
    required: bool = False
    derived: str = ""
    "Where the default comes from, when it follows from something else."


def _choice(*words: str) -> Word:
    plain = [str(word) for word in words]
    return Word(f.choice(*plain), " or ".join(plain), {"enum": plain})


def _number(least: int, most: int) -> Word:
    expects = f"a whole number from {least} to {most}"
    return Word(f.number(least, most), expects, {"type": "integer", "minimum": least, "maximum": most})


def _form(pattern: str, expects: str) -> Word:
    return Word(f.matching(pattern, expects), expects, {"pattern": f"^(?:{pattern})$"})


TEXT = Word(f.parse_text, "one line of text")
WORD = Word(f.parse_word, "one word", {"pattern": r"^\S+$"})
BOOLEAN = Word(f.parse_boolean, "true or false", {"type": "boolean"})
ADDRESS = Word(f.parse_address, "an IPv4 address", {"pattern": r"^[0-9]+(\.[0-9]+){3}$"})
NETWORK = Word(f.parse_network, "a network such as 10.10.14.0/24", {"pattern": r"^[0-9]+(\.[0-9]+){3}/[0-9]+$"})
RANGE = Word(f.parse_range, "a range such as 10.10.14.100-10.10.14.199", {"pattern": r"^[0-9.]+ *- *[0-9.]+$"})
MAC = Word(f.parse_mac, "a MAC address", {"pattern": r"^[0-9A-Fa-f]{2}([:.-]?[0-9A-Fa-f]{2}){5}$"})
HOST = Word(f.parse_host, "a host name", {"pattern": r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"})
DOMAIN = Word(f.parse_domain, "a domain name")
SERVER = Word(f.parse_server, "a host name or an IPv4 address")
DURATION = {"pattern": r"^([0-9]+[dhms])+$"}
LEASE = Word(f.parse_lease, "a lease time such as 12h", DURATION)
SIZE = Word(f.parse_bytes_size, "a size such as 480G", {"pattern": r"^[0-9]+([KMGTP]i?)?B?$"})
VERSION = _form(r"[0-9]+\.[0-9]+\.[0-9]+", "a version such as 1.35.8, without a leading v")
LABELS = Named(Word(f.parse_label_key, "a label key"), Word(f.parse_label_value, "a label value"))
TAINT = Word(f.parse_taint, "a taint such as dedicated=storage:NoSchedule")
KERNEL_ARGS = Many(WORD, finish=f.join_kernel_args)
PORT = _number(1, 65535)
INTERFACE_NAME = _form(r"[A-Za-z0-9_.-]{1,15}", "an interface's name such as eth1")
ADDON_NAME = _form(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", "the name of a folder below templates/addons")

DISK = Group((
    Key("path", Word(f.parse_device, "a device's path", {"pattern": "^/dev/"}), "A path that stays: by-id or by-path."),
    Key("wwn", WORD, "The disk's world wide name."),
    Key("serial", TEXT, "The disk's serial number."),
    Key("model", TEXT, "The disk's model."),
    Key("size", Word(f.parse_size_range, "a size such as >=100G"), "`>=100G`, `<=2T`, `400G-500G`, or about `480G`."),
    Key("rotational", BOOLEAN, "false: only SSDs."),
    Key("transport", _choice("nvme", "sata", "ata", "sas", "usb", "virtio", "fc", "iscsi"), "How it is connected."),
))  # fmt: skip

UPDATES = Group((
    Key("strategy", Word(f.parse_update_strategy, "off or reboot", {"enum": ["off", "reboot"]}),
        "off: never by itself; reboot: in the window.", "off"),
    Key("window_start", _form(r"((Mon|Tue|Wed|Thu|Fri|Sat|Sun) )?([01][0-9]|2[0-3]):[0-5][0-9]",
        "a time such as 04:00 or Thu 04:00"), "When the window opens: `Thu 04:00`, or `04:00` for every day.",
        "Thu 04:00"),
    Key("window_length", Word(f.parse_window_length, "a duration such as 3h", DURATION), "How long it stays open.",
        "3h"),
))  # fmt: skip

OS = Group((
    Key("family", _choice(*OsFamily), "The operating system.", "flatcar"),
    Key("channel", _choice("stable", "beta", "alpha", "lts", "testing", "next"), "The family's release channel.",
        "stable"),
    Key("version", _form(r"[0-9]+(\.[0-9]+){0,3}", "an exact version such as 4593.2.5"),
        "The exact version to install, so that every machine gets the same.",
        derived="the newest release known for the family"),
    Key("provision", _choice(*Provision), "How the installed system reads its configuration.",
        derived="ignition for fedora-coreos, else cloud-config"),
    Key("timezone", _form(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+){0,2}", "a time zone such as Etc/UTC"),
        "A name of the tz database.", "Etc/UTC"),
    Key("updates", UPDATES, "Updates of the system by itself."),
    Key("kernel_args", KERNEL_ARGS, "For the installer and for the installed system; those of all levels are joined."),
))  # fmt: skip

INTERFACE = Group((
    Key("name", INTERFACE_NAME, "Its name in the installed system.", required=True),
    Key("kind", _choice("physical", "bond", "vlan"), "What it is.",
        derived="bond with `members`, vlan with `vlan_id`, else physical"),
    Key("mac", MAC, "The card that gets this name."),
    Key("addresses", Many(Word(f.parse_interface_address, "an address such as 10.20.0.11/24")),
        "Static addresses with their prefix lengths."),
    Key("gateway", ADDRESS, "A router on it, beside the boot card's default route."),
    Key("mtu", _number(576, 9216), "The largest packet in bytes; 9000 for jumbo frames."),
    Key("bond_mode", _choice("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb",
        "balance-alb"), "How a bond uses its members.", derived="802.3ad for a bond"),
    Key("members", Many(INTERFACE_NAME), "A bond's interfaces."),
    Key("vlan_id", _number(1, 4094), "A VLAN's number."),
    Key("parent", INTERFACE_NAME, "The interface a VLAN lies on."),
))  # fmt: skip

HARDWARE = Group((
    Key("cpus", _number(1, 4096), "Processors, for advice and for the lab."),
    Key("memory", SIZE, "Memory, `32Gi`; for advice and for the lab."),
))  # fmt: skip

BMC = Group((
    Key("address", SERVER, "The management controller's address."),
    Key("user", TEXT, "The user to log in as; passwords never stand in this file."),
))  # fmt: skip

SHARED_KEYS = (
    Key("disk", DISK, "Which disk to install on.", derived="the only non-removable disk"),
    Key("data_disk", DISK, "A second disk, mounted for containerd and the kubelet."),
    Key("labels", LABELS, "Labels of the Kubernetes node."),
    Key("taints", Many(TAINT), "Taints of the Kubernetes node, `key=value:Effect`."),
    Key("kernel_args", KERNEL_ARGS, "For the installer and for the installed system; those of all levels are joined."),
    Key("arch", _choice(*Arch), "The processor's architecture.", derived="amd64"),
    Key("console", _form(r"tty[A-Za-z0-9]+(,[0-9]+[noe]?[5-8]?r?)?", "a console such as ttyS0,115200n8"),
        "The console that the installer and the system also write to."),
    Key("local_boot", _choice(*LocalBoot), "How an installed machine that boots over the network gets to its disk, "
        "where its firmware does not go on by itself.", derived="auto: what suits its firmware"),
    Key("bmc", BMC, "The machine's management controller."),
    Key("hardware", HARDWARE, "What the machine is made of, where the admin wants to say it."),
)  # fmt: skip
"May be set for all machines (top level), on a profile, on a machine; the last one wins, mapping keys one by one."

PROFILE_KEYS = (
    Key("roles", Many(_choice(*Role), least=1), "What the machine does; any sensible mix."),
    Key("os", OS, "Where it differs from the file's `os`."),
    Key("interfaces", Many(INTERFACE), "Bonds, VLANs, static addresses and MTU beyond the boot card."),
    *SHARED_KEYS,
)  # fmt: skip

MACHINE = Group((
    Key("mac", MAC, "The identity: the card it boots from, in any usual spelling."),
    Key("macs", Many(MAC, least=1), "The same for several cards; the first one names the machine."),
    Key("host", HOST, "The host name, without the domain.", derived="the MAC with dashes"),
    Key("ip", ADDRESS, "Its fixed address; required for etcd and master.", derived="kept from the pool"),
    Key("uuid", Word(f.parse_uuid, "a UUID"), "The firmware's UUID; when given it must match."),
    Key("serial", TEXT, "The machine's serial number; when given it must match."),
    Key("profile", WORD, "A name in `profiles`; keys of the machine win."),
    *PROFILE_KEYS,
))  # fmt: skip

SUBNET = Group((
    Key("subnet", NETWORK, "The network behind the relay.", required=True),
    Key("routers", Many(ADDRESS, least=1), "Its routers; machines there reach us through the first.", required=True),
    Key("range", RANGE, "For machines there without a fixed address."),
))  # fmt: skip

NETWORK_GROUP = Group((
    Key("subnet", NETWORK, "The network that this server stands on.", required=True),
    Key("bootstrapper", ADDRESS, "This server's address on it.", required=True),
    Key("routers", Many(ADDRESS), "Default routers; [] for a network that leads nowhere.", required=True),
    Key("interface", INTERFACE_NAME, "Where to serve.", derived="the one that holds `bootstrapper`"),
    Key("dhcp", Group((
        Key("mode", _choice(*DhcpMode), "authoritative: every address is ours to give; reservations: only to machines "
            "with an `ip`; proxy: another server gives addresses, we add the boot files; off.", "authoritative"),
        Key("range", RANGE, "Addresses for machines without a fixed one."),
        Key("lease", LEASE, "How long an address is lent.", "12h"),
    )), "How addresses are given."),
    Key("dns", Group((
        Key("upstream", Many(ADDRESS), "Forwarders; empty: answer for the cluster's names only.", ()),
        Key("records", Named(Word(f.parse_record, "a host name"), ADDRESS), "More names, relative to the domain."),
    )), "The name server."),
    Key("ntp", Group((
        Key("serve", BOOLEAN, "Serve the time to the machines.", "true"),
        Key("upstream", Many(SERVER), "Where we take it from; empty: our own clock.", ()),
    )), "The time server."),
    Key("more_subnets", Many(SUBNET), "Networks behind DHCP relays."),
))  # fmt: skip

FLAGS = Named(Word(f.parse_flag, "a flag without dashes"), Word(f.parse_flag_value, "a flag's value"))
COMPONENTS = (
    "kubelet",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "etcd",
    "flanneld",
)

KUBERNETES = Group((
    Key("version", VERSION, "The exact version.", "1.35.8"),
    Key("pod_cidr", NETWORK, "The pods' network. It cannot be changed later.", "10.244.0.0/16"),
    Key("node_cidr_mask", _number(8, 30), "Each node's share of it, as a prefix length.", "24"),
    Key("dns_domain", DOMAIN, "The cluster's inner domain.", "cluster.local"),
    Key("service_cidr", NETWORK, "The services' network. It cannot be changed later.", "10.96.0.0/16"),
    Key("dns_ip", ADDRESS, "The cluster DNS's address.", derived="the 10th address of `service_cidr`"),
    Key("api", Group((
        Key("host", DOMAIN, "The API's name.", derived="k8s.DOMAIN"),
        Key("vip", ADDRESS, "A virtual address held by the masters.",
            derived="none: one master's own address, or a local balancer on every node"),
        Key("port", PORT, "The API's port.", "6443"),
    )), "Where the API is reached."),
    Key("proxy_mode", _choice("nftables", "iptables", "ipvs"), "How kube-proxy works.", "nftables"),
    Key("max_pods", _number(1, 4000), "The most pods on one node.", "110"),
    Key("extra_args", Group(tuple(Key(name, FLAGS, f"Flags for {name}.") for name in COMPONENTS)),
        "More flags, by component, without dashes."),
))  # fmt: skip

ASSET = Group((
    Key("url", Word(f.parse_url, "an http:// or https:// URL", {"format": "uri"}), "Where it comes from.",
        required=True),
    Key("sha256", _form("[0-9A-Fa-f]{64}", "64 hexadecimal digits"), "Its SHA-256."),
    Key("sha512", _form("[0-9A-Fa-f]{128}", "128 hexadecimal digits"), "Its SHA-512."),
    Key("signature", Word(f.parse_url, "an http:// or https:// URL"), "The URL of its detached signature."),
    Key("key", WORD, "Who signs: the path, from this file, of an OpenPGP public key; flatcar: Flatcar's own."),
))  # fmt: skip

ADDONS = ("coredns",)
"What we bring up in the cluster unless the description says otherwise."

DESCRIPTION = Group((
    Key("version", _choice("1"), "The version of this file's format.", required=True),
    Key("cluster", Group((
        Key("name", HOST, "The cluster's name; also the etcd token and the kubeconfig's cluster.", required=True),
        Key("domain", DOMAIN, "Machines are HOST.domain.", required=True),
    )), "The cluster.", required=True),
    Key("network", NETWORK_GROUP, "The provisioning network.", required=True),
    Key("os", OS, "The operating system of every machine."),
    Key("kubernetes", KUBERNETES, "The Kubernetes cluster."),
    Key("etcd", Group((
        Key("version", VERSION, "The exact version.", derived="the one that fits the Kubernetes version"),
    )), "The cluster's etcd."),
    Key("flannel", Group((
        Key("version", VERSION, "The exact version.", "0.28.9"),
        Key("backend", _choice("host-gw", "vxlan", "wireguard", "udp"), "How pods' packets travel between machines.",
            "vxlan"),
        Key("datastore", _choice("kubernetes", "etcd"), "Where flannel keeps each machine's share.", "kubernetes"),
    )), "The pod network."),
    Key("containerd", Group((
        Key("version", _form(r"os|[0-9]+\.[0-9]+\.[0-9]+", "os, or a version such as 2.3.4"),
            "os: the one the system has; or a version to install.", "os"),
    )), "The container runtime."),
    Key("registry", Group((
        Key("serve", BOOLEAN, "Serve images to the machines.", "true"),
        Key("port", PORT, "On this port.", "5000"),
        Key("mirror", Many(Word(f.parse_registry, "a registry's host name")), "The registries kept here.",
            ("registry.k8s.io", "ghcr.io", "quay.io", "docker.io")),
    )), "The image registry."),
    Key("assets", Named(_form(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,62}(/[A-Za-z0-9_+-][A-Za-z0-9._+-]{0,127}){0,7}",
                         "a component such as etcd, or a name below /assets"), ASSET),
        "Adds to or overrides the built-in catalogue of downloads."),
    Key("addons", Many(ADDON_NAME), "What runs in the cluster from the start: folders below templates/addons.", ADDONS),
    Key("ssh_authorized_keys", Many(Word(f.parse_ssh_key, "an SSH public key")), "Who may log in.", ()),
    Key("unknown_machines", _choice(*UnknownPolicy), "What a machine that is not in this file gets: ignore: nothing; "
        "discover: an address; worker: the same, and a worker once an admin approves it.", "ignore"),
    *SHARED_KEYS,
    Key("profiles", Named(HOST, Group(PROFILE_KEYS)), "Named sets of machine keys."),
    Key("machines", Many(MACHINE, least=1), "The machines.", required=True),
))  # fmt: skip
