# ruff: noqa: E501 -- messages stand here as one line each, as the admin reads them
"""Every refusal, as the admin reads it: one edit of a good file, and all that is then said of it."""

from __future__ import annotations

import pytest

from bootstrapper.cluster.load import load
from bootstrapper.errors import ClusterProblems

GOOD = """\
version: 1
cluster: {name: prod, domain: prod.internal}
network:
  subnet: 10.10.14.0/24
  bootstrapper: 10.10.14.253
  routers: [10.10.14.254]
  dhcp: {range: 10.10.14.100-10.10.14.199, lease: 12h}
  dns: {upstream: [10.1.1.1], records: {nas: 10.10.14.9}}
  more_subnets: []
os: {family: flatcar, version: 4593.2.5}
kubernetes:
  version: 1.35.8
  api: {vip: 10.10.14.250}
ssh_authorized_keys: []
profiles: {storage: {roles: [worker, ceph-osd]}}
machines:
  - {mac: "00:25:90:c0:f7:80", host: node1, ip: 10.10.14.11, roles: [etcd, master]}
  - {mac: "0c:c4:7a:82:c5:bc", host: node2, ip: 10.10.14.12, roles: [etcd, master]}
  - {mac: "0c:c4:7a:82:c5:b8", host: node3, ip: 10.10.14.13, roles: [etcd, master, ingress]}
  - {mac: "00:25:90:c0:f6:ee", host: node4, roles: [worker]}
  - {mac: "00:25:90:c0:f6:d6", profile: storage}
"""


def problems(text: str) -> list[str]:
    try:
        load(text, "d.yaml")
    except ClusterProblems as error:
        return [problem.text() for problem in error.problems]
    return []


def test_the_base_is_good() -> None:
    assert problems(GOOD) == []


