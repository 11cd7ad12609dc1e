"""Writes a description of many machines: `python bench/make_description.py 1000 > big.yaml`.

Three are etcd members and masters, the rest workers; --fixed gives every machine an address of its own. The network
is 10.0.0.0/16 with this server at 10.0.0.1, so that it also fits a network namespace of a test.
"""

from __future__ import annotations

import argparse
import sys

HEADER = """\
version: 1
cluster: {{name: big, domain: big.internal}}
network:
  subnet: 10.0.0.0/16
  bootstrapper: 10.0.0.1
  routers: [10.0.0.2]
  dhcp: {{range: 10.0.128.0-10.0.255.250, lease: 12h}}
kubernetes:
  pod_cidr: 10.128.0.0/9
  service_cidr: 10.96.0.0/16
  api: {{vip: 10.0.0.3}}
unknown_machines: {unknown}
profiles:
  storage: {{roles: [worker, ceph-osd], disk: {{size: ">=400G", rotational: false}}}}
machines:
"""


def make_description(count: int, *, fixed: bool = False, unknown: str = "ignore") -> str:
    """The text of a description of `count` machines, at most 30,000; every tenth worker stores data."""
    lines = [HEADER.format(unknown=unknown)]
    for index in range(count):
        mac = make_mac(index)
        address = f"10.0.{1 + index // 250}.{1 + index % 250}"
        if index < 3:
            what = f"ip: {address}, roles: [etcd, master]"
        else:
            role = "profile: storage" if index % 10 == 0 else "roles: [worker]"
            what = f"ip: {address}, {role}" if fixed else role
        lines.append(f'  - {{mac: "{mac}", host: node{index + 1}, {what}}}\n')
    return "".join(lines)


def make_mac(index: int) -> str:
    """The MAC of machine `index`, counted from 0: locally administered, so it meets no real card."""
    return f"02:00:00:{index >> 16 & 255:02x}:{index >> 8 & 255:02x}:{index & 255:02x}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--fixed", action="store_true", help="an address for every machine")
    parser.add_argument("--unknown", default="ignore", help="unknown_machines: ignore, discover or worker")
    options = parser.parse_args()
    sys.stdout.write(make_description(options.count, fixed=options.fixed, unknown=options.unknown))


if __name__ == "__main__":
    main()
