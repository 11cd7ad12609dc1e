"""Rules for what stops a machine between power-on and the kernel: DHCP, PXE, TFTP, iPXE, its script and its files.

Why the times: see reference A4 (DHCP), A6 (PXE) and B3 (TFTP clients) in each rule's words.
"""

from __future__ import annotations

import re

from bootstrapper.boot.decide import Action
from bootstrapper.boot.diagnosis_facts import Facts, Finding, found
from bootstrapper.boot.events import Event
from bootstrapper.boot.firmware import BOOT_FILES
from bootstrapper.boot.minting import MintRefusal
from bootstrapper.boot.report import Step as Report
from bootstrapper.boot.steps import (
    IPXE,
    NO_BOOT_FILE,
    OPEN,
    OTHER_UUID,
    WAITING_FOR_FILES,
    Dhcp,
    Http,
    Pxe,
    Service,
    Tftp,
    boots_something,
    find_action,
    find_asker,
    find_use,
)
from bootstrapper.boot.timeline import BootStep, Outcome, Phase

ANSWER_S = 60.0
"A machine's next packet is late: firmware repeats a request after 4, 8, 16 and 32 s, and then gives up."
AGAIN_S = 15.0
"A client that breaks a transfer off to begin anew with other options does so at once."
RIVAL_S = 2 * 3600.0
"Another DHCP server that was heard is remembered this long; its warning is repeated each hour."
CONFLICT_S = 3600.0
REFUSED_AT_ONCE_S = 45.0
"""Firmware that came back this soon after its boot file never ran it: iPXE itself waits longer than that for a link and
an address (15 s for the link, then 1 + 2 + 4 + 8 + 16 s of DHCP)."""
MISSING_S = 1200.0
"An installed system asks each minute for what it needs, which is told every ten; else it does without."
INSTALLER_S = 300.0
"From the last byte of the initrd to the installer's first word: unpacking it and a slow controller take minutes."

DHCP_ANSWERS = (Dhcp.OFFER, Dhcp.ACK, Dhcp.NAK, Dhcp.OTHER_SERVER, Dhcp.NO_ADDRESS, Dhcp.NO_SUBNET, Dhcp.WRONG_SUBNET)


# -- DHCP --------------------------------------------------------------------------------------------------------------


def other_server(facts: Facts) -> Finding | None:
    taken = facts.last(Service.DHCP, Dhcp.ACK, Dhcp.OTHER_SERVER)
    if taken is None or taken.step != Dhcp.OTHER_SERVER or facts.came_to(Phase.LOADING, taken):
        return None
    return found(taken, *rivals(facts))


def address_in_use(facts: Facts) -> Finding | None:
    """A DECLINE of the machine's, with no address taken since; or what our own look-out found."""
    decline = facts.last(Service.DHCP, Dhcp.ACK, Dhcp.DECLINE)
    if decline is not None and decline.step == Dhcp.DECLINE:
        return found(decline)
    conflict = next((each for each in reversed(facts.events) if is_step(each, Service.DHCP, Dhcp.CONFLICT)), None)
    if conflict is not None and 0 <= facts.now - conflict.at < CONFLICT_S and facts.outcome is not Outcome.RUNNING:
        return found(conflict)
    return None


def no_free_address(facts: Facts) -> Finding | None:
    return last_answer_is(facts, Dhcp.NO_ADDRESS)


def wrong_subnet(facts: Facts) -> Finding | None:
    return last_answer_is(facts, Dhcp.WRONG_SUBNET)


def relay_subnet(facts: Facts) -> Finding | None:
    return last_answer_is(facts, Dhcp.NO_SUBNET)


def last_answer_is(facts: Facts, step: str) -> Finding | None:
    last = facts.last(Service.DHCP, *DHCP_ANSWERS)
    return found(last) if last is not None and last.step == step else None


def wrong_address_asked(facts: Facts) -> Finding | None:
    """One NAK is how a machine that was moved learns it; two without an ACK are somebody who tells it otherwise."""
    naks = facts.list(Service.DHCP, Dhcp.NAK)
    if len(naks) < 2 or facts.last(Service.DHCP, Dhcp.NAK, Dhcp.ACK) is not naks[-1]:
        return None
    return found(naks[-1], *rivals(facts))


def uuid_differs(facts: Facts) -> Finding | None:
    refused = facts.last(Service.HTTP, Http.SCRIPT, Http.SCRIPT_REFUSED)
    if refused is not None and refused.step == Http.SCRIPT_REFUSED and MintRefusal.UUID in refused.detail:
        return found(refused)
    offer = facts.last(Service.DHCP, Dhcp.OFFER)
    if offer is not None and OTHER_UUID in offer.detail and facts.on_its_way and facts.phase < Phase.INSTALLER:
        return found(offer)
    return None


def architecture(facts: Facts) -> Finding | None:
    for step in reversed(facts.steps):
        if step.service in (Service.DHCP, Service.HTTP, Service.PXE) and NO_BOOT_FILE in step.detail:
            return found(step) if facts.history.open else None
    return None


