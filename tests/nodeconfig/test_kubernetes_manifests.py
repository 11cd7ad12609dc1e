"""Every manifest and configuration file of the control plane, held against the schemas of the version it is for.

`kubernetes-validate` has the API's own schemas. Static pods may refer to no object of the API (since 1.34).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
import kubernetes_validate
import pytest
import yaml
from rack import AUTHORITY, make_environment

from bootstrapper.boot.links import Links
from bootstrapper.cluster.load import load
from bootstrapper.cluster.model import Cluster
from bootstrapper.nodeconfig.build import build
from bootstrapper.nodeconfig.context import Context

MIXES = {path.stem: path.read_text() for path in sorted((Path(__file__).parent / "mixes").iterdir())}
VERSIONS = ("1.35.8", "1.36.4", "1.37.1")


@pytest.fixture(scope="module")
def environment() -> jinja2.Environment:
    return make_environment()


def load_mix(mix: str, version: str) -> Cluster:
    cluster = load(MIXES[mix], mix)
    return replace(cluster, kubernetes=replace(cluster.kubernetes, version=version))


def manifests(cluster: Cluster, environment: jinja2.Environment) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(host, path, document) of each."""
    for machine in cluster.machines:
        context = Context(cluster, Links(cluster.network.bootstrapper), environment, AUTHORITY, token="TOKEN")
        for file in build(cluster, machine, context).files:
            if file.path.startswith("/etc/kubernetes/manifests/") or file.path == "/etc/bootstrapper/kube-vip.yaml":
                yield machine.host, file.path, yaml.safe_load(file.content)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("mix", MIXES)
def test_manifests_are_valid(mix: str, version: str, environment: jinja2.Environment) -> None:
    found = list(manifests(load_mix(mix, version), environment))
    seen = set()
    for host, path, document in found:
        minor = version.rpartition(".")[0]
        kubernetes_validate.validate(document, minor, strict=True)
        assert document["spec"]["hostNetwork"] is True
        assert document["spec"]["priorityClassName"] == "system-node-critical"
        assert {key for volume in document["spec"]["volumes"] for key in volume} == {"name", "hostPath"}, (host, path)
        seen.add(document["metadata"]["name"])
    assert seen >= {"kube-apiserver", "kube-controller-manager", "kube-scheduler"}


def test_a_fault_would_be_found(environment: jinja2.Environment) -> None:
    (_, _, document), *_ = manifests(load_mix("one-node-is-all", "1.36.4"), environment)
    document["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, "1.36", strict=True)
