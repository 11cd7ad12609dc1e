from __future__ import annotations

import pytest

from bootstrapper.cluster.flags import refuse_flag

USED = {
    "kubelet": "1.36.4",
    "kube-apiserver": "1.36.4",
    "kube-controller-manager": "1.36.4",
    "kube-scheduler": "1.36.4",
    "kube-proxy": "1.36.4",
    "etcd": "3.6.14",
}


@pytest.mark.parametrize(
    ("component", "flag", "value", "message", "hint"),
    [
        (
            "kubelet", "pod-infra-container-image", "x",
            "kubelet 1.36.4 does not start with --pod-infra-container-image: it was removed in 1.35", "",
        ),
        ("kubelet", "node-labels", "a=b", "--node-labels of kubelet is ours to set", "set `labels`"),
        (
            "kube-apiserver", "secure-port", "443",
            "--secure-port of kube-apiserver is ours to set", "set kubernetes.api.port",
        ),
        (
            "kube-apiserver", "authorization-mode", "AlwaysAllow",
            "--authorization-mode=AlwaysAllow of kube-apiserver: expected Node and RBAC among it: kubelets and all "
            "others have their rights by them", "",
        ),
        (
            "kube-apiserver", "disable-admission-plugins", "ServiceAccount,NodeRestriction",
            "--disable-admission-plugins=ServiceAccount,NodeRestriction of kube-apiserver: without NodeRestriction "
            "each node could act for every other", "",
        ),
        ("kube-proxy", "proxy-mode", "ipvs", "--proxy-mode of kube-proxy is ours to set", "set kubernetes.proxy_mode"),
        ("kube-proxy", "profiling", "maybe", "expected true or false, found 'maybe'", ""),
    ],
)  # fmt: skip
def test_a_flag_is_refused(component: str, flag: str, value: str, message: str, hint: str) -> None:
    assert refuse_flag(component, flag, value, USED) == (message, hint)


@pytest.mark.parametrize(
    ("component", "flag", "value"),
    [
        ("kubelet", "v", "4"),
        ("kubelet", "containerd", "x"),
        ("kube-apiserver", "authorization-mode", "Node,RBAC,Webhook"),
        ("kube-apiserver", "anonymous-auth", "true"),
        ("kube-apiserver", "enable-admission-plugins", "AlwaysPullImages"),
        ("kube-proxy", "v", "2"),
        ("etcd", "snapshot-count", "10000"),
    ],
)
def test_others_are_the_admins_business(component: str, flag: str, value: str) -> None:
    assert refuse_flag(component, flag, value, USED) is None


def test_what_a_newer_version_removed() -> None:
    fault = refuse_flag("kubelet", "containerd", "x", {**USED, "kubelet": "1.37.1"})
    assert fault is not None
    assert fault.message == "kubelet 1.37.1 does not start with --containerd: it was removed in 1.37"
