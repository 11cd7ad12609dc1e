"""What `doctor` says of files that were brought here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rack import load_templates, make_cluster, make_machine

from bootstrapper.cluster.model import AssetSource
from bootstrapper.doctor.content import check_content
from bootstrapper.doctor.finding import Described, Grade
from bootstrapper.nodeconfig.asset_lock import AssetLock
from bootstrapper.servers.privileges import Account

IMAGE = "flatcar/amd64-usr/4593.2.5/flatcar_production_image.bin.bz2"


def make_site(top: Path) -> Described:
    source = AssetSource("https://nas/image", None, None, "https://nas/image.sig", "ours.asc")
    cluster = replace(make_cluster(make_machine()), assets={IMAGE: source}, file=str(top / "rack.yaml"))
    account = Account(990, 990, "bootstrapper")
    return Described(
        top / "rack.yaml", top, top / "assets", load_templates(), top, account, 0.0, cluster=cluster, lock=AssetLock()
    )


def test_a_replaced_key_is_said_until_it_is_taken_up(tmp_path: Path) -> None:
    here = tmp_path / "assets" / f"{IMAGE}.key.asc"
    here.parent.mkdir(parents=True)
    here.write_bytes(b"old")
    own = tmp_path / "ours.asc"
    warned = (
        f"{own} is another key than the one that machines get ({IMAGE}.key.asc)",
        "`bootstrapper fetch` takes it up if it signed the image",
    )
    for content, expected in ((b"old", []), (b"new", [warned])):
        own.write_bytes(content)
        found = [each for each in check_content(make_site(tmp_path)) if "another key" in each.message]
        assert [(each.message, each.hint) for each in found] == expected
        assert all(each.grade is Grade.WARN for each in found)
    own.unlink()
    assert not [each for each in check_content(make_site(tmp_path)) if "another key" in each.message]
