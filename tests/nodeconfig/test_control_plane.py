"""The masters' static pods: what stands in them, and where their keys come from."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from bootstrapper.cluster.model import Cluster, Flannel, Machine
from bootstrapper.errors import RenderProblem
from bootstrapper.nodeconfig.build import build
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.model import NodeConfig
from bootstrapper.nodeconfig.secrets import Pair, Secrets

PKI = "/etc/kubernetes/pki"


def file_of(config: NodeConfig, path: str) -> str:
    (content,) = [file.content for file in config.files if file.path == path]
    return content.decode()


def command_of(config: NodeConfig, component: str) -> list[str]:
    pod = yaml.safe_load(file_of(config, f"/etc/kubernetes/manifests/{component}.yaml"))
    command = pod["spec"]["containers"][0]["command"]
    assert command[0] == component
    return [str(word) for word in command[1:]]


def with_kubernetes(context: Context, **changes: object) -> tuple[Context, Cluster, Machine]:
    cluster = replace(context.cluster, kubernetes=replace(context.cluster.kubernetes, **changes))  # type: ignore[arg-type]
    return replace(context, cluster=cluster), cluster, cluster.machines[0]


def test_the_api_server_asks_every_member_of_etcd(context: Context, cluster: Cluster) -> None:
    words = command_of(build(cluster, cluster.machines[0], context), "kube-apiserver")
    assert "--etcd-servers=https://10.10.14.11:2379,https://10.10.14.12:2379" in words
    assert "--advertise-address=10.10.14.11" in words
    assert "--authorization-mode=Node,RBAC" in words
    assert "--encryption-provider-config=/etc/kubernetes/apiserver/encryption.yaml" in words
    assert "--requestheader-allowed-names=front-proxy-client" in words
    assert len(words) == len({word.partition("=")[0] for word in words})


@pytest.mark.parametrize(
    ("datastore", "expected"),
    [
        (
            "kubernetes",
            ["--allocate-node-cidrs=true", "--cluster-cidr=10.244.0.0/16", "--node-cidr-mask-size=24"],
        ),
        ("etcd", ["--allocate-node-cidrs=false"]),
    ],
)
def test_who_hands_out_the_pod_networks(
    datastore: str, expected: list[str], context: Context, cluster: Cluster
) -> None:
    cluster = replace(cluster, flannel=Flannel("0.28.9", "vxlan", datastore))
    words = command_of(
        build(cluster, cluster.machines[0], replace(context, cluster=cluster)), "kube-controller-manager"
    )
    assert [word for word in words if "node-cidr" in word or "cluster-cidr" in word] == expected


def test_the_admins_flags_are_in_it(context: Context) -> None:
    extra = {
        "kube-apiserver": {"audit-log-maxage": "7", "enable-admission-plugins": "AlwaysPullImages", "v": "$(X)"},
        "kube-scheduler": {"v": "4"},
    }
    context, cluster, machine = with_kubernetes(context, extra_args=extra)
    config = build(cluster, machine, context)
    words = command_of(config, "kube-apiserver")
    assert "--audit-log-maxage=7" in words
    assert "--audit-log-maxage=30" not in words
    assert "--enable-admission-plugins=NodeRestriction,AlwaysPullImages" in words
    assert words[-1] == "--v=$$(X)"
    assert command_of(config, "kube-scheduler")[-1] == "--v=4"


def test_what_an_old_version_wants(context: Context) -> None:
    context, cluster, machine = with_kubernetes(context, version="1.20.2")
    config = build(cluster, machine, context)
    assert "--insecure-port=0" in command_of(config, "kube-apiserver")
    assert "--port=0" in command_of(config, "kube-scheduler")
    assert "path: /healthz" in file_of(config, "/etc/kubernetes/manifests/kube-scheduler.yaml")
    unit = next(unit.content or "" for unit in config.units if unit.name == "kubelet.service")
    assert "--container-runtime=remote" in unit


def test_the_ports_follow_the_description(context: Context) -> None:
    api = replace(context.cluster.kubernetes.api, port=8443)
    context, cluster, machine = with_kubernetes(context, api=api)
    config = build(cluster, machine, context)
    pod = yaml.safe_load(file_of(config, "/etc/kubernetes/manifests/kube-apiserver.yaml"))
    container = pod["spec"]["containers"][0]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] == 8443
        assert container[probe]["httpGet"]["host"] == "10.10.14.11"
    assert 'server: "https://10.10.14.11:8443"' in file_of(config, "/etc/kubernetes/scheduler.conf")
    assert 'server: "https://k8s.prod.example.com:8443"' in file_of(config, "/etc/kubernetes/kube-proxy.conf")


def test_keys_are_those_that_pki_made(context: Context, cluster: Cluster) -> None:
    names = [
        "apiserver", "apiserver-etcd-client", "apiserver-kubelet-client", "front-proxy-client", "controller-manager",
        "scheduler", "admin", "super-admin", "kube-proxy", "etcd-server", "etcd-peer", "etcd-healthcheck-client",
        "flannel", "flannel-etcd-client",
    ]  # fmt: skip
    secrets = Secrets(
        authorities={"cluster": "CLUSTER-CA", "etcd": "ETCD-CA", "front-proxy": "FRONT-PROXY-CA"},
        pairs={name: Pair(f"{name} CERTIFICATE", f"{name} KEY") for name in names},
        authority_keys={"cluster": "CLUSTER-KEY"},
        service_account=Pair("SA-PUBLIC", "SA-KEY"),
        bootstrap_token="aaaaaa.bbbbbbbbbbbbbbbb",
        encryption_key="ENCRYPTION",
    )
    config = build(cluster, cluster.machines[0], replace(context, secrets=secrets))
    files = {file.path: file for file in config.files}
    assert files[f"{PKI}/ca.crt"].content == b"CLUSTER-CA"
    assert files[f"{PKI}/ca.key"].content == b"CLUSTER-KEY"
    assert files[f"{PKI}/ca-signing.crt"].content == b"CLUSTER-CA"
    assert files[f"{PKI}/etcd/ca.crt"].content == b"ETCD-CA"
    assert files[f"{PKI}/front-proxy-ca.crt"].content == b"FRONT-PROXY-CA"
    assert files[f"{PKI}/sa.pub"].content == b"SA-PUBLIC"
    assert files[f"{PKI}/sa.key"].content == b"SA-KEY"
    assert files[f"{PKI}/apiserver.key"].content == b"apiserver KEY"
    assert files[f"{PKI}/scheduler/client.crt"].content == b"scheduler CERTIFICATE"
    assert 'secret: "ENCRYPTION"' in files["/etc/kubernetes/apiserver/encryption.yaml"].content.decode()
    assert 'token: "aaaaaa.bbbbbbbbbbbbbbbb"' in files["/etc/kubernetes/bootstrap-kubelet.conf"].content.decode()
    for file in config.files:
        if any(mark in file.content for mark in (b" KEY", b"-KEY", b"ENCRYPTION", b"bbbbbbbbbbbbbbbb")):
            assert (file.secret, file.first_boot_only, file.mode) == (True, True, 0o600), file.path


def test_a_worker_has_nothing_of_a_masters(context: Context, cluster: Cluster) -> None:
    config = build(cluster, cluster.machines[2], context)
    secret = {file.path for file in config.files if file.path.startswith("/etc/kubernetes") and file.secret}
    assert secret == {
        "/etc/kubernetes/pki/ca.crt",
        "/etc/kubernetes/bootstrap-kubelet.conf",
        "/etc/kubernetes/pki/kube-proxy/client.crt",
        "/etc/kubernetes/pki/kube-proxy/client.key",
        "/etc/kubernetes/pki/flannel/client.crt",
        "/etc/kubernetes/pki/flannel/client.key",
    }
    assert not [file.path for file in config.files if "/manifests/" in file.path]


def test_the_scheduler_sees_no_key_but_its_own(context: Context, cluster: Cluster) -> None:
    text = file_of(build(cluster, cluster.machines[0], context), "/etc/kubernetes/manifests/kube-scheduler.yaml")
    paths = [volume["hostPath"]["path"] for volume in yaml.safe_load(text)["spec"]["volumes"]]
    assert paths == ["/etc/kubernetes/scheduler.conf", f"{PKI}/ca.crt", f"{PKI}/scheduler"]


def test_a_master_without_an_address(context: Context, cluster: Cluster) -> None:
    machine = replace(cluster.machines[0], ip=None, roles=frozenset({*cluster.machines[0].roles} - {"etcd"}))
    with pytest.raises(RenderProblem, match="node1: a master needs `ip`"):
        build(cluster, machine, context)


def test_the_controller_manager_signs_with_one_certificate_while_two_are_trusted(
    context: Context, cluster: Cluster
) -> None:
    old, new = (f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n" for text in ("AAAA", "BBBB"))
    keys = context.keys
    secrets = replace(keys, authorities={**keys.authorities, "cluster": old + new})
    config = build(cluster, cluster.machines[0], replace(context, secrets=secrets))
    files = {file.path: file for file in config.files}
    assert files[f"{PKI}/ca.crt"].content.decode() == old + new
    assert files[f"{PKI}/ca-signing.crt"].content.decode() == old
    manifest = files["/etc/kubernetes/manifests/kube-controller-manager.yaml"].content.decode()
    assert "--cluster-signing-cert-file=/etc/kubernetes/pki/ca-signing.crt" in manifest
