"""Each mix of roles, each supported minor: what its machines receive, as it was when somebody last looked at it.

A mix is a description in mixes/; of each machine, the text that its installed system reads is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jinja2
import pytest
from rack import AUTHORITY, make_environment

from bootstrapper.boot.links import Links
from bootstrapper.cluster.load import load
from bootstrapper.cluster.model import Cluster, Machine
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.outputs import check_output, config_output, render_output

MIXES = {path.stem: load(path.read_text(), path.name) for path in sorted((Path(__file__).parent / "mixes").iterdir())}
MACHINES = [(name, cluster, machine) for name, cluster in MIXES.items() for machine in cluster.machines]


@pytest.fixture(scope="module")
def environment() -> jinja2.Environment:
    return make_environment()


@pytest.mark.parametrize(
    ("mix", "cluster", "machine"), MACHINES, ids=[f"{name}-{machine.host}" for name, _, machine in MACHINES]
)
def test_machine(
    mix: str,
    cluster: Cluster,
    machine: Machine,
    environment: jinja2.Environment,
    golden: Callable[[str, str], None],
) -> None:
    context = Context(
        cluster=cluster,
        links=Links(cluster.network.bootstrapper),
        environment=environment,
        authority_pem=AUTHORITY,
        token="TOKEN",
    )
    output = config_output(machine)
    text = render_output(output, context, machine).text
    check_output(output, text, machine)
    golden(f"mixes/{mix}/{machine.host}.{output}", text)


def test_every_supported_minor_is_in_a_mix() -> None:
    assert {cluster.kubernetes.version.rpartition(".")[0] for cluster in MIXES.values()} >= {"1.35", "1.36", "1.37"}