VALUES = [
    (
        "network:\n",
        "netwrok:\n",
        [
            "d.yaml:1: network: required, but missing: expected a mapping of keys to values",
            "d.yaml:3: netwrok: unknown key (did you mean `network`?)",
        ],
    ),
    ("host: node4", "hots: node4", ["d.yaml:20: machines[3].hots: unknown key (did you mean `host`?)"]),
    ("host: node4", "hostname: node4", ["d.yaml:20: machines[3].hostname: unknown key (did you mean `host`?)"]),
    ("cluster: {", "cluster: {name: prod, ", ["d.yaml:2: cluster.name: repeated key: it already stands on line 2"]),
    ("os: {family", "os: {}\nos: {family", ["d.yaml:11: os: repeated key: it already stands on line 10"]),
    (
        '"00:25:90:c0:f7:80"',
        "00:25:90:c0:f7",
        ['d.yaml:17: machines[0].mac: expected a MAC address such as 00:25:90:c0:f7:80, found "00:25:90:c0:f7"'],
    ),
    (
        '"00:25:90:c0:f7:80"',
        "00:00:00:00:00:00",
        ['d.yaml:17: machines[0].mac: expected a card\'s own MAC address, not all zeros, found "00:00:00:00:00:00"'],
    ),
    (
        '"00:25:90:c0:f7:80"',
        "ff:ff:ff:ff:ff:ff",
        [
            'd.yaml:17: machines[0].mac: expected a card\'s own MAC address, not the broadcast address, found "ff:ff:ff:ff:ff:ff"'
        ],
    ),
    (
        '"00:25:90:c0:f7:80"',
        "01:00:5e:00:00:01",
        [
            'd.yaml:17: machines[0].mac: expected a card\'s own MAC address, not a multicast one (its first byte is odd), found "01:00:5e:00:00:01"'
        ],
    ),
    (
        "10.10.14.11,",
        "10.10.14.256,",
        ['d.yaml:17: machines[0].ip: expected an IPv4 address such as 10.10.14.11, found "10.10.14.256"'],
    ),
    (
        "10.10.14.11,",
        "10.10.14.11/24,",
        [
            'd.yaml:17: machines[0].ip: expected an IPv4 address such as 10.10.14.11, found "10.10.14.11/24" (write `10.10.14.11`, without the prefix length)'
        ],
    ),
    (
        "10.10.14.11,",
        "fe80::1,",
        [
            'd.yaml:17: machines[0].ip: expected an IPv4 address such as 10.10.14.11, found "fe80::1" (IPv6 is not supported)'
        ],
    ),
    (
        "10.10.14.11,",
        "224.0.0.1,",
        ['d.yaml:17: machines[0].ip: expected an IPv4 address that a host can have, found "224.0.0.1"'],
    ),
    (
        "subnet: 10.10.14.0/24",
        "subnet: 10.10.14.0",
        [
            'd.yaml:4: network.subnet: expected a network such as 10.10.14.0/24, found "10.10.14.0" (add the prefix length)'
        ],
    ),
    (
        "subnet: 10.10.14.0/24",
        "subnet: 10.10.14.5/24",
        [
            'd.yaml:4: network.subnet: expected a network\'s first address, found "10.10.14.5/24" (did you mean `10.10.14.0/24`?)'
        ],
    ),
    (
        "subnet: 10.10.14.0/24",
        "subnet: 10.10.14.0/31",
        ["d.yaml:4: network.subnet: expected a network of prefix length 8 to 30, found /31"],
    ),
    (
        "10.10.14.100-10.10.14.199",
        "10.10.14.100",
        ['d.yaml:7: network.dhcp.range: expected a range such as 10.10.14.100-10.10.14.199, found "10.10.14.100"'],
    ),
    (
        "10.10.14.100-10.10.14.199",
        "10.10.14.199-10.10.14.100",
        [
            'd.yaml:7: network.dhcp.range: expected a range whose first address is the lower one, found "10.10.14.199-10.10.14.100" (did you mean `10.10.14.100-10.10.14.199`?)'
        ],
    ),
    (
        "host: node4",
        "host: Node_4",
        [
            'd.yaml:20: machines[3].host: expected a host name: at most 63 of a-z, 0-9 and -, a letter or digit at both ends, found "Node_4" (did you mean `node-4`?)'
        ],
    ),
    (
        "host: node4",
        "host: node4.prod.internal",
        [
            'd.yaml:20: machines[3].host: expected a host name without dots, found "node4.prod.internal" (the domain is added: write `node4`)'
        ],
    ),
    (
        "domain: prod.internal",
        "domain: prod..internal",
        ['d.yaml:2: cluster.domain: expected a domain name such as prod.example.com, found "prod..internal"'],
    ),
    (
        "version: 1.35.8",
        "version: v1.35.8",
        ['d.yaml:12: kubernetes.version: expected a version such as 1.35.8, without a leading v, found "v1.35.8"'],
    ),
    (
        "version: 1.35.8",
        "version: 1.35",
        ['d.yaml:12: kubernetes.version: expected a version such as 1.35.8, without a leading v, found "1.35"'],
    ),
    ("version: 1\n", "version: 2\n", ['d.yaml:1: version: expected 1, found "2"']),
    (
        "lease: 12h",
        "lease: 12",
        [
            'd.yaml:7: network.dhcp.lease: expected a duration such as 12h, 30m or 3h30m, found "12" (d, h, m and s are the units)'
        ],
    ),
    (
        "lease: 12h",
        "lease: infinite",
        ['d.yaml:7: network.dhcp.lease: expected a duration such as 12h, 30m or 3h30m, found "infinite"'],
    ),
    ("lease: 12h", "lease: 5s", ['d.yaml:7: network.dhcp.lease: expected a lease time from 1m to 366d, found "5s"']),
    (
        "profile: storage",
        "profile: storge",
        ['d.yaml:21: machines[4].profile: expected the name of a profile, found "storge" (did you mean `storage`?)'],
    ),
    (
        "roles: [worker]",
        "roles: [woker]",
        [
            'd.yaml:20: machines[3].roles[0]: expected one of etcd, master, flannel, worker, ingress, ceph-mon, ceph-osd, found "woker" (did you mean `worker`?)'
        ],
    ),
    (
        "roles: [worker]",
        "roles: worker",
        ['d.yaml:20: machines[3].roles: expected a list, found "worker" (write [worker])'],
    ),
    ("roles: [worker]", "roles: []", ["d.yaml:20: machines[3].roles: expected at least one, found an empty list"]),
    (
        ", roles: [worker]}",
        "}",
        ["d.yaml:20: machines[3].roles: required, but missing: expected a list of roles, here or on its profile"],
    ),
    ('mac: "00:25:90:c0:f6:ee", ', "", ["d.yaml:20: machines[3].mac: required, but missing: expected a MAC address"]),
    (
        "ssh_authorized_keys: []",
        "ssh_authorized_keys: [ssh-dss AAAA]",
        [
            'd.yaml:14: ssh_authorized_keys[0]: expected an SSH public key such as `ssh-ed25519 AAAA... admin`, found "ssh-dss AAAA" (OpenSSH no longer accepts DSA keys)'
        ],
    ),
    (
        "ssh_authorized_keys: []",
        "ssh_authorized_keys: [ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAA]",
        [
            'd.yaml:14: ssh_authorized_keys[0]: expected an SSH public key whose data is of the type it names, found "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAA" (was it cut when it was copied?)'
        ],
    ),
    (
        "ssh_authorized_keys: []",
        "addons: [../etc]",
        ['d.yaml:14: addons[0]: expected the name of a folder below templates/addons, found "../etc"'],
    ),
    (
        "ssh_authorized_keys: []",
        "unknown_machines: accept",
        ['d.yaml:14: unknown_machines: expected one of ignore, discover, worker, found "accept"'],
    ),
    (
        "ssh_authorized_keys: []",
        "labels: {rack_: a}",
        ['d.yaml:14: labels.rack_: expected a label key such as rack or example.com/rack, found "rack_"'],
    ),
    (
        "ssh_authorized_keys: []",
        "labels: {node-role.kubernetes.io/worker: a b}",
        [
            'd.yaml:14: labels.node-role.kubernetes.io/worker: expected a label value: at most 63 of letters, digits, - _ . with a letter or digit at both ends, found "a b"'
        ],
    ),
    (
        "ssh_authorized_keys: []",
        "taints: [dedicated=x]",
        ['d.yaml:14: taints[0]: expected a taint such as dedicated=storage:NoSchedule, found "dedicated=x"'],
    ),
    (
        "ssh_authorized_keys: []",
        "taints: ['dedicated=x:noschedule']",
        [
            'd.yaml:14: taints[0]: expected a taint such as dedicated=storage:NoSchedule, found "dedicated=x:noschedule" (the effects are NoSchedule, PreferNoSchedule, NoExecute)'
        ],
    ),
    (
        "ssh_authorized_keys: []",
        "disk: {size: 100X}",
        ['d.yaml:14: disk.size: expected a size such as >=100G, <=2T, 400G-500G or 480G, found "100X"'],
    ),
    (
        "ssh_authorized_keys: []",
        "disk: {size: 100G-10G}",
        ['d.yaml:14: disk.size: expected a range of sizes whose first is the smaller one, found "100G-10G"'],
    ),
    (
        "ssh_authorized_keys: []",
        "disk: {path: sda}",
        ['d.yaml:14: disk.path: expected a device\'s path such as /dev/disk/by-id/..., found "sda"'],
    ),
    (
        "ssh_authorized_keys: []",
        "arch: x86_64",
        ['d.yaml:14: arch: expected amd64 or arm64, found "x86_64" (did you mean `amd64`?)'],
    ),
    (
        "ssh_authorized_keys: []",
        "console: com1",
        ['d.yaml:14: console: expected a console such as ttyS0,115200n8, found "com1"'],
    ),
    (
        "ssh_authorized_keys: []",
        "etcd: {version: 3.6.14,",
        ["d.yaml:16: not readable as YAML: did not find expected ',' or '}'"],
    ),
    (
        "version: 4593.2.5}",
        "version: 4593.2.5, updates: {strategy: etcd-lock}}",
        [
            'd.yaml:10: os.updates.strategy: expected off or reboot, found "etcd-lock" (etcd-lock is gone: locksmith speaks only etcd v2, which no etcd here serves)'
        ],
    ),
    (
        "version: 4593.2.5}",
        "version: current}",
        ['d.yaml:10: os.version: expected an exact version such as 4593.2.5, found "current"'],
    ),
    (
        "version: 4593.2.5}",
        "timezone: Europe/Ber lin}",
        ['d.yaml:10: os.timezone: expected a time zone such as Etc/UTC, found "Europe/Ber lin"'],
    ),
    (
        "profiles: {storage: {",
        "profiles: {storage: {profile: other, ",
        [
            "d.yaml:15: profiles.storage.profile: unknown key (only a machine names a profile: profiles do not build on each other)"
        ],
    ),
    (
        "  version: 1.35.8",
        "  version: 1.35.8\n  extra_args: {kublet: {}}",
        ["d.yaml:13: kubernetes.extra_args.kublet: unknown key (did you mean `kubelet`?)"],
    ),
    (
        "  version: 1.35.8",
        "  version: 1.35.8\n  extra_args: {kubelet: {--v: 2}}",
        ['d.yaml:13: kubernetes.extra_args.kubelet.--v: expected a flag without its dashes, found "--v" (write `v`)'],
    ),
    (
        "cluster: {name: prod, domain: prod.internal}",
        "cluster: prod",
        ['d.yaml:2: cluster: expected a mapping of keys to values, found "prod"'],
    ),
    (
        "machines:\n",
        "machines: none\nx:\n",
        [
            'd.yaml:16: machines: expected a list, found "none"',
            "d.yaml:17: x: unknown key (known here: version, cluster, network, os, kubernetes, etcd, flannel, containerd, registry, assets, addons, ssh_authorized_keys, unknown_machines, disk, data_disk, labels, taints, kernel_args, arch, console, local_boot, bmc, hardware, profiles, machines)",
        ],
    ),
    (
        "host: node4, roles: [worker]",
        "serial: '', uuid: 12, roles: [worker]",
        [
            'd.yaml:20: machines[3].serial: expected one line of printable text, found ""',
            'd.yaml:20: machines[3].uuid: expected a UUID such as 4c4c4544-0042-3510-8052-b4c04f4e3232, found "12"',
        ],
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), VALUES, ids=[new.strip() for _, new, _ in VALUES])
def test_a_bad_value(old: str, new: str, expected: list[str]) -> None:
    assert GOOD.count(old) >= 1
    assert problems(GOOD.replace(old, new, 1)) == expected


