"""The whole way of a machine over HTTP: script, installer's configuration, claim, reports."""

from __future__ import annotations

from rack import NODE1_MAC, NODE4_MAC

from bootstrapper.boot.history import MachineState


def test_a_machine_goes_from_its_script_to_joined(plane):
    script = plane.boot()
    (token,) = plane.tokens
    assert f"ignition.config.url=http://10.10.14.253/m/{token}/install" in script
    assert plane.store.find_history(NODE1_MAC).state is MachineState.BOOTING

    install = plane.get(f"/m/{token}/install")
    assert (install.status_code, install.text) == (200, f"install of node1, token {token}, wipe False\n")
    for step in ("clock", "disk"):
        assert plane.report(token, step).get_json() == {"ok": True}
    assert plane.store.find_history(NODE1_MAC).state is MachineState.INSTALLING

    config = plane.get(f"https:/m/{token}/config")
    assert (config.status_code, config.text) == (200, f"cloud-config of node1, token {token}, wipe False\n")
    for step in ("config", "image", "installed"):
        assert plane.report(token, step).status_code == 200
    history = plane.store.find_history(NODE1_MAC)
    assert (history.state, history.wanted, history.done) == (MachineState.INSTALLED, 1, 1)

    assert plane.report(token, "booted").status_code == 200
    assert plane.report(token, "unit").status_code == 200
    history = plane.store.find_history(NODE1_MAC)
    assert (history.state, history.booted_at > 0) == (MachineState.INSTALLED, True)
    assert history.reason == "its system is up; it has joined when its node is Ready"

    steps = [event.step for event in plane.events]
    assert steps == ["script", "installer config", "clock", "disk", "config claimed", "config", "image", "installed",
                     "booted", "unit"]  # fmt: skip
    assert not any(token in event.detail for event in plane.events)
    assert [event.service for event in plane.events[-4:]] == ["installer", "installer", "system", "system"]


def test_an_installed_machine_boots_its_disk_and_gets_no_token(plane):
    plane.install()
    minted = len(plane.tokens)
    assert "exit 1" in plane.boot()
    assert "sanboot --no-describe --drive 0x80" in plane.boot(arch="0")
    assert len(plane.tokens) == minted
    assert plane.store.find_history(NODE1_MAC).state is MachineState.INSTALLED


def test_a_machine_whose_firmware_needs_a_404_gets_one_once_it_is_installed(plane):
    from dataclasses import replace

    from rack import make_cluster, make_machine

    from bootstrapper.cluster.model import LocalBoot

    plane.cluster = make_cluster(replace(make_machine(), local_boot=LocalBoot.HTTP_404))
    plane.install()
    for path in ("/boot.ipxe", "/grub.cfg"):
        assert plane.get(f"{path}?mac={NODE1_MAC}&arch=7").status_code == 404
    assert plane.events[-1].detail.startswith("local-disk")


def test_a_reinstall_order_opens_the_next_generation(plane):
    from dataclasses import replace

    plane.install()
    plane.store.change_history(NODE1_MAC, lambda history: replace(history, wanted=2, wipe=True))
    plane.clock += 3600
    assert "installing" in plane.boot()
    token = plane.tokens[-1]
    assert "wipe True" in plane.get(f"https:/m/{token}/config").text
    assert plane.report(token, "installed", generation=2).status_code == 200
    history = plane.store.find_history(NODE1_MAC)
    assert (history.done, history.wipe) == (2, False)


def test_a_machine_without_a_fixed_address_installs_from_its_leased_one(plane):
    plane.lease("10.10.14.105", NODE4_MAC)
    assert "installing" in plane.boot(NODE4_MAC, "10.10.14.105")
    assert plane.get(f"/m/{plane.tokens[0]}/install", "10.10.14.105").status_code == 200


def test_an_expired_lease_opens_nothing(plane):
    plane.lease("10.10.14.105", NODE4_MAC)
    plane.clock += 3601
    assert "nothing to boot" in plane.boot(NODE4_MAC, "10.10.14.105")
    assert plane.tokens == []


def test_no_install_from_an_address_that_is_not_the_machines(plane):
    script = plane.boot(source="10.10.14.66")
    assert "nothing to boot" in script
    assert "address leased" in script
    assert "node1" not in script
    assert plane.tokens == []
    assert plane.store.find_history(NODE1_MAC).opened_at == ()


def test_head_opens_nothing(plane):
    assert plane.get(f"/boot.ipxe?mac={NODE1_MAC}&arch=7", method="HEAD").status_code == 200
    assert plane.tokens == []
    assert plane.store.find_history(NODE1_MAC).state is MachineState.ARMED


def test_the_breaker_holds_a_machine_that_opens_install_after_install(plane):
    for _ in range(3):
        assert "installing" in plane.boot()
        plane.clock += 120
    script = plane.boot()
    assert "on hold: 3 installs were opened within 30 minutes" in script
    assert len(plane.tokens) == 3
    assert plane.store.find_history(NODE1_MAC).state is MachineState.HELD
    for token in plane.tokens:
        asked_again = token == plane.tokens[-1]  # its installer may still be there when an admin releases the machine
        assert plane.get(f"https:/m/{token}/config").status_code == (503 if asked_again else 404)
