"""What the tests of this room share: the templates as `cli` would load them, and machines made by hand."""

from __future__ import annotations

from functools import cache
from ipaddress import IPv4Address
from pathlib import Path

import jinja2

from bootstrapper.cluster.model import Arch, DiskSelector, Machine, OperatingSystem, Role
from bootstrapper.templating import build_environment

TEMPLATES = Path(__file__).parent.parent.parent / "templates"
AUTHORITY = "-----BEGIN CERTIFICATE-----\nplaceholder\n-----END CERTIFICATE-----\n"


def load_templates() -> dict[str, str]:
    return {str(path.relative_to(TEMPLATES)): path.read_text() for path in TEMPLATES.rglob("*") if path.is_file()}


@cache
def make_environment() -> jinja2.Environment:
    """One for all tests: compiling the templates is what takes the time."""
    return build_environment(load_templates())


def make_machine(mac: str, host: str, ip: str | None, roles: set[Role], os: OperatingSystem) -> Machine:
    return Machine(
        macs=(mac,),
        host=host,
        ip=None if ip is None else IPv4Address(ip),
        roles=frozenset(roles),
        profile=None,
        uuid=None,
        serial=None,
        disk=DiskSelector(),
        data_disk=None,
        interfaces=(),
        labels={},
        taints=(),
        os=os,
        arch=Arch.AMD64,
        console=None,
        bmc=None,
        line=1,
    )