def http_boot(facts: Facts) -> Finding | None:
    """Nothing to boot for a firmware although an install is open: it wants a URL, and TFTP names are all there are."""
    last = facts.last(Service.DHCP, *DHCP_ANSWERS)
    if last is None or boots_something(last.detail) or find_asker(last.detail) in ("", IPXE):
        return None
    return found(last) if last.detail.endswith(OPEN) and facts.history.open else None


def rival_server(facts: Facts) -> Finding | None:
    heard = rivals(facts)
    return _find_offer(facts, *heard) if heard else None


def offer_not_taken(facts: Facts) -> Finding | None:
    return _find_offer(facts)


def _find_offer(facts: Facts, *more: Event) -> Finding | None:
    """An offer that nothing came back for; since the first of those that are repeated.

    Firmware takes none that has nothing to boot (edk2's PxeBcDhcp4, Intel's PXE-E53), which sends an installed machine
    to its disk. Its system has a static address, and is not heard by DHCP.
    """
    last = facts.last(Service.DHCP)
    if last is None or last.step != Dhcp.OFFER or not facts.is_late(last, ANSWER_S) or facts.in_service:
        return None
    if find_asker(last.detail) and not boots_something(last.detail):
        return None
    if facts.came_to(Phase.FILE, last):
        return None
    offers = facts.list(Service.DHCP)
    first = len(offers)
    while first and offers[first - 1].step == Dhcp.OFFER:
        first -= 1
    again = len(offers) - first
    lines = [f"{again} offers, none taken"] if again > 1 else []
    return found(offers[first], *lines, *more)


def rivals(facts: Facts) -> list[Event]:
    """The last warning of another DHCP server on the link, when there was one lately."""
    heard = [each for each in facts.around if is_step(each, Service.DHCP, Dhcp.RIVAL)]
    return [each for each in heard[-1:] if abs(facts.now - each.at) < RIVAL_S]


def is_step(event: Event, service: Service, step: str) -> bool:
    return event.service == service and event.step == step


# -- PXE and TFTP ------------------------------------------------------------------------------------------------------


def pxe_not_answered(facts: Facts) -> Finding | None:
    asked = facts.last(Service.PXE)
    if asked is None or asked.step != Pxe.NOTHING or not facts.on_its_way:
        return None
    return found(asked) if facts.is_late(asked, AGAIN_S) and not facts.came_to(Phase.FILE, asked) else None


def no_tftp_request(facts: Facts) -> Finding | None:
    ack = facts.last(Service.DHCP, Dhcp.ACK)
    if ack is None or not boots_something(ack.detail) or find_asker(ack.detail) == IPXE:
        return None
    if facts.list(Service.TFTP) or facts.phase > Phase.FILE or not facts.is_late(facts.steps[-1], ANSWER_S):
        return None
    return found(ack, *facts.list(Service.PXE)[-1:], *rivals(facts))


def tftp_no_answer(facts: Facts) -> Finding | None:
    """Requests arrive, and nothing that we send is ever acknowledged."""
    if facts.list(Service.TFTP, Tftp.SENDING) or facts.phase > Phase.FILE:
        return None
    unheard = facts.last(Service.TFTP, Tftp.UNHEARD, Tftp.TIMED_OUT)
    if unheard is None or find_block(unheard.detail) not in (None, 0):
        return None
    patience = AGAIN_S if unheard.step == Tftp.UNHEARD else 0.0
    return found(unheard) if facts.is_late(unheard, patience) else None


def tftp_block_size(facts: Facts) -> Finding | None:
    broken = _find_broken(facts)
    if broken is None or find_block(broken.detail) not in (0, 1):
        return None
    return found(broken, *facts.list(Service.TFTP, Tftp.SENDING)[-1:])


def tftp_stalled(facts: Facts) -> Finding | None:
    broken = _find_broken(facts)
    return None if broken is None else found(broken)


def _find_broken(facts: Facts) -> BootStep | None:
    """The last transfer that broke off, when nothing got through after it."""
    ended = facts.last(Service.TFTP, Tftp.SENT, Tftp.ABORTED, Tftp.TIMED_OUT)
    if ended is None or ended.step == Tftp.SENT or facts.phase > Phase.FILE:
        return None
    patience = AGAIN_S if ended.step == Tftp.ABORTED else 0.0
    return ended if facts.is_late(ended, patience) else None


def find_block(detail: str) -> int | None:
    """The last block that a broken transfer got through; `servers.tftp` says it."""
    match = BLOCK.search(detail)
    return int(match[1]) if match else None


BLOCK = re.compile(r"after block (\d{1,9})")


def tftp_no_file(facts: Facts) -> Finding | None:
    last = facts.last(Service.TFTP)
    if last is None or last.step != Tftp.REFUSED or not facts.on_its_way or facts.phase > Phase.FILE:
        return None
    return found(last) if facts.is_late(last, AGAIN_S) else None


