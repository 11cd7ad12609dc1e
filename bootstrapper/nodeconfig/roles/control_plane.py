"""A master: API server, controller manager and scheduler as static pods, with their keys, audit log and encryption.

Flags are those of reference kubernetes.md 3.2; what a version wants otherwise is in `kubernetes_versions`.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address

from bootstrapper.cluster.model import Cluster, Machine, Role
from bootstrapper.errors import RenderProblem
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.flags import list_flags, merge_flags, quote_command
from bootstrapper.nodeconfig.kubernetes_versions import find_version
from bootstrapper.nodeconfig.model import File, NodeConfig
from bootstrapper.nodeconfig.parts import key_file, render_file
from bootstrapper.nodeconfig.roles.api_address import find_own_server, find_server
from bootstrapper.nodeconfig.roles.kubeconfig import CA, DIRECTORY, PKI, build_client, client_directory

MANIFESTS = f"{DIRECTORY}/manifests"
APISERVER = f"{DIRECTORY}/apiserver"
SIGNING = f"{PKI}/ca-signing.crt"
"The certificate of `ca.key`, alone: the controller manager refuses a file with two, and `ca.crt` may have them."
AUDIT_LOG = "/var/log/kubernetes"
ETCD_CLIENT_PORT = 2379


def build_control_plane(cluster: Cluster, machine: Machine, context: Context) -> NodeConfig:
    """Raises RenderProblem for a master without an address; `check` refuses it before."""
    if machine.ip is None:
        raise RenderProblem(f"{machine.host}: a master needs `ip`", "etcd and the API server are found by address")
    own = find_own_server(cluster, machine)
    files = [
        *build_keys(context),
        *build_client("controller-manager", own, machine, context),
        *build_client("scheduler", own, machine, context),
        *build_client("admin", find_server(cluster, machine), machine, context),
        render_file(f"{APISERVER}/audit-policy.yaml", "kubernetes/audit-policy.yaml", machine, context),
        _encryption(machine, context),
        _pod("kube-apiserver", machine, context, apiserver_flags(cluster, machine.ip)),
        _pod("kube-controller-manager", machine, context, controller_manager_flags(cluster)),
        _pod("kube-scheduler", machine, context, scheduler_flags(cluster)),
    ]
    return NodeConfig(files=tuple(files))


def build_keys(context: Context) -> tuple[File, ...]:
    """What the control plane proves and trusts, named as kubeadm names it. The cluster's `ca.crt` comes with the
    kubelet's part; its key is here since the controller manager signs the kubelets' certificates."""
    keys = context.keys
    files = [
        key_file(f"{PKI}/etcd/ca.crt", keys.authorities["etcd"], 0o644),
        key_file(f"{PKI}/front-proxy-ca.crt", keys.authorities["front-proxy"], 0o644),
        key_file(f"{PKI}/ca.key", keys.authority_keys["cluster"]),
        key_file(SIGNING, find_first(keys.authorities["cluster"]), 0o644),
    ]
    if keys.service_account is not None:
        files.append(key_file(f"{PKI}/sa.pub", keys.service_account.certificate, 0o644))
        files.append(key_file(f"{PKI}/sa.key", keys.service_account.key))
    for leaf in LEAVES:
        pair = keys.pairs[leaf]
        files.append(key_file(f"{PKI}/{leaf}.crt", pair.certificate, 0o644))
        files.append(key_file(f"{PKI}/{leaf}.key", pair.key))
    return tuple(files)


def find_first(bundle: str) -> str:
    """The certificate that signs, of those that are trusted: two while an authority is replaced."""
    end = "-----END CERTIFICATE-----\n"
    first, mark, _ = bundle.partition(end)
    return first + mark


def list_etcd_servers(cluster: Cluster) -> list[str]:
    return [
        f"https://{member.ip}:{ETCD_CLIENT_PORT}" for member in cluster.with_role(Role.ETCD) if member.ip is not None
    ]


def apiserver_flags(cluster: Cluster, address: IPv4Address) -> dict[str, str]:
    kubernetes = cluster.kubernetes
    ours = {
        "advertise-address": str(address),
        "allow-privileged": "true",
        "audit-log-maxage": "30",
        "audit-log-maxbackup": "10",
        "audit-log-maxsize": "100",
        "audit-log-path": f"{AUDIT_LOG}/audit.log",
        "audit-policy-file": f"{APISERVER}/audit-policy.yaml",
        "authorization-mode": "Node,RBAC",
        "client-ca-file": CA,
        "enable-admission-plugins": "NodeRestriction",
        "enable-bootstrap-token-auth": "true",
        "encryption-provider-config": f"{APISERVER}/encryption.yaml",
        "etcd-cafile": f"{PKI}/etcd/ca.crt",
        "etcd-certfile": f"{PKI}/apiserver-etcd-client.crt",
        "etcd-keyfile": f"{PKI}/apiserver-etcd-client.key",
        "etcd-servers": ",".join(list_etcd_servers(cluster)),
        "kubelet-client-certificate": f"{PKI}/apiserver-kubelet-client.crt",
        "kubelet-client-key": f"{PKI}/apiserver-kubelet-client.key",
        "kubelet-preferred-address-types": "InternalIP,ExternalIP,Hostname",
        "proxy-client-cert-file": f"{PKI}/front-proxy-client.crt",
        "proxy-client-key-file": f"{PKI}/front-proxy-client.key",
        **REQUEST_HEADERS,
        "secure-port": str(kubernetes.api.port),
        "service-account-issuer": f"https://kubernetes.default.svc.{kubernetes.dns_domain}",
        "service-account-key-file": f"{PKI}/sa.pub",
        "service-account-signing-key-file": f"{PKI}/sa.key",
        "service-cluster-ip-range": str(kubernetes.service_cidr),
        "tls-cert-file": f"{PKI}/apiserver.crt",
        "tls-private-key-file": f"{PKI}/apiserver.key",
    }
    return _with_versions("kube-apiserver", cluster, ours)


def controller_manager_flags(cluster: Cluster) -> dict[str, str]:
    kubernetes = cluster.kubernetes
    ours = {
        **_kubeconfigs("controller-manager"),
        "bind-address": "127.0.0.1",
        "client-ca-file": CA,
        "cluster-name": cluster.name,
        "cluster-signing-cert-file": SIGNING,
        "cluster-signing-key-file": f"{PKI}/ca.key",
        "controllers": "*,bootstrapsigner,tokencleaner",
        "leader-elect": "true",
        "requestheader-client-ca-file": f"{PKI}/front-proxy-ca.crt",
        "root-ca-file": CA,
        "service-account-private-key-file": f"{PKI}/sa.key",
        "service-cluster-ip-range": str(kubernetes.service_cidr),
        "use-service-account-credentials": "true",
        **NODE_CIDRS[cluster.flannel.datastore],
    }
    if ours["allocate-node-cidrs"] == "true":
        ours["cluster-cidr"] = str(kubernetes.pod_cidr)
        ours["node-cidr-mask-size"] = str(kubernetes.node_cidr_mask)
    return _with_versions("kube-controller-manager", cluster, ours)


def scheduler_flags(cluster: Cluster) -> dict[str, str]:
    ours = {**_kubeconfigs("scheduler"), "bind-address": "127.0.0.1", "leader-elect": "true"}
    return _with_versions("kube-scheduler", cluster, ours)


def _kubeconfigs(leaf: str) -> dict[str, str]:
    path = f"{DIRECTORY}/{leaf}.conf"
    return {"authentication-kubeconfig": path, "authorization-kubeconfig": path, "kubeconfig": path}


def _with_versions(component: str, cluster: Cluster, ours: Mapping[str, str]) -> dict[str, str]:
    """Ours, the version's, then the admin's."""
    kubernetes = cluster.kubernetes
    flags = merge_flags(ours, find_version(kubernetes.version).flags_of(component))
    return merge_flags(flags, kubernetes.extra_args.get(component, {}))


def _pod(component: str, machine: Machine, context: Context, flags: Mapping[str, str]) -> File:
    kubernetes = context.cluster.kubernetes
    return render_file(
        f"{MANIFESTS}/{component}.yaml",
        f"kubernetes/{component}.yaml.j2",
        machine,
        context,
        image=image_of(component, kubernetes.version),
        command=quote_command([component, *list_flags(flags)]),
        version=find_version(kubernetes.version),
        client_directory=client_directory,
        # A value of the admin's may move it, and the probes with it.
        port=flags.get("secure-port", ""),
        pki=PKI,
        ca=CA,
        apiserver=APISERVER,
        audit_log=AUDIT_LOG,
        directory=DIRECTORY,
    )


def image_of(component: str, version: str) -> str:
    return f"registry.k8s.io/{component}:v{version}"


def _encryption(machine: Machine, context: Context) -> File:
    text = render_file(
        f"{APISERVER}/encryption.yaml",
        "kubernetes/encryption.yaml.j2",
        machine,
        context,
        key=context.keys.encryption_key,
    )
    return key_file(text.path, text.content.decode())


COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")

LEAVES = ("apiserver", "apiserver-etcd-client", "apiserver-kubelet-client", "front-proxy-client")

REQUEST_HEADERS = {
    "requestheader-allowed-names": "front-proxy-client",
    "requestheader-client-ca-file": f"{PKI}/front-proxy-ca.crt",
    "requestheader-extra-headers-prefix": "X-Remote-Extra-",
    "requestheader-group-headers": "X-Remote-Group",
    "requestheader-username-headers": "X-Remote-User",
}

NODE_CIDRS = {"kubernetes": {"allocate-node-cidrs": "true"}, "etcd": {"allocate-node-cidrs": "false"}}
"flannel.datastore -> who hands out the nodes' shares of the pod network: the controller manager, or flanneld itself."
