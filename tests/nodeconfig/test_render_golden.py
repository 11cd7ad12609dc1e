"""Every output of every machine of the example, as it was when somebody last looked at it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import jinja2
import pytest
from rack import AUTHORITY, make_environment

from bootstrapper.boot.links import Links
from bootstrapper.cluster.load import load
from bootstrapper.cluster.model import Machine
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.outputs import OUTPUTS, check_output, render_output

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = load((ROOT / "cluster-desc.example.yaml").read_text(), "cluster-desc.example.yaml")


@pytest.fixture(scope="module")
def environment() -> jinja2.Environment:
    return make_environment()


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("machine", EXAMPLE.machines, ids=lambda machine: machine.host)
def test_output(
    name: str, machine: Machine, environment: jinja2.Environment, golden: Callable[[str, str], None]
) -> None:
    context = Context(
        cluster=EXAMPLE,
        links=Links(EXAMPLE.network.bootstrapper),
        environment=environment,
        authority_pem=AUTHORITY,
        token="TOKEN",
    )
    text = render_output(name, context, machine).text
    check_output(name, text, machine)
    golden(f"{machine.host}/{name}", text)