RELATIONS = [
    (
        "host: node4,",
        "host: node4, interfaces: [{name: e0, addresses: [10.10.14.253/24]}],",
        [
            "d.yaml:20: machines[3].interfaces[0].addresses[0]: 10.10.14.253 is this server's own address (network.bootstrapper)"
        ],
    ),
    (
        '"0c:c4:7a:82:c5:bc"',
        "0025.90c0.f780",
        ["d.yaml:18: machines[1].mac: the MAC 00:25:90:c0:f7:80 is taken by machines[0] on line 17"],
    ),
    (
        'mac: "00:25:90:c0:f6:d6"',
        'macs: ["00:25:90:c0:f6:d6", "00-25-90-c0-f7-80"]',
        ["d.yaml:21: machines[4].macs[1]: the MAC 00:25:90:c0:f7:80 is taken by machines[0] on line 17"],
    ),
    (
        'mac: "00:25:90:c0:f6:d6"',
        'macs: ["00:25:90:c0:f6:d6", "00-25-90-c0-f6-d6"]',
        ["d.yaml:21: machines[4].macs[1]: the MAC 00:25:90:c0:f6:d6 is taken by the same machine on line 21"],
    ),
    (
        "10.10.14.12,",
        "10.10.14.11,",
        ["d.yaml:18: machines[1].ip: the address 10.10.14.11 is taken by machines[0] on line 17"],
    ),
    (
        "host: node2",
        "host: node1",
        ["d.yaml:18: machines[1].host: the host name node1 is taken by machines[0] on line 17"],
    ),
    (
        "host: node2",
        "host: 00-25-90-c0-f6-d6",
        ["d.yaml:21: machines[4].host: the host name 00-25-90-c0-f6-d6 is taken by machines[1] on line 18"],
    ),
    ("host: node2", "host: node2, serial: A1, uuid: 4C4C4544-0042-3510-8052-b4c04f4e3232", []),
    (
        "host: node1",
        "host: bootstrapper",
        ["d.yaml:17: machines[0].host: bootstrapper.prod.internal is this server's own name"],
    ),
    (
        "host: node1",
        "host: k8s",
        ["d.yaml:17: machines[0].host: k8s.prod.internal is the API's name (kubernetes.api.host)"],
    ),
    ("host: node1", "host: nas", ["d.yaml:17: machines[0].host: nas.prod.internal is a name in network.dns.records"]),
    (
        "records: {nas:",
        "records: {k8s.prod.internal.:",
        ["d.yaml:8: network.dns.records.k8s.prod.internal.: k8s.prod.internal is the API's name (kubernetes.api.host)"],
    ),
    (
        "10.10.14.11,",
        "10.10.15.11,",
        ["d.yaml:17: machines[0].ip: expected an address in 10.10.14.0/24, found 10.10.15.11"],
    ),
    (
        "10.10.14.11,",
        "10.10.14.150,",
        [
            "d.yaml:17: machines[0].ip: 10.10.14.150 lies inside the dynamic range 10.10.14.100-10.10.14.199 (choose one outside it, or leave `ip` out where it is not required)"
        ],
    ),
    ("10.10.14.11,", "10.10.14.254,", ["d.yaml:17: machines[0].ip: 10.10.14.254 is a router's address"]),
    (
        "10.10.14.11,",
        "10.10.14.253,",
        ["d.yaml:17: machines[0].ip: 10.10.14.253 is this server's own address (network.bootstrapper)"],
    ),
    (
        "10.10.14.11,",
        "10.10.14.250,",
        ["d.yaml:17: machines[0].ip: 10.10.14.250 is the API's virtual address (kubernetes.api.vip)"],
    ),
    (
        "10.10.14.11,",
        "10.10.14.255,",
        ["d.yaml:17: machines[0].ip: expected a host's address, found 10.10.14.255, the last one of 10.10.14.0/24"],
    ),
    (
        "ip: 10.10.14.11, ",
        "",
        [
            "d.yaml:17: machines[0].ip: required for etcd and master, but missing: expected an IPv4 address (others are told it, and it must outlive every lease)"
        ],
    ),
    (
        "roles: [worker]",
        "roles: [flannel]",
        [
            "d.yaml:20: machines[3].roles: `flannel` alone needs flannel.datastore etcd: without a Node it has no share of the network (add worker, or set flannel.datastore to etcd)"
        ],
    ),
    (
        "bootstrapper: 10.10.14.253",
        "bootstrapper: 10.10.15.253",
        ["d.yaml:5: network.bootstrapper: expected an address in 10.10.14.0/24, found 10.10.15.253"],
    ),
    (
        "bootstrapper: 10.10.14.253",
        "bootstrapper: 10.10.14.0",
        ["d.yaml:5: network.bootstrapper: expected a host's address, found 10.10.14.0, the first one of 10.10.14.0/24"],
    ),
    (
        "bootstrapper: 10.10.14.253",
        "bootstrapper: 10.10.14.120",
        [
            "d.yaml:7: network.dhcp.range: the range holds 10.10.14.120, the address of this server (network.bootstrapper)"
        ],
    ),
    (
        "routers: [10.10.14.254]",
        "routers: [10.10.15.254]",
        ["d.yaml:6: network.routers[0]: expected an address in 10.10.14.0/24, found 10.10.15.254"],
    ),
    ("routers: [10.10.14.254]", "routers: [10.10.14.253]", []),
    (
        "routers: [10.10.14.254]",
        "routers: [10.10.14.101]",
        ["d.yaml:7: network.dhcp.range: the range holds 10.10.14.101, the address of a router"],
    ),
    (
        "10.10.14.100-10.10.14.199",
        "10.10.14.100-10.10.15.199",
        [
            "d.yaml:7: network.dhcp.range: expected a range within 10.10.14.1-10.10.14.254, found 10.10.14.100-10.10.15.199",
            "d.yaml:13: kubernetes.api.vip: 10.10.14.250 lies inside the dynamic range 10.10.14.100-10.10.15.199",
        ],
    ),
    (
        "range: 10.10.14.100-10.10.14.199, ",
        "",
        [
            "d.yaml:7: network.dhcp.range: required, but missing: 2 machines have no `ip` and there is no range to give one from (e.g. range: 10.10.14.100-10.10.14.199)"
        ],
    ),
    (
        "range: 10.10.14.100-10.10.14.199, ",
        "range: 10.10.14.100-10.10.14.100, ",
        ["d.yaml:7: network.dhcp.range: expected at least 2 addresses, found 1: each machine without `ip` needs one"],
    ),
    (
        "range: 10.10.14.100-10.10.14.199, ",
        "mode: reservations, ",
        [
            "d.yaml:20: machines[3].ip: required with network.dhcp.mode reservations, but missing",
            "d.yaml:21: machines[4].ip: required with network.dhcp.mode reservations, but missing",
        ],
    ),
    (
        "vip: 10.10.14.250",
        "vip: 10.10.15.250",
        ["d.yaml:13: kubernetes.api.vip: expected an address in 10.10.14.0/24, found 10.10.15.250"],
    ),
    (
        "vip: 10.10.14.250",
        "vip: 10.10.14.199",
        ["d.yaml:13: kubernetes.api.vip: 10.10.14.199 lies inside the dynamic range 10.10.14.100-10.10.14.199"],
    ),
    ("vip: 10.10.14.250", "vip: 10.10.14.254", ["d.yaml:13: kubernetes.api.vip: 10.10.14.254 is a router's address"]),
    (
        "vip: 10.10.14.250",
        "vip: 10.10.14.253",
        ["d.yaml:13: kubernetes.api.vip: 10.10.14.253 is this server's own address (network.bootstrapper)"],
    ),
    (
        "vip: 10.10.14.250",
        "host: bootstrapper.prod.internal",
        ["d.yaml:13: kubernetes.api.host: bootstrapper.prod.internal is this server's own name"],
    ),
    (
        "more_subnets: []",
        "more_subnets: [{subnet: 10.10.14.128/25, routers: [10.10.14.129]}]",
        ["d.yaml:9: network.more_subnets[0].subnet: 10.10.14.128/25 overlaps the subnet 10.10.14.0/24"],
    ),
    (
        "more_subnets: []",
        "more_subnets: [{subnet: 10.10.15.0/24, routers: [10.10.14.1]}]",
        ["d.yaml:9: network.more_subnets[0].routers[0]: expected an address in 10.10.15.0/24, found 10.10.14.1"],
    ),
    (
        "more_subnets: []",
        "more_subnets: [{subnet: 10.10.15.0/24}]",
        ["d.yaml:9: network.more_subnets[0].routers: required, but missing: expected a list"],
    ),
    (
        "more_subnets: []",
        "more_subnets: [{subnet: 10.244.9.0/24, routers: [10.244.9.1]}]",
        [
            "d.yaml:11: kubernetes.pod_cidr: 10.244.0.0/16 overlaps the machines' network 10.244.9.0/24 (it cannot be changed once the cluster runs)"
        ],
    ),
    (
        "upstream: [10.1.1.1]",
        "upstream: [10.10.14.253]",
        ["d.yaml:8: network.dns.upstream[0]: 10.10.14.253 is this server's own address"],
    ),
    (
        "  version: 1.35.8",
        "  version: 1.35.8\n  pod_cidr: 10.10.0.0/16",
        [
            "d.yaml:13: kubernetes.pod_cidr: 10.10.0.0/16 overlaps the machines' network 10.10.14.0/24 (it cannot be changed once the cluster runs)"
        ],
    ),
    (
        "  version: 1.35.8",
        "  version: 1.35.8\n  service_cidr: 10.10.0.0/16",
        [
            "d.yaml:13: kubernetes.service_cidr: 10.10.0.0/16 overlaps the machines' network 10.10.14.0/24 (it cannot be changed once the cluster runs)"
        ],
    ),
    (
        "  version: 1.35.8",
        "  version: 1.35.8\n  service_cidr: 10.244.0.0/16",
        [
            "d.yaml:13: kubernetes.service_cidr: 10.244.0.0/16 overlaps the pods' network 10.244.0.0/16 (it cannot be changed once the cluster runs)"
        ],
    ),
    (
        "  version: 1.35.8",
        "  version: 1.35.8\n  service_cidr: 10.0.0.0/8",
        [
            "d.yaml:13: kubernetes.service_cidr: 10.0.0.0/8 overlaps the machines' network 10.10.14.0/24 (it cannot be changed once the cluster runs)"
        ],
    ),
    (
        "  version: 1.35.8",
        "  version: 1.35.8\n  dns_ip: 10.97.0.10",
        ["d.yaml:13: kubernetes.dns_ip: expected an address in service_cidr 10.96.0.0/16, found 10.97.0.10"],
    ),
    (
        "  version: 1.35.8",
        "  version: 1.35.8\n  dns_ip: 10.96.0.1",
        [
            "d.yaml:13: kubernetes.dns_ip: 10.96.0.1 is taken: the first address of 10.96.0.0/16 is the API's own service"
        ],
    ),
    (
        "  version: 1.35.8",
        "  version: 1.35.8\n  pod_cidr: 10.244.0.0/22",
        [
            "d.yaml:13: kubernetes.pod_cidr: 10.244.0.0/22 has 4 blocks of /24, expected at least 5: one for each node (it cannot be changed once the cluster runs)"
        ],
    ),
    (
        "  version: 1.35.8",
        "  version: 1.35.8\n  node_cidr_mask: 16",
        [
            "d.yaml:13: kubernetes.node_cidr_mask: expected a prefix length from 17 to 30 for the pod network 10.244.0.0/16, found 16"
        ],
    ),
    (
        "  version: 1.35.8",
        "  version: 1.35.8\n  node_cidr_mask: 26",
        [
            "d.yaml:13: kubernetes.node_cidr_mask: a block of /26 has 61 addresses for pods, expected at least max_pods, 110"
        ],
    ),
    (
        "  version: 1.35.8",
        "  version: 1.35.8\n  dns_domain: prod.internal",
        ["d.yaml:13: kubernetes.dns_domain: prod.internal is the machines' own domain (cluster.domain)"],
    ),
    ("ssh_authorized_keys: []", "flannel: {backend: host-gw}", []),
    (
        "ssh_authorized_keys: []",
        "registry: {port: 443}",
        ["d.yaml:14: registry.port: port 443 is this server's own, for HTTPS"],
    ),
    (
        "ssh_authorized_keys: []",
        "assets: {etcd: {url: 'https://m.example/etcd.tgz'}}",
        ["d.yaml:14: assets.etcd: expected one of sha256, sha512 and signature: what proves the file genuine"],
    ),
    *(
        (
            "ssh_authorized_keys: []",
            f"assets: {{tool: {{url: 'https://m.example/{last}', sha512: '{'ab' * 64}'}}}}",
            [
                f"d.yaml:14: assets.tool.url: expected a URL that ends in a file's name (letters, digits, . _ + -), found '{last}' (or write the file's whole name instead of tool: COMPONENT/VERSION/ARCH/FILE)"
            ],
        )
        for last in ("tool.tgz?v=1", "tool~1.tgz", "a%20b", "..", "")
    ),
    (
        "ssh_authorized_keys: []",
        f"assets: {{tool/1/amd64/tool.tgz: {{url: 'https://m.example/tool.tgz?v=1', sha512: '{'ab' * 64}'}}}}",
        [],
    ),
    (
        "ssh_authorized_keys: []",
        "data_disk: {}",
        ["d.yaml:14: data_disk: expected at least one of path, wwn, serial, model, size"],
    ),
    (
        "ssh_authorized_keys: []",
        "disk: {model: X}\ndata_disk: {model: X}",
        ["d.yaml:15: data_disk: selects the same disk as `disk`, which is for the system"],
    ),
    (
        "host: node4,",
        "host: node4, bmc: {user: root},",
        ["d.yaml:20: machines[3].bmc.address: required, but missing: expected an address"],
    ),
    (
        "host: node4,",
        "host: node4, interfaces: [{name: b0, kind: bond}, {name: b0, vlan_id: 3}],",
        [
            "d.yaml:20: machines[3].interfaces[0].members: required for a bond, but missing",
            "d.yaml:20: machines[3].interfaces[1].name: the machine has two interfaces b0",
            "d.yaml:20: machines[3].interfaces[1].parent: required for a vlan, but missing",
        ],
    ),
    (
        "host: node4,",
        "host: node4, interfaces: [{name: e0, addresses: [10.10.14.11/24]}],",
        [
            "d.yaml:20: machines[3].interfaces[0].addresses[0]: the address 10.10.14.11 is taken by machines[0] on line 17"
        ],
    ),
    (
        "host: node4,",
        "host: node4, interfaces: [{name: e0, addresses: [10.96.3.1/24]}],",
        [
            "d.yaml:11: kubernetes.service_cidr: 10.96.0.0/16 overlaps the network 10.96.3.0/24 of an interface (it cannot be changed once the cluster runs)"
        ],
    ),
    (
        "host: node4,",
        "host: node4, interfaces: [{name: e0, kind: physical, vlan_id: 4}],",
        ["d.yaml:20: machines[3].interfaces[0].vlan_id: only a vlan has `vlan_id`, and this is a physical"],
    ),
    (
        "version: 1.35.8",
        "version: 1.34.11",
        [
            "d.yaml:12: kubernetes.version: expected a version of Kubernetes 1.35, 1.36, 1.37, found 1.34.11 (its support has ended)"
        ],
    ),
    (
        "version: 1.35.8",
        "version: 1.38.0",
        [
            "d.yaml:12: kubernetes.version: expected a version of Kubernetes 1.35, 1.36, 1.37, found 1.38.0 (it is newer than this bootstrapper: look for a newer one)"
        ],
    ),
    (
        "version: 1.35.8",
        "version: 1.36.4",
        [
            "d.yaml:12: kubernetes.version: Kubernetes 1.36.4 does not run on containerd 2.1.5, which flatcar 4593.2.5 has: expected at least 2.2.0 (set containerd.version to 2.3.4, or use flatcar 4757.1.0 of channel beta)"
        ],
    ),
    (
        "version: 4593.2.5",
        "version: 4081.3.10, channel: lts",
        [
            "d.yaml:12: kubernetes.version: Kubernetes 1.35.8 does not run on containerd 1.7.21, which flatcar 4081.3.10 has: expected at least 1.7.28, 2.1.5 or 2.2.0 (set containerd.version to 2.3.4, or use flatcar 4757.1.0 of channel beta)"
        ],
    ),
    (
        "version: 4593.2.5",
        "version: 4757.1.0",
        [
            "d.yaml:10: os.version: flatcar 4757.1.0 is a release of channel beta, found channel stable (set channel to beta, or name a release of stable)"
        ],
    ),
    (
        "version: 4593.2.5",
        "version: '13'",
        ["d.yaml:10: os.version: expected a release such as 4593.2.5 for flatcar, found 13"],
    ),
    (
        "family: flatcar, version: 4593.2.5",
        "family: fedora-coreos, provision: cloud-config",
        ["d.yaml:10: os.provision: fedora-coreos reads ignition, found cloud-config"],
    ),
    (
        "family: flatcar, version: 4593.2.5",
        "family: debian, channel: beta",
        [
            "d.yaml:10: os.channel: expected stable for debian, found beta",
            "d.yaml:12: kubernetes.version: Kubernetes 1.35.8 does not run on containerd 1.7.24, which debian 13 has: expected at least 1.7.28, 2.1.5 or 2.2.0 (set containerd.version to 2.3.4)",
        ],
    ),
    (
        "ssh_authorized_keys: []",
        "etcd: {version: 3.4.30}",
        ["d.yaml:14: etcd.version: expected etcd 3.5.24 or later, of 3.5, 3.6, 3.7, found 3.4.30"],
    ),
    (
        "ssh_authorized_keys: []",
        "etcd: {version: 3.5.20}",
        ["d.yaml:14: etcd.version: expected etcd 3.5.24 or later, of 3.5, 3.6, 3.7, found 3.5.20"],
    ),
    (
        "ssh_authorized_keys: []",
        "containerd: {version: 1.7.20}",
        [
            "d.yaml:14: containerd.version: Kubernetes 1.35.8 does not run on containerd 1.7.20: expected at least 1.7.28, 2.1.5 or 2.2.0 (2.3.4 is a good choice)"
        ],
    ),
    (
        "  version: 1.35.8",
        "  version: 1.35.8\n  extra_args: {kubelet: {pod-infra-container-image: x}}",
        [
            "d.yaml:13: kubernetes.extra_args.kubelet.pod-infra-container-image: kubelet 1.35.8 does not start with --pod-infra-container-image: it was removed in 1.35"
        ],
    ),
    (
        "  version: 1.35.8",
        "  version: 1.35.8\n  extra_args: {etcd: {enable-v2: 'true'}}",
        [
            "d.yaml:13: kubernetes.extra_args.etcd.enable-v2: etcd 3.6.14 does not start with --enable-v2: it was removed in 3.6"
        ],
    ),
    (
        "host: node4,",
        "host: node4, os: {provision: ignition, channel: alpha},",
        [
            "d.yaml:20: machines[3].os.version: flatcar 4593.2.5 is a release of channel stable, found channel alpha (set channel to stable, or name a release of alpha)"
        ],
    ),
    (
        "storage: {roles:",
        "storage: {os: {family: debian, channel: sid}, roles:",
        [
            "d.yaml:12: kubernetes.version: Kubernetes 1.35.8 does not run on containerd 1.7.24, which debian 13 has: expected at least 1.7.28, 2.1.5 or 2.2.0 (set containerd.version to 2.3.4)",
            'd.yaml:15: profiles.storage.os.channel: expected one of stable, beta, alpha, lts, testing, next, found "sid"',
        ],
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), RELATIONS, ids=[new.strip() for _, new, _ in RELATIONS])
def test_keys_that_contradict_each_other(old: str, new: str, expected: list[str]) -> None:
    assert GOOD.count(old) >= 1
    assert problems(GOOD.replace(old, new, 1)) == expected


