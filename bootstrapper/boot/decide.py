"""The one decision: what does this machine get now?

DHCP on 67, PXE on 4011, TFTP, HTTP, boot scripts and `simulate` all ask here, since in every relative of this project
some path forgot a check. Pure: who the machine is, what asks, and what has happened to it go in.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from bootstrapper.boot.firmware import Firmware, Kind, Stage
from bootstrapper.boot.history import History
from bootstrapper.boot.local_disk import ROUTES, Hand
from bootstrapper.cluster.model import LocalBoot, Machine, UnknownPolicy


class Action(StrEnum):
    SILENT = "silent"
    "No answer of any kind."
    ADDRESS = "address"
    "An address and names, nothing to boot."
    INSTALL = "install"
    "Boot the installer; a token may be minted."
    LOCAL_DISK = "local-disk"
    "Boot what is on the disk."
    REFUSE = "refuse"
    "A script that says why on the console."


@dataclass(frozen=True, slots=True)
class Decision:
    action: Action
    reason: str
    "Plain words for the log, the console and the admin; holds nothing that the client sent."
    generation: int = 0
    "The open install generation, for INSTALL."
    local_boot: LocalBoot = LocalBoot.AUTO
    "For LOCAL_DISK: the description's word on how (`boot.local_disk`)."
    retry: bool = False
    "Of a REFUSE that ends by itself: the machine asks again and again, and installs without anybody's hand."

    @property
    def network_boots(self) -> bool:
        """Whether anything is served to boot. If not, the firmware goes on to its next boot device, which is the way
        to the local disk that works on every firmware (`boot.local_disk`; reference features.md 2, row 4). Where the
        description says that it does not, our iPXE is loaded to start the disk."""
        return self.action in (Action.INSTALL, Action.REFUSE) or (
            self.action is Action.LOCAL_DISK and ROUTES[self.local_boot].hand is Hand.IPXE
        )


def decide(
    machine: Machine | None, policy: UnknownPolicy, firmware: Firmware, history: History, waiting: str = ""
) -> Decision:
    """What `machine` (None: not in the description) gets when `firmware` asks and `history` is what happened.

    `waiting` (`boot.readiness`): what its install would lack, so that none is opened. Only what answers with a script
    need know: a machine that is refused is booted over the network as one that installs, to be told why.
    """
    if machine is None:
        return _decide_unknown(policy)
    if firmware.stage is Stage.SYSTEM:
        return Decision(Action.ADDRESS, "a running system asks for its address")
    if history.held:
        reason = f"on hold: {history.held}"
        # What an install that has begun left on its disk is not to be booted; what an order has not touched yet is.
        whole = not history.open or (history.done and not history.begun)
        return _to_disk(machine, reason) if whole else Decision(Action.REFUSE, reason)
    if not history.open:
        return _to_disk(machine, f"install generation {history.done} is done")
    if firmware.kind in UNSUPPORTED:
        return Decision(Action.REFUSE, f"no boot file for firmware {firmware.kind} (architecture {firmware.code})")
    if waiting:
        return Decision(Action.REFUSE, waiting, retry=True)
    return Decision(Action.INSTALL, f"install generation {history.wanted} is open", history.wanted)


def _to_disk(machine: Machine, reason: str) -> Decision:
    return Decision(Action.LOCAL_DISK, reason, local_boot=machine.local_boot)


def _decide_unknown(policy: UnknownPolicy) -> Decision:
    if policy is UnknownPolicy.IGNORE:
        return Decision(Action.SILENT, "not in the description")
    return Decision(Action.ADDRESS, f"not in the description (unknown_machines: {policy})")


UNSUPPORTED = frozenset({Kind.UEFI_IA32, Kind.UEFI_ARM64, Kind.OTHER})
