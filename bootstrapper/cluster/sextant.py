"""The flat file of k8sp/sextant: how it is known, and why each key without an equivalent has none."""

from __future__ import annotations

from bootstrapper.cluster.yamltext import Mapping, Node, Scalar, Sequence

KEYS = frozenset({
    "bootstrapper", "subnet", "netmask", "iplow", "iphigh", "broadcast", "nameservers", "upstreamnameservers",
    "domainname", "dockerdomain", "k8s_service_cluster_ip_range", "k8s_cluster_dns", "coreos_channel", "nodes",
})  # fmt: skip
"Top-level keys that our own file does not have."


def is_sextant(root: Node) -> bool:
    """Whether the file is Sextant's: several of its keys, and not the one that ours cannot do without."""
    if not isinstance(root, Mapping):
        return False
    names = {key.text for key, _ in root.pairs if isinstance(key, Scalar)}
    return len(names & KEYS) >= 3 and "machines" not in names


def plain(node: Node) -> object:
    """A tree as dictionaries, lists and text; of a repeated key, as Sextant did, the last."""
    if isinstance(node, Mapping):
        return {key.text: plain(value) for key, value in node.pairs if isinstance(key, Scalar)}
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return "" if node.is_nothing else node.text


def why_dropped(key: str) -> str:
    """The reason, for a top-level key or one below `images` or `ceph`."""
    section = key.partition(".")[0]
    return REASONS.get(key) or REASONS.get(section) or "there is no such key in our file"


REASONS = {
    "broadcast": "it follows from the subnet",
    "nameservers": "machines always ask this server",
    "images": "the images' versions follow from kubernetes.version and the other versions",
    "ceph.osd_journal_size": "Ceph's own settings are not this file's",
    "ceph": "Ceph's own settings are not this file's",
    "centos_version": "the system is now one of `os.family`",
    "mirror_site": "what machines download is mirrored by `bootstrapper fetch`",
    "download_kernel": "what machines download is mirrored by `bootstrapper fetch`",
    "set_yum_repo": "the system has no package manager",
    "set_gpu": "GPU drivers are brought up in the cluster, by NVIDIA's operator",
    "gpu_drivers_version": "GPU drivers are brought up in the cluster, by NVIDIA's operator",
    "ingress_hostnetwork": "the ingress is always on the host's network",
    "start_pxe": "`bootstrapper serve` always answers; see network.dhcp.mode",
    "kube_master_dns": "the API's certificate names kubernetes.api.host; more names go in network.dns.records",
}
