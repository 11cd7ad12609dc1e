"""A worker that joins by its own token, and by no other name: its Node, its pods, `logs` and `exec`."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest
from cluster_kubectl import conditions, kubectl, kubectl_json, put_network
from cluster_programs import TOOLS, start_node
from cluster_site import Site
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from wires import wait_for

from bootstrapper.boot.events import Event

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("events", "kubeconfig")]


MAC = "02:00:00:77:00:13"


def ask_as(site: Site, token_of: str, node: str) -> str:
    """A request for the certificate of `node`, made with the token of `token_of`; its name."""
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{node}"),
        ]
    )
    asked = x509.CertificateSigningRequestBuilder().subject_name(name)
    signed = asked.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    document = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": f"{token_of}-as-{node}"},
        "spec": {
            "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
            "usages": ["digital signature", "key encipherment", "client auth"],
            "request": base64.b64encode(signed.public_bytes(serialization.Encoding.PEM)).decode(),
        },
    }
    machine = site.machines[token_of]
    machine.write({"/tmp/request.json": (json.dumps(document).encode(), 0o600)})
    machine.run(
        "/opt/bin/kubectl", "--kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf",
        f"--server=https://{site.cluster.by_host['m1'].ip}:6443", "create", "-f", "/tmp/request.json",
    )  # fmt: skip
    return f"{token_of}-as-{node}"


@pytest.fixture(scope="session")
def worker(masters: Site, programs: Path, images: dict[str, Path], kubeconfig: Path) -> Site:
    start_node(masters, "w1", programs, images)
    return masters


def test_another_name_with_its_token_is_denied(masters: Site, programs: Path, events: list[Event]) -> None:
    wait_for(lambda: any(each.step == "token" and each.mac == MAC for each in events), timeout=30)
    masters.machines["w1"].link("/opt/bin/kubectl", str(programs / "kubectl"))
    name = ask_as(masters, token_of="w1", node="m1")
    wait_for(lambda: conditions(kubectl_json("get", "csr", name)), timeout=30, every=0.5)
    answered = kubectl_json("get", "csr", name)
    assert conditions(answered) == {"Denied": "True"}
    assert "certificate" not in answered["status"]
    assert any(event.step == "certificate denied" and event.mac == MAC for event in events)


def test_its_own_request_is_approved_and_it_joins(worker: Site) -> None:
    wait_for(lambda: "w1" in {each["metadata"]["name"] for each in kubectl_json("get", "nodes")["items"]}, 90, 1)
    token = worker.pki.tokens.find(MAC)
    assert token is not None
    requests = [
        each
        for each in kubectl_json("get", "csr")["items"]
        if each["spec"]["username"] == f"system:bootstrap:{token.id}" and each["metadata"]["name"] != "w1-as-m1"
    ]
    assert [conditions(each)["Approved"] for each in requests] == ["True"]
    listed = worker.machines["w1"].run("ls", "-l", "/etc/kubernetes/kubelet/").stdout
    assert "kubelet-client-current.pem" in listed


def test_its_node_has_labels_taints_and_address(worker: Site) -> None:
    def has_labels() -> bool:
        labels = kubectl_json("get", "node", "w1")["metadata"]["labels"]
        return "node-role.kubernetes.io/worker" in labels

    wait_for(has_labels, timeout=30, every=1)
    node = kubectl_json("get", "node", "w1")
    labels = node["metadata"]["labels"]
    wanted = {
        "rack": "r7",
        "topology.kubernetes.io/zone": "z1",
        # The last three no kubelet may set: they are our service's doing.
        "node-restriction.kubernetes.io/pool": "gold",
        "node-role.kubernetes.io/worker": "",
        "node-role.kubernetes.io/etcd": "",
    }
    assert {key: labels.get(key) for key in wanted} == wanted
    taints = {(each["key"], each.get("value"), each["effect"]) for each in node["spec"]["taints"]}
    assert ("dedicated", "test", "NoSchedule") in taints
    addresses = {(each["type"], each["address"]) for each in node["status"]["addresses"]}
    assert addresses == {("InternalIP", "10.77.0.13"), ("Hostname", "w1")}


def test_it_turns_ready_with_a_pod_network(worker: Site) -> None:
    assert conditions(kubectl_json("get", "node", "w1"))["Ready"] == "False"
    share = put_network(worker, "w1")
    assert share.startswith("10.244.")
    assert share.endswith("/24")
    wait_for(lambda: conditions(kubectl_json("get", "node", "w1"))["Ready"] == "True", timeout=60, every=1)


def test_our_service_tells_that_it_joined_and_ends_its_token(worker: Site, events: list[Event]) -> None:
    wait_for(lambda: any(each.step == "node ready" and each.mac == MAC for each in events), timeout=30)
    wait_for(lambda: (token := worker.pki.tokens.find(MAC)) and token.used_at is not None, timeout=30)


@pytest.mark.parametrize(
    ("name", "may", "may_not"),
    [
        ("kubelet", ["get", "node/w1"], ["get", "secrets", "-n", "kube-system"]),
        ("kube-proxy", ["list", "services", "-A"], ["get", "secrets", "-n", "kube-system"]),
        ("flannel", ["patch", "nodes/w1", "--subresource=status"], ["list", "pods", "-A"]),
    ],
)
def test_a_worker_holds_narrow_credentials_only(worker: Site, name: str, may: list[str], may_not: list[str]) -> None:
    """By the generated kubeconfigs, on the machine, by way of its balancer."""
    machine = worker.machines["w1"]
    ask = ["/opt/bin/kubectl", f"--kubeconfig=/etc/kubernetes/{name}.conf", "auth", "can-i"]
    assert machine.run(*ask, *may, check=False).stdout.splitlines()[-1] == "yes"
    assert machine.run(*ask, *may_not, check=False).stdout.splitlines()[-1].startswith("no")
    keys = machine.run("find", "/etc/kubernetes", "-name", "*.key", "-o", "-name", "*.pem").stdout.split()
    assert {str(Path(key).relative_to("/etc/kubernetes").parent) for key in keys} == {
        "pki/kube-proxy", "pki/flannel", "kubelet",
    }  # fmt: skip


POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "probe", "namespace": "default"},
    "spec": {
        "terminationGracePeriodSeconds": 1,
        "tolerations": [{"key": "dedicated", "operator": "Exists"}],
        "containers": [
            {
                "name": "probe",
                "image": TOOLS,
                "imagePullPolicy": "Never",
                "command": ["/bin/sh", "-c", "echo written at the start; exec /bin/sleep 1000"],
            }
        ],
    },
}


@pytest.fixture(scope="session")
def pod(worker: Site) -> dict[str, Any]:
    wait_for(lambda: kubectl_json("get", "serviceaccounts")["items"], timeout=30, every=0.5)
    kubectl("create", "-f", "-", data=json.dumps(POD))
    wait_for(lambda: conditions(kubectl_json("get", "pod", "probe")).get("Ready") == "True", timeout=90, every=1)
    return dict(kubectl_json("get", "pod", "probe"))


def test_a_pod_runs_on_it(pod: dict[str, Any]) -> None:
    assert pod["spec"]["nodeName"] == "w1"
    assert pod["status"]["podIP"].startswith("10.244.")
    assert pod["status"]["hostIP"] == "10.77.0.13"


def test_logs(pod: dict[str, Any]) -> None:
    assert kubectl("logs", "probe") == "written at the start\n"


def test_exec(pod: dict[str, Any]) -> None:
    assert kubectl("exec", "probe", "--", "/bin/echo", "run inside") == "run inside\n"


def test_a_service_is_reached_through_kube_proxy(worker: Site, pod: dict[str, Any]) -> None:
    """From a pod, at the first address of the Services: the API servers, by the rules of the generated unit."""
    service = str(worker.cluster.kubernetes.service_cidr.network_address + 1)
    reach = ["exec", "probe", "--", "/bin/sh", "-c", f"/bin/busybox nc -w 3 {service} 443 </dev/null && echo reached"]
    assert "reached" not in kubectl(*reach, check=False)
    worker.machines["w1"].start("kube-proxy.service")
    wait_for(lambda: "reached" in kubectl(*reach, check=False), timeout=60, every=1)


def test_one_master_is_enough(worker: Site, pod: dict[str, Any]) -> None:
    """With the other one off, its balancer leads the node to the one that is left."""
    other = ["--server", f"https://{worker.cluster.by_host['m2'].ip}:6443"]

    def find_renewal() -> str:
        """When w1 was last heard of; empty while etcd, which may have lost its leader too, elects another."""
        lease = ["-n", "kube-node-lease", "get", "lease", "w1", "-o", "jsonpath={.spec.renewTime}"]
        text = kubectl(*other, *lease, check=False)
        return text if re.fullmatch(r"[0-9TZ:.-]+", text) else ""

    worker.machines["m1"].power_off()
    before = wait_for(find_renewal, timeout=60, every=1)
    wait_for(lambda: find_renewal() > before, timeout=90, every=1)
    command = [*other, "exec", "probe", "--", "/bin/echo", "still here"]
    wait_for(lambda: kubectl(*command, check=False) == "still here\n", timeout=30, every=1)
