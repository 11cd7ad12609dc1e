"""No install is opened for a machine whose files are not here; it is told so and asks again."""

from __future__ import annotations

import pytest
from rack import LINKS, NODE1_MAC, make_cluster, make_environment, make_machine

from bootstrapper.boot.decide import Action, Decision, decide
from bootstrapper.boot.firmware import Firmware, Kind, Stage
from bootstrapper.boot.history import History
from bootstrapper.boot.readiness import Readiness
from bootstrapper.boot.scripts import render_script
from bootstrapper.cluster.model import UnknownPolicy

IPXE = Firmware(Kind.UEFI_X64, Stage.IPXE, code=7)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ({}, "waiting for files: they are being checked"),
        ({NODE1_MAC: ()}, ""),
        ({NODE1_MAC: ("a/1/x",)}, "waiting for files: x"),
        ({NODE1_MAC: ("a/1/x", "b/2/y", "c/3/z", "d/4/w")}, "waiting for files: x, y and 2 more"),
    ],
)
def test_what_a_machine_waits_for(missing: dict[str, tuple[str, ...]], words: str) -> None:
    assert Readiness(missing).explain(NODE1_MAC) == words


def test_only_an_install_waits() -> None:
    waiting = "waiting for files: x"

    def ask(history: History, firmware: Firmware = IPXE) -> Decision:
        return decide(make_machine(), UnknownPolicy.IGNORE, firmware, history, waiting)

    assert ask(History()) == Decision(Action.REFUSE, waiting, retry=True)
    assert ask(History(done=1)).action is Action.LOCAL_DISK
    assert ask(History(held="an admin said so")) == Decision(Action.REFUSE, "on hold: an admin said so")
    assert ask(History(), Firmware(Kind.BIOS, Stage.SYSTEM)).action is Action.ADDRESS
    assert ask(History()).network_boots, "it is booted over the network, to be told why"


def test_the_script_asks_again_by_itself() -> None:
    decision = Decision(Action.REFUSE, "waiting for files: x", retry=True)
    text = render_script(make_environment(), decision, IPXE, make_machine(), make_cluster(), LINKS, None)
    again = f"chain --replace --autofree http://10.10.14.253/boot.ipxe?mac={NODE1_MAC}&uuid=${{uuid}}&arch=7 ||\n"
    assert again in text and "reason:  waiting for files: x\n" in text
    plain = Decision(Action.REFUSE, "on hold")
    assert "chain" not in render_script(make_environment(), plain, IPXE, make_machine(), make_cluster(), LINKS, None)
