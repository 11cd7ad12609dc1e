from __future__ import annotations

import pytest

from bootstrapper.cluster.versions import MIN_CONTAINERD, refuse_kubernetes
from bootstrapper.nodeconfig.kubernetes_versions import VERSIONS, find_version


def test_whatever_check_lets_through_has_a_row() -> None:
    assert set(MIN_CONTAINERD) | {"1.20"} == set(VERSIONS)
    assert refuse_kubernetes("1.20.2") is not None


@pytest.mark.parametrize(
    ("version", "pause", "coredns"),
    [("1.35.8", "3.10.1", "v1.13.1"), ("1.36.4", "3.10.2", "v1.14.2"), ("1.37.1", "3.10.2", "v1.14.6")],
)
def test_images_that_go_with_a_version(version: str, pause: str, coredns: str) -> None:
    row = find_version(version)
    assert (row.pause, row.coredns) == (pause, coredns)
    assert row.find_proxy_mode("nftables") == "nftables"
    assert row.kubelet_config["containerRuntimeEndpoint"] == "unix:///run/containerd/containerd.sock"
    assert row.flags_of("kubelet") == {}


def test_the_row_for_tests() -> None:
    row = find_version("1.20.2")
    assert row.find_proxy_mode("nftables") == "iptables"
    assert "containerRuntimeEndpoint" not in row.kubelet_config
    assert row.flags_of("kubelet")["container-runtime"] == "remote"
