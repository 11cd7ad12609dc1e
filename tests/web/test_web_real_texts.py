"""The machine plane with the real renderer: what each URL tells, and what it keeps to itself."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
from rack import NODE1_MAC

from bootstrapper.boot.lifecycle import Order
from bootstrapper.boot.orders import Ask
from bootstrapper.cluster.model import Provision
from bootstrapper.nodeconfig.outputs import render_output
from bootstrapper.state.carry_out import carry_out


@pytest.fixture
def real(plane):
    plane.render = render_output
    return plane


def test_the_installer_gets_its_links_and_our_authority(real):
    real.boot()
    (token,) = real.tokens
    reply = real.get(f"/m/{token}/install")
    document = json.loads(reply.text)
    assert document["ignition"]["version"] == "3.3.0"
    assert reply.headers["Content-Type"] == "application/vnd.coreos.ignition+json"
    paths = {file["path"] for file in document["storage"]["files"]}
    assert {"/etc/bootstrapper/authority.pem", "/etc/bootstrapper/install.env"} <= paths


def test_each_order_tells_its_installer_who_it_is(real):
    """Of a server that was restored and counts from one again: the number is the same, the identity never."""
    kept = real.store.find_history(NODE1_MAC)
    told = []
    for _ in range(2):
        real.store.save_history(NODE1_MAC, kept)
        for number in range(2):
            if number:
                carry_out(real.store, real.cluster, NODE1_MAC, Ask(Order.REINSTALL), real.clock)
            real.clock += 3600
            real.boot()
            document = json.loads(real.get(f"/m/{real.tokens[-1]}/install").text)
            files = {file["path"]: file["contents"]["source"] for file in document["storage"]["files"]}
            lines = base64.b64decode(files["/etc/bootstrapper/install.env"].partition(",")[2]).decode().splitlines()
            told.append(tuple(line for line in lines if line.startswith(("GENERATION=", "ORDER_ID="))))
            real.report(real.tokens[-1], "disk", generation=number + 1)
            real.report(real.tokens[-1], "failed", generation=number + 1)
    assert [generation for generation, _ in told] == ["GENERATION=1", "GENERATION=2"] * 2
    first, one, again, two = (order_id.removeprefix("ORDER_ID=") for _, order_id in told)
    assert first == again == "''"
    assert len(one) == len(two) == 32
    assert one != two


@pytest.mark.parametrize("provision", list(Provision))
def test_the_claim_hands_out_what_the_system_is_provisioned_by(real, provision):
    machines = tuple(replace(each, os=replace(each.os, provision=provision)) for each in real.cluster.machines)
    real.cluster = replace(real.cluster, machines=machines)
    real.boot()
    text = real.get(f"https:/m/{real.tokens[0]}/config").text
    assert text.startswith("#cloud-config\n" if provision is Provision.CLOUD_CONFIG else "{")


@pytest.mark.parametrize("name", ["cloud-config", "ignition"])
def test_what_anyone_may_read_holds_no_token(real, name):
    real.boot()
    token = real.tokens[0]
    public = real.get(f"/{name}/{NODE1_MAC}", "10.10.14.66")
    claimed = real.get(f"https:/m/{token}/config")
    assert public.status_code == claimed.status_code == 200
    assert token not in public.text
    assert "/m/" not in public.text
