"""A site with one machine for `doctor`, below a directory of a test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rack import load_templates, make_cluster, make_machine

from bootstrapper.cluster.model import AssetSource
from bootstrapper.doctor.finding import Described
from bootstrapper.nodeconfig.asset_lock import AssetLock
from bootstrapper.servers.privileges import Account

ACCOUNT = Account(990, 990, "bootstrapper")
IMAGE = "flatcar/amd64-usr/4593.2.5/flatcar_production_image.bin.bz2"


def make_site(top: Path) -> Described:
    """With an image and a signing key of its own; the state directory is `top`."""
    source = AssetSource("https://nas/image", None, None, "https://nas/image.sig", "ours.asc")
    cluster = replace(make_cluster(make_machine()), assets={IMAGE: source}, file=str(top / "rack.yaml"))
    return Described(
        top / "rack.yaml", top, top / "assets", load_templates(), top, ACCOUNT, 0.0, cluster=cluster, lock=AssetLock()
    )