def edited(*edits: tuple[str, str]) -> str:
    text = GOOD
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    return text


RELAY = ("more_subnets: []", "more_subnets: [{subnet: 10.10.15.0/24, routers: [10.10.15.254]}]")
HOST_GW = ("ssh_authorized_keys: []", "flannel: {backend: host-gw}")


def test_host_gw_across_routed_subnets() -> None:
    assert problems(edited(RELAY, HOST_GW)) == []
    assert problems(edited(RELAY, HOST_GW, ("host: node4", "host: node4, ip: 10.10.15.4"))) == [
        "d.yaml:14: flannel.backend: host-gw needs all nodes on one link: machines[3] with 10.10.15.4 is not in "
        "10.10.14.0/24 (use vxlan or wireguard)"
    ]
    ranged = ("routers: [10.10.15.254]", "routers: [10.10.15.254], range: 10.10.15.100-10.10.15.199")
    assert problems(edited(RELAY, ranged, HOST_GW)) == [
        "d.yaml:14: flannel.backend: host-gw needs all nodes on one link: machines without `ip` may come up in "
        "10.10.15.0/24 (use vxlan or wireguard, or give every node an `ip`)"
    ]


def test_a_machine_behind_a_relay() -> None:
    assert problems(edited(RELAY, ("host: node4", "host: node4, ip: 10.10.15.4"))) == []
    assert problems(edited(RELAY, ("ip: 10.10.14.12", "ip: 10.10.15.12"))) == [
        "d.yaml:13: kubernetes.api.vip: the virtual address 10.10.14.250 must be on every master's network: "
        "10.10.15.12 is not in 10.10.14.0/24 (leave api.vip out, or move machines[1])"
    ]


