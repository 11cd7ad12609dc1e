"""A machine whose files are not here: no generation is opened, no token minted, and it is told what it waits for."""

from __future__ import annotations

from rack import NODE1_MAC

from bootstrapper.boot.history import History, MachineState


def test_no_install_is_opened_until_its_files_are_here(plane):
    plane.waiting[NODE1_MAC] = "waiting for files: kubelet and 3 more"
    script = plane.boot()
    assert "reason:  waiting for files: kubelet and 3 more\n" in script and "Asking again" in script
    assert plane.tokens == [] and plane.store.find_history(NODE1_MAC) == History()
    assert [(event.step, event.level) for event in plane.events] == [("script refused", "warning")]
    plane.waiting.clear()
    assert "installing" in plane.boot()
    assert len(plane.tokens) == 1 and plane.store.find_history(NODE1_MAC).state is MachineState.BOOTING


def test_a_stranger_is_not_told(plane):
    plane.waiting[NODE1_MAC] = "waiting for files: kubelet"
    script = plane.boot(source="10.10.14.99")
    assert "kubelet" not in script and "Asking again" not in script


def test_an_installed_machine_boots_whatever_is_missing(plane):
    plane.install()
    plane.waiting[NODE1_MAC] = "waiting for files: kubelet"
    assert "boots its own disk" in plane.boot()


def test_a_claim_names_no_file_without_a_known_hash(plane):
    """The race between a look and an edit of the lock: the machine is told to ask again, and nothing is sealed."""
    from bootstrapper.nodeconfig.outputs import render_output

    plane.render, plane.require_hashes = render_output, True
    plane.boot()
    reply = plane.get(f"https:/m/{plane.tokens[-1]}/config")
    assert reply.status_code == 503
    assert any("no hash is known for flanneld-amd64" in event.detail for event in plane.events)
