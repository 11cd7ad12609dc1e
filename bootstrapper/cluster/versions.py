"""Which versions of Kubernetes, etcd, containerd and the systems go together, and until when they are supported.

Facts of August 2026, from the projects' own release pages. Only what is known not to start is refused: a version newer
than these tables is let through when its minor is known. Tables are at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import NamedTuple, TypeAlias

Version: TypeAlias = tuple[int, ...]


class Refusal(NamedTuple):
    key: str
    "The key to blame, as `kubernetes.version`; for a system only the key below `os`."
    message: str
    hint: str = ""


def parse_version(text: str) -> Version:
    return tuple(int(part) for part in text.split("."))


def minor_of(text: str) -> str:
    return ".".join(text.split(".")[:2])


def refuse_kubernetes(version: str) -> Refusal | None:
    if minor_of(version) in MIN_CONTAINERD:
        return None
    known = ", ".join(MIN_CONTAINERD)
    return Refusal("kubernetes.version", f"expected a version of Kubernetes {known}, found {version}", _age(version))


def _age(version: str) -> str:
    if parse_version(version)[:2] < parse_version(min(MIN_CONTAINERD)):
        return "its support has ended"
    return "it is newer than this bootstrapper: look for a newer one"


def refuse_etcd(version: str) -> Refusal | None:
    if minor_of(version) in ETCD_MINORS and parse_version(version) >= MIN_ETCD:
        return None
    return Refusal("etcd.version", f"expected etcd 3.5.24 or later, of {', '.join(ETCD_MINORS)}, found {version}")


def refuse_containerd(kubernetes: str, containerd: str) -> Refusal | None:
    """A containerd named in the file."""
    if runs_on(kubernetes, containerd):
        return None
    message = f"Kubernetes {kubernetes} does not run on containerd {containerd}: expected {_floors(kubernetes)}"
    return Refusal("containerd.version", message, f"{NEWEST_CONTAINERD} is a good choice")


def refuse_os_containerd(kubernetes: str, family: str, version: str) -> Refusal | None:
    """The containerd a system brings along, where it is known."""
    containerd = find_os_containerd(family, version)
    if containerd is None or runs_on(kubernetes, containerd):
        return None
    message = (
        f"Kubernetes {kubernetes} does not run on containerd {containerd}, which {family} {version} has: "
        f"expected {_floors(kubernetes)}"
    )
    return Refusal("kubernetes.version", message, f"set containerd.version to {NEWEST_CONTAINERD}{_BETTER[family]}")


def runs_on(kubernetes: str, containerd: str) -> bool:
    """Whether containerd is at or above the floor of its own minor, or of a newer minor than every floor."""
    floors = MIN_CONTAINERD.get(minor_of(kubernetes), ())
    version = parse_version(containerd)
    own = [floor for floor in floors if floor[:2] == version[:2]]
    return version >= own[0] if own else not floors or version[:2] > max(floors)[:2]


def _floors(kubernetes: str) -> str:
    floors = [".".join(map(str, floor)) for floor in MIN_CONTAINERD[minor_of(kubernetes)]]
    return (
        f"at least {' or '.join(floors)}" if len(floors) < 3 else f"at least {', '.join(floors[:-1])} or {floors[-1]}"
    )


def find_os_containerd(family: str, version: str) -> str | None:
    parts = parse_version(version)
    found = None
    for first, containerd in OS_CONTAINERD.get(family, ()):
        if parts >= first:
            found = containerd
    return found


def refuse_os(family: str, channel: str, version: str, provision: str) -> list[Refusal]:
    """A system whose own settings contradict each other."""
    found = []
    if channel not in CHANNELS[family]:
        found.append(Refusal("channel", f"expected {' or '.join(CHANNELS[family])} for {family}, found {channel}"))
    parts = parse_version(version)
    if len(parts) not in VERSION_PARTS[family]:
        found.append(Refusal("version", f"expected {_VERSION_FORMS[family]} for {family}, found {version}"))
    elif family == "flatcar" and channel in CHANNELS["flatcar"]:
        right = FLATCAR_CHANNELS.get(parts[1])
        if right and right != channel:
            message = f"flatcar {version} is a release of channel {right}, found channel {channel}"
            found.append(Refusal("version", message, f"set channel to {right}, or name a release of {channel}"))
    if provision not in PROVISIONS[family]:
        expected = " or ".join(PROVISIONS[family])
        found.append(Refusal("provision", f"{family} reads {expected}, found {provision}"))
    return found


def find_removed_flag(component: str, flag: str, versions: Mapping[str, str]) -> str | None:
    """The version that removed the flag, when it is at or below the one in use: the program would not start."""
    if component == "etcd" and flag.startswith("experimental-"):
        removed = "3.7"
    else:
        removed = REMOVED_FLAGS.get(component, {}).get(flag, "")
    used = versions.get(component, "")
    return removed if removed and used and parse_version(used)[:2] >= parse_version(removed) else None


def find_end_of_life(program: str, version: str) -> date | None:
    return END_OF_LIFE.get(program, {}).get(minor_of(version))


DEFAULT_VERSIONS = {"flatcar": "4593.2.5", "fedora-coreos": "44.20260802.3.1", "debian": "13"}
DEFAULT_PROVISION = {"flatcar": "cloud-config", "fedora-coreos": "ignition", "debian": "cloud-config"}
DEFAULT_ETCD = {"1.35": "3.6.14", "1.36": "3.6.14", "1.37": "3.7.1"}
NEWEST_CONTAINERD = "2.3.4"

MIN_CONTAINERD: Mapping[str, tuple[Version, ...]] = {
    "1.35": ((1, 7, 28), (2, 1, 5), (2, 2, 0)),
    "1.36": ((2, 2, 0),),
    "1.37": ((2, 2, 0),),
}
"Also the supported minors of Kubernetes. Per minor of containerd, its first release that will do."
ETCD_MINORS = ("3.5", "3.6", "3.7")
MIN_ETCD = (3, 5, 24)

OS_CONTAINERD: Mapping[str, tuple[tuple[Version, str], ...]] = {
    "flatcar": (((4081,), "1.7.21"), ((4593,), "2.1.5"), ((4757,), "2.2.5")),
    "debian": (((12,), "1.6.20"), ((13,), "1.7.24")),
}
"From this release of the system on, it has this containerd."
_BETTER = {"flatcar": ", or use flatcar 4757.1.0 of channel beta", "debian": "", "fedora-coreos": ""}

CHANNELS = {
    "flatcar": ("stable", "beta", "alpha", "lts"),
    "fedora-coreos": ("stable", "testing", "next"),
    "debian": ("stable",),
}
FLATCAR_CHANNELS = {0: "alpha", 1: "beta", 2: "stable", 3: "lts"}
"The second number of a release says its channel; the download servers are one per channel."
VERSION_PARTS = {"flatcar": (3,), "fedora-coreos": (4,), "debian": (1, 2)}
_VERSION_FORMS = {
    "flatcar": "a release such as 4593.2.5",
    "fedora-coreos": "a release such as 44.20260802.3.1",
    "debian": "a release such as 13",
}
PROVISIONS = {
    "flatcar": ("cloud-config", "ignition"),
    "fedora-coreos": ("ignition",),
    "debian": ("cloud-config",),
}

REMOVED_FLAGS: Mapping[str, Mapping[str, str]] = {
    "kubelet": {
        "api-servers": "1.8", "require-kubeconfig": "1.9", "network-plugin": "1.24", "container-runtime": "1.27",
        "keep-terminated-pod-volumes": "1.31", "iptables-masquerade-bit": "1.31", "iptables-drop-bit": "1.31",
        "cloud-config": "1.34", "register-schedulable": "1.34", "pod-infra-container-image": "1.35",
        "containerd": "1.37", "boot-id-file": "1.37", "machine-id-file": "1.37", "storage-driver-user": "1.37",
        "storage-driver-password": "1.37", "storage-driver-host": "1.37", "storage-driver-db": "1.37",
        "storage-driver-table": "1.37", "storage-driver-secure": "1.37", "storage-driver-buffer-duration": "1.37",
    },
    "kube-apiserver": {"insecure-port": "1.24", "cloud-provider": "1.33", "cloud-config": "1.33"},
    "kube-controller-manager": {
        "volume-host-cidr-denylist": "1.31", "horizontal-pod-autoscaler-upscale-delay": "1.31",
        "horizontal-pod-autoscaler-downscale-delay": "1.31", "concurrent-service-syncs": "1.37",
    },
    "kube-proxy": {"proxy-port-range": "1.31"},
    "etcd": {"enable-v2": "3.6", "proxy": "3.6"},
}  # fmt: skip
"Component, flag, the version that no longer starts with it."

END_OF_LIFE: Mapping[str, Mapping[str, date]] = {
    "kubernetes": {"1.35": date(2027, 2, 28), "1.36": date(2027, 6, 28), "1.37": date(2027, 10, 28)},
    "etcd": {"3.5": date(2026, 7, 8)},
    "containerd": {
        "1.6": date(2025, 7, 23), "1.7": date(2026, 9, 30), "2.0": date(2027, 3, 31), "2.1": date(2026, 7, 3),
        "2.2": date(2026, 11, 6), "2.3": date(2028, 4, 30),
    },
    "flatcar": {},
}  # fmt: skip
"etcd supports its two newest minors: 3.5 ended when 3.7 came."