def test_two_machines_with_one_serial_and_uuid() -> None:
    same = "serial: A1, uuid: 4c4c4544-0042-3510-8052-b4c04f4e3232"
    text = edited(
        ("host: node1", f"host: node1, {same}"), ("host: node2", f"host: node2, {same.replace('4c4c', '4C4C')}")
    )
    assert problems(text) == [
        "d.yaml:18: machines[1].serial: the serial A1 is taken by machines[0] on line 17",
        "d.yaml:18: machines[1].uuid: the uuid 4c4c4544-0042-3510-8052-b4c04f4e3232 is taken by machines[0] on line 17",
    ]


def test_a_cluster_without_etcd_or_master() -> None:
    assert problems(GOOD.replace("roles: [etcd, master]", "roles: [etcd]").replace("roles: [etcd, master, ingress]",
                                                                                  "roles: [ingress]")) == [
        "d.yaml:16: machines: no master: expected at least one machine with the role master"
    ]  # fmt: skip
    assert problems(GOOD.replace("etcd, master", "worker")) == [
        "d.yaml:16: machines: no etcd member: expected at least one machine with the role etcd"
    ]


def test_flannel_alone_joins_a_host_with_its_own_datastore() -> None:
    alone = ("roles: [worker]", "roles: [flannel]")
    assert problems(edited(alone, ("ssh_authorized_keys: []", "flannel: {datastore: etcd}"))) == []


def test_a_newer_kubernetes_starts_with_the_right_containerd() -> None:
    newer = ("version: 1.35.8", "version: 1.36.4")
    assert problems(edited(newer, ("ssh_authorized_keys: []", "containerd: {version: 2.3.4}"))) == []
    assert problems(edited(newer, ("version: 4593.2.5", "version: 4757.1.0, channel: beta"))) == []
    assert problems(edited(("version: 1.35.8", "version: 1.37.1"), ("ssh_authorized_keys: []",
                                                                   "containerd: {version: 2.2.7}"))) == []  # fmt: skip


def test_everything_wrong_is_told_at_once_in_the_order_of_the_file() -> None:
    text = edited(
        ("lease: 12h", "lease: soon"),
        ("10.10.14.12,", "10.10.14.11,"),
        ("roles: [worker]", "roles: [worker], colour: red"),
        ("version: 1.35.8", "version: 1.34.1"),
    )
    assert [line.split(": ")[:2] for line in problems(text)] == [
        ["d.yaml:7", "network.dhcp.lease"],
        ["d.yaml:12", "kubernetes.version"],
        ["d.yaml:18", "machines[1].ip"],
        ["d.yaml:20", "machines[3].colour"],
    ]
