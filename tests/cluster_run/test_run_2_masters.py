"""Two masters from the generated manifests and keys: their kubelets start the control plane, and join it by token."""

from __future__ import annotations

import json

import pytest
from cluster_kubectl import conditions, kubectl, kubectl_json, put_network
from cluster_site import Site
from wires import wait_for

from bootstrapper.boot.events import Event
from bootstrapper.kube.client import ApiClient
from bootstrapper.kube.connection import Connection, ServerRefusal, Unreachable
from bootstrapper.kube.tls import client_context
from bootstrapper.pki.leaves import Signer

pytestmark = pytest.mark.cluster


def ask_master(site: Site, host: str, path: str) -> bool:
    """Whether the API server of `host`, by its own address and certificate, says that it is well."""
    pair = site.pki.own("bootstrapper")
    tls = client_context(site.pki.bundle(Signer.CLUSTER), pair.certificate, pair.key)
    connection = Connection([(str(site.cluster.by_host[host].ip), 6443)], tls)
    try:
        connection.ask("GET", path)
    except (Unreachable, ServerRefusal):
        return False
    finally:
        connection.close()
    return True


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
@pytest.mark.parametrize("host", ["m1", "m2"])
def test_each_api_server_is_healthy(masters: Site, host: str, path: str) -> None:
    wait_for(lambda: ask_master(masters, host, path), timeout=120, every=1)


def test_our_service_applies_the_roles(masters: Site, events: list[Event]) -> None:
    wait_for(lambda: any(event.step == "applied" for event in events), timeout=60)
    assert not [event for event in events if event.step in ("apply refused", "the Kubernetes API: refused")]


def test_kubectl_works_with_our_kubeconfig(masters: Site, events: list[Event], kubeconfig: object) -> None:
    # Not which version: `kube-apiserver --version` is right, but /version says v0.0.0 in a build without git.
    assert "gitVersion" in json.loads(kubectl("get", "--raw", "/version"))
    bindings = {each["metadata"]["name"] for each in kubectl_json("get", "clusterrolebindings")["items"]}
    assert {"bootstrapper:apiserver-kubelet-client", "bootstrapper:cluster-admins"} <= bindings
    # By the binding, not by being one of system:masters: rights that can be taken away.
    assert kubectl("auth", "can-i", "delete", "nodes").strip() == "yes"


def test_masters_join_by_their_tokens(masters: Site, events: list[Event], kubeconfig: object) -> None:
    wait_for(lambda: {"m1", "m2"} <= {each["metadata"]["name"] for each in nodes()}, timeout=90, every=1)
    for node in nodes():
        taints = {(each["key"], each["effect"]) for each in node["spec"].get("taints", ())}
        assert ("node-role.kubernetes.io/control-plane", "NoSchedule") in taints


def test_the_control_plane_passes_its_own_probes(masters: Site, events: list[Event], kubeconfig: object) -> None:
    """Ready by the probes of the generated manifests, as the kubelets report of their static pods.

    No pod of a node that is not Ready is, so both need a pod network first.
    """
    for host in ("m1", "m2"):
        put_network(masters, host)
    names = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "api-balancer")
    wanted = {f"{name}-{host}" for name in names for host in ("m1", "m2")}
    wait_for(lambda: wanted <= ready_pods(), timeout=120, every=1)
    leases = {each["metadata"]["name"] for each in kubectl_json("-n", "kube-system", "get", "leases")["items"]}
    assert {"kube-controller-manager", "kube-scheduler"} <= leases


def test_secrets_are_encrypted_in_etcd(masters: Site, events: list[Event], kubeconfig: object) -> None:
    kubectl("-n", "default", "create", "secret", "generic", "probe", "--from-literal=word=plain-to-see")
    kept = masters.machines["m1"].run("/opt/bin/etcdctl-member", "get", "/registry/secrets/default/probe").stdout
    assert "k8s:enc:secretbox:v1:key1:" in kept
    assert "plain-to-see" not in kept


def nodes() -> list[dict]:
    return kubectl_json("get", "nodes")["items"]


def ready_pods() -> set[str]:
    pods = kubectl_json("-n", "kube-system", "get", "pods")["items"]
    return {pod["metadata"]["name"] for pod in pods if conditions(pod).get("Ready") == "True"}


def test_the_client_of_our_service_cannot_do_everything(masters: Site, events: list[Event]) -> None:
    """Its daily work is done with the narrow rights of templates/addons/rbac."""
    pair = masters.pki.own("bootstrapper")
    tls = client_context(masters.pki.bundle(Signer.CLUSTER), pair.certificate, pair.key)
    client = ApiClient(Connection([("10.77.0.11", 6443)], tls), act_as="bootstrapper:loop")
    with pytest.raises(ServerRefusal) as refusal:
        list(client.list("/api/v1/namespaces/default/secrets"))
    assert refusal.value.status == 403