def boot_file_refused(facts: Facts) -> Finding | None:
    """A UEFI firmware got its boot file and came straight back for it, or went on without a word."""
    if not facts.history.open or facts.boot is None or not facts.boot.firmware.startswith("UEFI"):
        return None
    if facts.phase > Phase.FILE:
        return None
    for before, boot in zip(reversed(facts.boots[:-1]), reversed(facts.boots), strict=False):
        sent = find_boot_file_sent(before.steps)
        if before.phase is Phase.FILE and sent and 0 <= boot.started_at - sent.at <= REFUSED_AT_ONCE_S:
            return found(sent, f"{boot.firmware} was back {boot.started_at - sent.at:.0f} s later")
        return None
    return None


def ipxe_silent(facts: Facts) -> Finding | None:
    """The boot file was sent, or even iPXE's own first request answered, and then nothing."""
    if facts.phase is not Phase.FILE or not facts.history.open:
        return None
    sent = facts.last(Service.TFTP, Tftp.SENT)
    if sent is None or facts.steps[-1] is not sent or not facts.is_late(sent, ANSWER_S):
        return None
    return found(sent)


def find_boot_file_sent(steps: tuple[BootStep, ...]) -> BootStep | None:
    for step in reversed(steps):
        if step.service == Service.TFTP and step.step == Tftp.SENT and step.detail.startswith(FIRST_FILES):
            return step
    return None


FIRST_FILES = tuple(f"{name}," for name in BOOT_FILES.values())


# -- iPXE --------------------------------------------------------------------------------------------------------------


def no_script_request(facts: Facts) -> Finding | None:
    ack = facts.last(Service.DHCP, Dhcp.ACK)
    if ack is None or find_asker(ack.detail) != IPXE or not boots_something(ack.detail):
        return None
    if facts.phase is not Phase.IPXE or not facts.is_late(ack, ANSWER_S):
        return None
    return found(ack)


def script_wrong_sender(facts: Facts) -> Finding | None:
    refused = facts.last(Service.HTTP, Http.SCRIPT, Http.SCRIPT_REFUSED)
    if refused is None or refused.step != Http.SCRIPT_REFUSED or MintRefusal.ADDRESS not in refused.detail:
        return None
    return found(refused, *rivals(facts))


def script_failed(facts: Facts) -> Finding | None:
    failed = facts.last(Service.HTTP)
    return found(failed) if failed is not None and failed.step == Http.SCRIPT_FAILED else None


def kernel_not_fetched(facts: Facts) -> Finding | None:
    script = facts.last(Service.HTTP, Http.SCRIPT)
    if script is None or facts.phase is not Phase.SCRIPT or find_action(script.detail) != Action.INSTALL:
        return None
    return found(script) if facts.is_late(script, ANSWER_S) else None


def file_missing(facts: Facts) -> Finding | None:
    """Asked for and not there, unless the machine went on without it; or known to be missing, and no install opened."""
    refused = facts.last(Service.HTTP, Http.SCRIPT, Http.SCRIPT_REFUSED)
    if refused is not None and refused.step == Http.SCRIPT_REFUSED and refused.detail.startswith(WAITING_FOR_FILES):
        return found(refused)
    missing = facts.last(Service.HTTP, Http.NO_FILE)
    if missing is None or not facts.is_late(missing, AGAIN_S):
        return None
    if facts.in_service or (not facts.history.open and facts.is_late(missing, MISSING_S)):
        return None
    own = _find_download(missing.detail)
    for each in facts.after(missing):
        # Nothing waits for a download: that other units are well says nothing about it.
        if _goes_on(each) and (each.service != Service.SYSTEM or each.detail.startswith(own)):
            return None
    return found(missing)


def _find_download(name: str) -> str:
    """What the installed system calls the unit that fetches the asset `name`, which begins with its component."""
    return f"{DOWNLOAD}{name.partition('/')[0]}.service:"


DOWNLOAD = "bootstrapper-download@"
"Of `nodeconfig.roles.downloads`."


def _goes_on(step: BootStep) -> bool:
    if step.service in (Service.INSTALLER, Service.SYSTEM):
        return step.step != Report.FAILED and step.level == "info"
    return step.service == Service.HTTP and step.step == Http.LOADED


def download_cut_off(facts: Facts) -> Finding | None:
    files = facts.last(Service.HTTP, Http.LOADING, Http.LOADED, Http.PROGRESS, Http.CUT_OFF)
    if files is None or files.step != Http.CUT_OFF or not facts.is_late(files, ANSWER_S) or not facts.on_its_way:
        return None
    return None if any(_goes_on(each) for each in facts.after(files)) else found(files)


def installer_silent(facts: Facts) -> Finding | None:
    loaded = facts.last(Service.HTTP, Http.LOADING, Http.LOADED, Http.PROGRESS)
    if loaded is None or loaded.step != Http.LOADED or facts.phase is not Phase.LOADING:
        return None
    if find_use(loaded.detail) not in ("kernel", "initrd") or not facts.is_late(loaded, INSTALLER_S):
        return None
    return found(loaded)
