"""The shapes that publishers' checksum files come in."""

from __future__ import annotations

import json
import re

import pytest

from bootstrapper.assets.checksums import Checksum, find_checksum
from bootstrapper.errors import UserError

A, B, LONG = "ab" * 32, "cd" * 32, "ef" * 64


@pytest.mark.parametrize(
    ("text", "file", "expected"),
    [
        (A, "kubelet", Checksum("sha256", A)),
        (f"{A.upper()}\n", "kubelet", Checksum("sha256", A)),
        (f"{LONG}\n", "kubelet", Checksum("sha512", LONG)),
        (f"{B}  other.tar.gz\n{A}  etcd.tar.gz\n", "etcd.tar.gz", Checksum("sha256", A)),
        (f"{A} *runc.amd64\r\n{B} *runc.arm64\r\n", "runc.amd64", Checksum("sha256", A)),
        (f"SHA256 (etcd.tar.gz) = {A}\n", "etcd.tar.gz", Checksum("sha256", A)),
        (
            f"{B}  ./netboot/gtk/debian-installer/amd64/linux\n{A}  ./netboot/debian-installer/amd64/linux\n",
            "netboot/debian-installer/amd64/linux",
            Checksum("sha256", A),
        ),
        ("d41d8cd98f00b204e9800998ecf8427e  x\n" + f"{A}  x\n{LONG}  x\n", "x", Checksum("sha512", LONG)),
        (
            json.dumps({"images": {"metal": {"path": "m.raw.xz", "sha256": A}, "live": {"path": "l", "sha256": B}}}),
            "m.raw.xz",
            Checksum("sha256", A),
        ),
        (
            json.dumps({"formats": [{"disk": {"location": "https://x/y/m.raw.xz", "sha256": A}}]}),
            "m.raw.xz",
            Checksum("sha256", A),
        ),
    ],
)
def test_shapes(text: str, file: str, expected: Checksum) -> None:
    assert find_checksum(text, file, "SUMS") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "SUMS has no SHA-256 or SHA-512 of x"),
        ("<html>not found</html>", "has no SHA-256"),
        (f"{A}  xx\n{B}  y\n", "has no SHA-256"),
        ("d41d8cd98f00b204e9800998ecf8427e  x\n", "has no SHA-256"),
        ("{" * 100_000, "has no SHA-256"),
        ('{"path": "x", "sha256": "short"}', "has no SHA-256"),
        (f"{A}  x\n{B}  x\n", "SUMS has several sha256 of x that differ"),
    ],
)
def test_what_proves_nothing(text: str, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        find_checksum(text, "x", "SUMS")
