"""What the server applies in the cluster: `templates/addons/<name>/*.yaml.j2`, one folder an add-on.

A folder is all an add-on is: its files are rendered in the order of their names, and hold any number of objects of any
kind. `rbac` is always applied; the others when `addons:` of the description names them.
"""

from __future__ import annotations

from typing import Any

import jinja2
import yaml

from bootstrapper.cluster.model import Cluster, Role
from bootstrapper.errors import RenderProblem
from bootstrapper.kube.client import Object
from bootstrapper.nodeconfig.kubernetes_versions import find_version
from bootstrapper.templating import render

ROOT = "addons"
ALWAYS = ("rbac",)
MANAGED = {"app.kubernetes.io/managed-by": "bootstrapper"}
"On every object of ours: `kubectl get -A -l` finds them."

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def list_addons(environment: jinja2.Environment) -> tuple[str, ...]:
    """The names of the folders there are."""
    return tuple(sorted({name.split("/")[1] for name in _list_templates(environment)}))


def render_manifests(environment: jinja2.Environment, cluster: Cluster) -> list[Object]:
    """Every object of every add-on of `cluster`, in the order to apply. Raises RenderProblem."""
    return [each for _, objects in render_files(environment, cluster) for each in objects]


def render_files(environment: jinja2.Environment, cluster: Cluster) -> list[tuple[str, list[Object]]]:
    """The same, by the template that they are in: `addons/coredns/10-coredns.yaml.j2`. Raises RenderProblem."""
    names = (*ALWAYS, *(name for name in cluster.addons if name not in ALWAYS))
    return [each for name in names for each in render_addon(environment, cluster, name)]


def render_addon(environment: jinja2.Environment, cluster: Cluster, name: str) -> list[tuple[str, list[Object]]]:
    """One add-on's part of `render_files`."""
    files = [each for each in _list_templates(environment) if each.startswith(f"{ROOT}/{name}/")]
    if not files:
        there = ", ".join(list_addons(environment))
        raise RenderProblem(f"the add-on {name} has no folder below templates/{ROOT}", f"there are {there}")
    variables = {
        "cluster": cluster,
        "version": find_version(cluster.kubernetes.version),
        "masters": cluster.with_role(Role.MASTER),
        "workers": cluster.with_role(Role.WORKER),
    }
    return [(file, _parse(file, render(environment, file, variables, cluster.name))) for file in files]


def _parse(file: str, text: str) -> list[Object]:
    try:
        documents = [each for each in yaml.load_all(text, _Loader) if each is not None]
    except yaml.YAMLError as error:
        raise RenderProblem(f"templates/{file}: not YAML: {error}") from error
    for value in documents:
        if not isinstance(value, dict) or not all(value.get(key) for key in ("apiVersion", "kind")):
            raise RenderProblem(f"templates/{file}: every object needs apiVersion and kind")
        if not isinstance(value.get("metadata"), dict) or not value["metadata"].get("name"):
            raise RenderProblem(f"templates/{file}: a {value['kind']} without metadata.name")
        labels = value["metadata"].setdefault("labels", {})
        labels.update(MANAGED)
    return documents


def _list_templates(environment: jinja2.Environment) -> list[str]:
    """In the order of their names; editors' left-overs are no add-ons."""
    prefix = f"{ROOT}/"
    return [
        name
        for name in sorted(environment.list_templates())
        if name.startswith(prefix) and name.count("/") == 2 and name.endswith((".yaml.j2", ".yaml"))
    ]
