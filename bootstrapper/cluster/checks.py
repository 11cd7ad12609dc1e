"""What is refused because of how keys stand to each other; fields.py has seen to each value alone.

A check gets the file's values with defaults, the merged machines and the report. Any value may be None: it was bad,
and has been reported. Every check looks at everything it can, since problems are shown all at once.
"""

from __future__ import annotations

from collections.abc import Callable

from bootstrapper.cluster.checks_kubernetes import (
    check_addressing,
    check_assets,
    check_backend,
    check_flags,
    check_node_blocks,
    check_services,
    check_versions,
)
from bootstrapper.cluster.checks_machines import (
    check_disks,
    check_identity,
    check_interfaces,
    check_management,
    check_names,
    check_pool,
    check_roles,
    check_unique,
)
from bootstrapper.cluster.checks_network import (
    check_api,
    check_fixed_addresses,
    check_more_subnets,
    check_ports,
    check_subnet,
    check_upstreams,
)
from bootstrapper.cluster.read import Report, Values


def check(values: Values, machines: list[Values], report: Report) -> None:
    for each in CHECKS:
        each(values, machines, report)


CHECKS: tuple[Callable[[Values, list[Values], Report], None], ...] = (
    check_identity,
    check_roles,
    check_unique,
    check_subnet,
    check_more_subnets,
    check_api,
    check_fixed_addresses,
    check_names,
    check_pool,
    check_disks,
    check_interfaces,
    check_management,
    check_upstreams,
    check_ports,
    check_addressing,
    check_node_blocks,
    check_services,
    check_backend,
    check_versions,
    check_flags,
    check_assets,
)
