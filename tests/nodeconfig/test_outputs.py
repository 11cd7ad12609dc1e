from __future__ import annotations

from dataclasses import replace

import pytest
from rack import load_templates

from bootstrapper.cluster.model import Cluster
from bootstrapper.errors import RenderProblem
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.outputs import OUTPUTS, check_output, render_all, render_output
from bootstrapper.templating import build_environment


def test_every_output_of_every_machine_is_accepted(context: Context) -> None:
    seen = [(machine.host, name) for machine, name, _ in render_all(context)]
    assert seen[:3] == [("node1", "cloud-config"), ("node1", "ignition"), ("node1", "install")]
    assert len(seen) == 3 * len(OUTPUTS)


def test_the_public_text_holds_no_token(context: Context, cluster: Cluster) -> None:
    public = replace(context, token=None)
    for machine in cluster.machines:
        for name in OUTPUTS:
            assert "secret-of-this-boot" not in render_output(name, public, machine).text


def with_template(context: Context, name: str, text: str) -> Context:
    """As if the admin's own file took the place of a built-in one, and for the public text, as `check` renders it."""
    return replace(context, environment=build_environment({**load_templates(), name: text}), token=None)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("nodes/base/hosts.j2", "a\n{{ hots }}\n", "templates/nodes/base/hosts.j2:2: 'hots' is undefined (for node1)"),
        ("nodes/base/report.env.j2", "{{ x }}", "templates/nodes/base/report.env.j2:1: 'x' is undefined (for node1)"),
        ("nodes/install/install.env.j2", "{{ x }}", "templates/nodes/install/install.env.j2:1: 'x' is undefined"),
        ("boot/install.ipxe.j2", "echo no magic\n", "boot.ipxe of node1: the first line is not #!ipxe"),
    ],
)
def test_a_fault_in_a_template_is_found_by_check(context: Context, name: str, text: str, message: str) -> None:
    with pytest.raises(RenderProblem) as caught:
        list(render_all(with_template(context, name, text)))
    assert caught.value.message.startswith(message)


def test_what_a_reader_would_refuse_is_found(cluster: Cluster) -> None:
    machine = cluster.machines[0]
    for name, text, message in (
        ("cloud-config", "# cloud-config\n", "cloud-config of node1: the first line is not #cloud-config"),
        ("cloud-config", "#cloud-config\nhostnam: a\n", "cloud-config of node1: hostnam: coreos-cloudinit knows no"),
        ("cloud-config", "#cloud-config\na: [\n", "cloud-config of node1: not YAML: "),
        ("ignition", '{"ignition": {"version": "2.2.0"}}', "ignition of node1: Ignition version 2.2.0"),
        ("meta-data", "instance-id: a\n", "meta-data of node1: expected instance-id and local-hostname"),
    ):
        with pytest.raises(RenderProblem) as caught:
            check_output(name, text, machine)
        assert caught.value.message.startswith(message)
