"""Which images of add-ons are mirrored, under which names, and what is said of those that are not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from rack import ONE_MACHINE, load_templates, make_cluster

from bootstrapper.assets.manifests import find_full_name
from bootstrapper.cli import main
from bootstrapper.cluster.model import Cluster, Registry
from bootstrapper.errors import Problem
from bootstrapper.mirroring import advise_addon_images, find_addon_images

DIGEST = f"sha256:{'ab' * 32}"
FILE = "templates/addons/own/10-own.yaml.j2"
SAMPLE = f"{ONE_MACHINE}addons: [own]\n"


@pytest.mark.parametrize(
    ("written", "full"),
    [
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("bitnami/nginx:1.27", "docker.io/bitnami/nginx:1.27"),
        ("docker.io/nginx:1.27", "docker.io/library/nginx:1.27"),
        ("index.docker.io/library/nginx:1.27", "docker.io/library/nginx:1.27"),
        ("docker.io/library/nginx:1.27", "docker.io/library/nginx:1.27"),
        (f"nginx@{DIGEST}", f"docker.io/library/nginx@{DIGEST}"),
        (f"nginx:1.27@{DIGEST}", f"docker.io/library/nginx:1.27@{DIGEST}"),
        ("quay.io/a/b:1", "quay.io/a/b:1"),
        ("quay.io:5000/b:1", "quay.io:5000/b:1"),
        ("nginx", None),
        ("quay.io/a/b", None),
        ("quay.io:5000/b", None),
        ("localhost/b:1", None),
        ("registry:5000/b:1", None),
        ("Quay.io/B:1", None),
        ("nginx:", None),
        ("", None),
        ("/nginx:1", None),
        ("nginx:1\n", None),
    ],
)
def test_an_image_as_container_engines_read_it(written: str, full: str | None) -> None:
    assert find_full_name(written) == full


def make_templates(*images: str, kind: str = "Deployment") -> dict[str, str]:
    """With one add-on `own`, whose pods have these images."""
    containers = [{"name": f"c{number}", "image": image} for number, image in enumerate(images)]
    spec = {"template": {"spec": {"containers": containers}}}
    each = {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "own"}, "spec": spec}
    return {**load_templates(), "addons/own/10-own.yaml.j2": json.dumps(each)}


def own_cluster() -> Cluster:
    return replace(make_cluster(), addons=("own",), lines={"addons": 6, "addons[0]": 6}, file="rack.yaml")


def test_short_names_are_mirrored_under_their_full_ones() -> None:
    templates = make_templates("nginx:1.27", "quay.io/a/b", "docker.io/library/nginx:1.27", "ghcr.io/c/d:2")
    assert find_addon_images(own_cluster(), templates) == ("docker.io/library/nginx:1.27", "ghcr.io/c/d:2")


def test_the_image_of_a_volume_is_one() -> None:
    volume = {"name": "v", "image": {"reference": "quay.io/a/model:3", "pullPolicy": "IfNotPresent"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"volumes": [volume]}}
    templates = {**load_templates(), "addons/own/10-own.yaml.j2": json.dumps(pod)}
    assert find_addon_images(own_cluster(), templates) == ("quay.io/a/model:3",)


def test_what_cannot_be_mirrored_is_said_with_its_file_and_the_form_expected() -> None:
    templates = make_templates("nginx:1.27", "quay.io/a/b", "quay.io/a/b", "registry:5000/x:1")
    assert advise_addon_images(own_cluster(), templates) == (
        Problem(
            6,
            "addons[0]",
            f"{FILE} names the image 'quay.io/a/b', which is not mirrored and no machine can pull: "
            "it has neither tag nor digest, and `latest` is another image every week",
            "write quay.io/a/b:TAG or quay.io/a/b@sha256:DIGEST",
            "rack.yaml",
        ),
        Problem(
            6,
            "addons[0]",
            f"{FILE} names the image 'registry:5000/x:1', which is not mirrored and no machine can pull: "
            "it is no full name",
            "write REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:DIGEST, such as docker.io/library/nginx:1.27",
            "rack.yaml",
        ),
    )


def test_where_no_registry_is_served_nothing_is_mirrored_anyway() -> None:
    cluster = replace(own_cluster(), registry=Registry(False, 5000, ()))
    assert advise_addon_images(cluster, make_templates("quay.io/a/b")) == ()


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
def test_text_of_others_names_no_images(kind: str) -> None:
    templates = make_templates("logo", "nginx:1.27", kind=kind)
    assert find_addon_images(own_cluster(), templates) == ()
    assert advise_addon_images(own_cluster(), templates) == ()


@pytest.mark.parametrize(
    "verb", [["check"], ["show"], ["fetch", "--list"], ["doctor", "--state", "STATE", "--wait", "0.1"]]
)
def test_every_verb_that_looks_at_images_says_it(tmp_path: Path, verb: list[str]) -> None:
    (tmp_path / "rack.yaml").write_text(SAMPLE)
    own = tmp_path / "templates/addons/own"
    own.mkdir(parents=True)
    (own / "10-own.yaml.j2").write_text(make_templates("quay.io/a/b")["addons/own/10-own.yaml.j2"])
    words = [str(tmp_path / "state") if word == "STATE" else word for word in verb[1:]]
    more = ["--templates", str(tmp_path / "templates")]
    ran = CliRunner().invoke(main, [verb[0], str(tmp_path / "rack.yaml"), *words, *more])
    assert f"{FILE} names the image 'quay.io/a/b', which is not mirrored" in ran.output
    assert "write quay.io/a/b:TAG or quay.io/a/b@sha256:DIGEST" in ran.output
