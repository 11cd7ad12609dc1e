"""What is applied in the cluster, against Kubernetes' own schemas of every minor that a user may choose."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from kube_rack import make_rack
from rack import load_templates, make_environment

from bootstrapper.cluster.model import Cluster
from bootstrapper.cluster.schema import ADDONS
from bootstrapper.errors import RenderProblem
from bootstrapper.kube.manifests import list_addons, render_addon, render_manifests
from bootstrapper.nodeconfig.kubernetes_versions import VERSIONS
from bootstrapper.templating import build_environment

MINORS = [minor for minor in VERSIONS if minor != "1.20"]


def at(minor: str, **changes: object) -> Cluster:
    cluster = make_rack(**changes)
    return replace(cluster, kubernetes=replace(cluster.kubernetes, version=f"{minor}.1"))


def find(manifests: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = (each for each in manifests if (each["kind"], each["metadata"]["name"]) == (kind, name))
    return found


@pytest.mark.parametrize("minor", MINORS)
@pytest.mark.parametrize("datastore", ["kubernetes", "etcd"])
def test_kubernetes_own_schemas_take_them(minor: str, datastore: str) -> None:
    validate = pytest.importorskip("kubernetes_validate").validate
    manifests = render_manifests(
        make_environment(), at(minor, flannel=replace(make_rack().flannel, datastore=datastore))
    )
    for value in manifests:
        validate(value, minor, strict=True)
    assert {each["kind"] for each in manifests} >= {"ClusterRoleBinding", "ClusterRole", "Deployment", "Service"}


@pytest.mark.parametrize("minor", VERSIONS)
def test_each_object_comes_once_and_is_marked_as_ours(minor: str) -> None:
    manifests = render_manifests(make_environment(), at(minor))
    names = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in manifests]
    assert len(names) == len(set(names))
    assert {each["metadata"]["labels"]["app.kubernetes.io/managed-by"] for each in manifests} == {"bootstrapper"}


def test_who_may_do_what() -> None:
    manifests = render_manifests(make_environment(), make_rack())
    bindings = {
        (each["roleRef"]["name"], each["subjects"][0]["kind"], each["subjects"][0]["name"])
        for each in manifests
        if each["kind"] == "ClusterRoleBinding"
    }
    assert bindings == {
        ("system:node-bootstrapper", "Group", "system:bootstrappers"),
        ("system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", "Group", "system:nodes"),
        ("system:kubelet-api-admin", "User", "kube-apiserver-kubelet-client"),
        ("bootstrapper:flannel", "User", "flannel"),
        ("system:node-proxier", "User", "system:kube-proxy"),
        ("cluster-admin", "Group", "kubeadm:cluster-admins"),
        ("bootstrapper:loop", "User", "bootstrapper:loop"),
        ("system:coredns", "ServiceAccount", "coredns"),
    }, "nobody is bound to the approval of new nodes' certificates: kube.approve does that"


def test_flannel_in_etcd_has_no_rights_in_the_api() -> None:
    cluster = make_rack(flannel=replace(make_rack().flannel, datastore="etcd"))
    manifests = render_manifests(make_environment(), cluster)
    assert not [each for each in manifests if "flannel" in each["metadata"]["name"]]


def test_flannel_in_the_api_may_change_nothing_but_the_status_of_nodes() -> None:
    rules = find(render_manifests(make_environment(), make_rack()), "ClusterRole", "bootstrapper:flannel")["rules"]
    assert {(rule["resources"][0], verb) for rule in rules for verb in rule["verbs"]} == {
        ("pods", "get"), ("nodes", "get"), ("nodes", "list"), ("nodes", "watch"), ("nodes/status", "patch"),
    }  # fmt: skip


def test_coredns_has_the_descriptions_address_and_domain() -> None:
    cluster = make_rack()
    ((file, manifests),) = render_addon(make_environment(), cluster, "coredns")
    assert file == "addons/coredns/10-coredns.yaml.j2"
    assert find(manifests, "Service", "kube-dns")["spec"]["clusterIP"] == "10.96.0.10"
    corefile = find(manifests, "ConfigMap", "coredns")["data"]["Corefile"]
    assert "    kubernetes cluster.local in-addr.arpa ip6.arpa {\n" in corefile
    image = find(manifests, "Deployment", "coredns")["spec"]["template"]["spec"]["containers"][0]["image"]
    assert image == "registry.k8s.io/coredns/coredns:v1.13.1"


def test_only_what_the_description_names_and_always_the_roles() -> None:
    manifests = render_manifests(make_environment(), replace(make_rack(), addons=()))
    assert {each["kind"] for each in manifests} == {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}


def test_every_add_on_that_runs_by_default_has_a_folder() -> None:
    assert set(list_addons(make_environment())) >= {"rbac", *ADDONS}


def render_own(files: dict[str, str]) -> list[dict[str, Any]]:
    templates = load_templates() | {f"addons/own/{name}": text for name, text in files.items()}
    return [each for _, objects in render_addon(build_environment(templates), make_rack(), "own") for each in objects]


def test_an_add_on_is_a_folder() -> None:
    """Of any files, in the order of their names, of any objects; what an editor left behind is none."""
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s, labels: {app: own}}\n"
    manifests = render_own(
        {
            "20-b.yaml.j2": text % "{{ cluster.name }}" + "---\n---\n" + text % "b",
            "10-a.yaml": text % "a",
            "10-a.yaml~": "{",
            "notes.txt": "{",
        }
    )
    assert [each["metadata"]["name"] for each in manifests] == ["a", "prod", "b"]
    assert manifests[0]["metadata"]["labels"] == {"app": "own", "app.kubernetes.io/managed-by": "bootstrapper"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ cluster.nmae }}", "templates/addons/own/a.yaml.j2:1: "),
        ("a: [", "templates/addons/own/a.yaml.j2: not YAML"),
        ("- a", "templates/addons/own/a.yaml.j2: every object needs apiVersion and kind"),
        ("kind: Secret", "templates/addons/own/a.yaml.j2: every object needs apiVersion and kind"),
        ("{apiVersion: v1, kind: Secret}", "templates/addons/own/a.yaml.j2: a Secret without metadata.name"),
        ("{apiVersion: v1, kind: Secret, metadata: {a: 1}}",
         "templates/addons/own/a.yaml.j2: a Secret without metadata.name"),
    ],
)  # fmt: skip
def test_a_faulty_add_on_is_named(text: str, message: str) -> None:
    with pytest.raises(RenderProblem) as caught:
        render_own({"a.yaml.j2": text})
    assert caught.value.message.startswith(message)


def test_an_add_on_without_a_folder() -> None:
    with pytest.raises(RenderProblem) as caught:
        render_addon(make_environment(), make_rack(), "nothing")
    assert caught.value.message == "the add-on nothing has no folder below templates/addons"
    assert caught.value.hint == "there are coredns, rbac"
