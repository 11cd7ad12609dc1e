from __future__ import annotations

import re
from dataclasses import replace

import pytest

from bootstrapper.cluster.model import AssetSource, Cluster
from bootstrapper.errors import UserError
from bootstrapper.nodeconfig.asset_lock import AssetLock, parse_lock, write_lock
from bootstrapper.nodeconfig.known_hashes import KNOWN_HASHES

ETCD = "etcd/3.6.14/amd64/etcd-v3.6.14-linux-amd64.tar.gz"
FLANNELD = "flannel/0.28.9/amd64/flanneld-amd64"


def test_what_is_written_is_read_again() -> None:
    lock = AssetLock({FLANNELD: "ab" * 32, ETCD: "cd" * 32})
    text = write_lock(lock)
    assert text == (
        "version = 1\n\n[files]\n"
        f'"{ETCD}" = "sha256:{"cd" * 32}"\n'
        f'"{FLANNELD}" = "sha256:{"ab" * 32}"\n'
    )  # fmt: skip
    assert parse_lock(text) == lock
    assert parse_lock("version = 1\n") == AssetLock()


def test_the_most_deliberate_source_wins(cluster: Cluster) -> None:
    empty, lock = AssetLock(), AssetLock({ETCD: "ab" * 32})
    assert empty.find(cluster, ETCD) == "ffe840ff9295808e88cce2794a18a5ac87f12a5203c8314d0bf6aa119b41bac5"
    assert lock.find(cluster, ETCD) == "ab" * 32
    named = replace(cluster, assets={ETCD: AssetSource("https://nas/etcd", "cd" * 32, None, None)})
    assert lock.find(named, ETCD) == "cd" * 32
    unproven = replace(cluster, assets={ETCD: AssetSource("https://nas/etcd", None, None, "x.sig")})
    assert lock.find(unproven, ETCD) == "ab" * 32
    assert empty.find(cluster, FLANNELD) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version = ", "a/assets.lock is not TOML"),
        ("", "expected `version = 1`, found None"),
        ("version = 2", "expected `version = 1`, found 2"),
        ("version = 1\nfiles = 3", "`files` is no table"),
        ('version = 1\n[files]\n"a/b" = "sha256:xyz"', 'a/b: expected "sha256:" and 64 hexadecimal digits, found'),
        (f'version = 1\n[files]\n"a/b" = "{"ab" * 32}"', "a/b: expected"),
        ('version = 1\n[files]\n"a/b" = 3', "a/b: expected"),
        (f'version = 1\n[files]\n"a/../b" = "sha256:{"ab" * 32}"', "'a/../b' is no name below /assets"),
        (f'version = 1\n[files]\n"a b/c" = "sha256:{"ab" * 32}"', "'a b/c' is no name below /assets"),
        (f'version = 1\n[files]\n"a" = "sha256:{"ab" * 32}"', "'a' is no name below /assets"),
    ],
)
def test_what_is_no_lock_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        parse_lock(text, "a/assets.lock")


def test_known_hashes_are_whole() -> None:
    assert len(KNOWN_HASHES) >= 18
    for name, value in KNOWN_HASHES.items():
        assert re.fullmatch(r"[0-9a-f]{64}", value), name
        assert len(name.split("/")) == 4
