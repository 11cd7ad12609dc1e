"""One kind of value after another: every accepted spelling, with what it means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bootstrapper.cluster import fields as f

ACCEPTED: list[tuple[Callable[[str], Any], str, object]] = [
    (f.parse_mac, "00:25:90:C0:F7:80", "00:25:90:c0:f7:80"),
    (f.parse_mac, "00-25-90-c0-f7-80", "00:25:90:c0:f7:80"),
    (f.parse_mac, "0025.90c0.f780", "00:25:90:c0:f7:80"),
    (f.parse_mac, "002590c0f780", "00:25:90:c0:f7:80"),
    (f.parse_duration, "12h", 43200),
    (f.parse_duration, "30m", 1800),
    (f.parse_duration, "1d", 86400),
    (f.parse_duration, "3h30m", 12600),
    (f.parse_duration, "90s", 90),
    (f.parse_bytes_size, "100G", 100_000_000_000),
    (f.parse_bytes_size, "32Gi", 34_359_738_368),
    (f.parse_bytes_size, "2TB", 2_000_000_000_000),
    (f.parse_bytes_size, "512", 512),
    (f.parse_size_range, ">=100G", (100_000_000_000, None)),
    (f.parse_size_range, ">= 100G", (100_000_000_000, None)),
    (f.parse_size_range, "<=2T", (None, 2_000_000_000_000)),
    (f.parse_size_range, "400G-500G", (400_000_000_000, 500_000_000_000)),
    (f.parse_size_range, "480G", (456_000_000_000, 504_000_000_000)),
    (f.parse_boolean, "yes", True),
    (f.parse_boolean, "off", False),
    (f.parse_domain, "Prod.Example.com.", "prod.example.com"),
    (f.parse_record, "nas", "nas"),
    (f.parse_record, "nas.example.com.", "nas.example.com."),
    (f.parse_server, "pool.ntp.org", "pool.ntp.org"),
    (f.parse_server, "10.0.0.1", "10.0.0.1"),
    (f.parse_registry, "registry.example.com:5000", "registry.example.com:5000"),
    (f.parse_taint, "dedicated=x:NoSchedule", "dedicated=x:NoSchedule"),
    (f.parse_taint, "example.com/gpu:NoExecute", "example.com/gpu=:NoExecute"),
    (f.parse_label_key, "node-role.kubernetes.io/worker", "node-role.kubernetes.io/worker"),
    (f.parse_label_value, "", ""),
    (f.parse_uuid, "4C4C4544-0042-3510-8052-B4C04F4E3232", "4c4c4544-0042-3510-8052-b4c04f4e3232"),
    (f.parse_interface_address, "10.20.0.11/24", "10.20.0.11/24"),
    (f.parse_update_strategy, "off", "off"),
    (f.parse_flag, "feature-gates", "feature-gates"),
    (f.parse_url, "https://mirror.example.com:8443/a/b_1.tgz?x=1", "https://mirror.example.com:8443/a/b_1.tgz?x=1"),
]


@pytest.mark.parametrize(("parse", "text", "value"), ACCEPTED)
def test_accepted(parse: Callable[[str], Any], text: str, value: object) -> None:
    assert parse(text) == value


REFUSED: list[tuple[Callable[[str], Any], str]] = [
    (f.parse_mac, "00:25-90:c0:f7:80"),
    (f.parse_mac, "00:25:90:c0:f7:80 "),
    (f.parse_mac, "00:25:90:c0:f7:8g"),
    (f.parse_address, "10.10.14.011"),
    (f.parse_address, "127.0.0.1"),
    (f.parse_address, "0.0.0.0"),
    (f.parse_address, "255.255.255.255"),
    (f.parse_network, "10.0.0.0/33"),
    (f.parse_network, "10.0.0.0/255.0.0.0"),
    (f.parse_network, "10.0.0.0/0.255.255.255"),
    (f.parse_duration, ""),
    (f.parse_duration, "12"),
    (f.parse_duration, "1h2d"),
    (f.parse_duration, "-1h"),
    (f.parse_bytes_size, "1.5T"),
    (f.parse_size_range, ">100G"),
    (f.parse_boolean, "maybe"),
    (f.number(1, 9), "٣"),
    (f.number(1, 9), "1_0"),
    (f.number(1, 9), "0"),
    (f.number(1, 9), "9" * 5000),
    (f.parse_host, "-a"),
    (f.parse_host, "a" * 64),
    (f.parse_host, ""),
    (f.parse_domain, "a." * 127 + "a"),
    (f.parse_registry, "https://registry.k8s.io"),
    (f.parse_registry, "registry.k8s.io:99999"),
    (f.parse_taint, "a=b=c:NoSchedule"),
    (f.parse_label_key, "/x"),
    (f.parse_label_key, "a/b/c"),
    (f.parse_word, "a b"),
    (f.parse_word, 'a"b'),
    (f.parse_text, "a\nb"),
    (f.parse_url, "ftp://x/y"),
    (f.parse_url, "https://x/y z"),
    (f.parse_url, "https://x/`id`"),
    (f.parse_device, "/dev/../etc/passwd"),
    (f.parse_device, "/dev/x$(id)"),
    (f.parse_interface_address, "10.0.0.1/0"),
    (f.parse_interface_address, "10.0.0.1/99999"),
    (f.parse_ssh_key, "ssh-ed25519"),
    (f.parse_ssh_key, "-----BEGIN OPENSSH PRIVATE KEY-----"),
    (f.parse_ssh_key, 'command="id" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGG4zZHmEkso6L1N7GxxqGk+kCJB/3TOJOco9m8T/DAg'),
]


@pytest.mark.parametrize(("parse", "text"), REFUSED)
def test_refused(parse: Callable[[str], Any], text: str) -> None:
    with pytest.raises(f.Expected):
        parse(text)


@pytest.mark.parametrize(
    ("given", "joined"),
    [
        (("console=ttyS0", "115200n8"), ("console=ttyS0,115200n8",)),
        (("isolcpus=1", "2", "3", "quiet"), ("isolcpus=1,2,3", "quiet")),
        (("quiet", "splash"), ("quiet", "splash")),
        ((), ()),
    ],
)
def test_kernel_arguments_that_yaml_took_apart(given: tuple[str, ...], joined: tuple[str, ...]) -> None:
    assert f.join_kernel_args(given) == joined


def test_the_nearest_word() -> None:
    assert f.find_nearest("woker", ["worker", "master"]) == "did you mean `worker`?"
    assert f.find_nearest("x", ["worker", "master"]) == ""
