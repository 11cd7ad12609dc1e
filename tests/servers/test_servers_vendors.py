"""The maker of a card by its MAC."""

from __future__ import annotations

import pytest

from bootstrapper.servers.vendors import name_vendor


@pytest.mark.parametrize(
    ("mac", "vendor"),
    [
        ("00:25:90:c0:f7:80", "Super Micro Computer, Inc."),
        ("00:00:0c:01:02:03", "Cisco Systems, Inc"),
        ("52:54:00:00:00:01", ""),
        ("", ""),
        ("00112233445566778899aabbccddeeff", ""),
    ],
)
def test_vendors(mac: str, vendor: str) -> None:
    assert name_vendor(mac) == vendor
