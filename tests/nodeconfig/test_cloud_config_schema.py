from __future__ import annotations

import pytest

from bootstrapper.nodeconfig.cloud_config_schema import find_faults


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ([], "document: expected a mapping, got list"),
        ({"hostnam": "a"}, "hostnam: coreos-cloudinit knows no such key"),
        ({"ssh-authorized-keys": []}, "ssh-authorized-keys: coreos-cloudinit knows no such key"),
        ({"coreos": {"units": [{"drop-ins": []}]}}, "coreos.units[0].drop-ins: coreos-cloudinit knows no such key"),
        ({"coreos": {"etcd2": {}}}, "coreos.etcd2: coreos-cloudinit knows no such key"),
        ({"coreos": {"units": {}}}, "coreos.units: expected a list, got dict"),
        ({"coreos": {"units": [{"enable": "yes"}]}}, "coreos.units[0].enable: expected true or false, got str"),
        ({"hostname": 1}, "hostname: expected text, got int"),
        ({"write_files": [{"permissions": 420}]}, 'write_files[0].permissions: expected octal text, as "0644"'),
        ({"write_files": [{"permissions": "rw"}]}, 'write_files[0].permissions: expected octal text, as "0644"'),
        ({"write_files": [{"path": "/usr/x"}]}, "write_files[0].path: lies below /usr, which is read-only"),
        ({"write_files": [{"path": "etc"}]}, "write_files[0].path: expected an absolute path"),
        ({"users": [{"name": "a", "sudo": "ALL"}]}, "users[0].sudo: coreos-cloudinit knows no such key"),
    ],
)
def test_what_it_would_ignore_or_refuse_is_named(document: object, fault: str) -> None:
    assert find_faults(document) == [fault]


def test_a_wrong_word_lists_the_right_ones() -> None:
    (fault,) = find_faults({"coreos": {"units": [{"command": "run"}]}})
    assert fault.startswith("coreos.units[0].command: expected one of start, stop, restart,")


def test_good_documents_have_no_fault() -> None:
    assert find_faults({"write_files": [{"path": "/etc/a", "permissions": "0644", "encoding": "base64"}]}) == []
    assert find_faults({"coreos": {"units": [{"name": "a.service", "mask": True, "command": "start"}]}}) == []
