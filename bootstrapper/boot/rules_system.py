"""Rules for the machine that is on hold, not heard of, or installed and not in service."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable

from bootstrapper.boot.breaker import OPENED
from bootstrapper.boot.diagnosis_facts import Facts, Finding, Stranger, found, tell
from bootstrapper.boot.events import Event
from bootstrapper.boot.history import MachineState
from bootstrapper.boot.lifecycle import has_node
from bootstrapper.boot.report import Step as Report
from bootstrapper.boot.steps import Dhcp, Kube, Registry, Service, find_asker, find_image
from bootstrapper.boot.timeline import Boot, BootStep, Outcome
from bootstrapper.cluster.model import Machine

FIRST_BOOT_S = 900.0
"From the installer's last report to the system's first: a server's own start takes up to ten minutes."
DISK_BOOTS = 2
"So often sent to its disk without a word from it."
DISK_BOOT_S = 120.0
LOOP_BOOTS, LOOP_S = 3, 1800.0
"A machine that was in service before: so many in a row, none later than so long after the one before."
REFUSED_S = 1200.0
UNIT_S = 120.0
"A unit that fails may be one that is started again."
JOIN_S = 600.0
"From first boot to a node: programs are downloaded meanwhile."
READY_S = 120.0
STARTED_S = 1800.0
STRANGER_S = 3600.0
NEIGHBOURS = 8
"MACs of one machine's cards follow each other this closely."


# -- on hold -----------------------------------------------------------------------------------------------------------


def held_by_breaker(facts: Facts) -> Finding | None:
    return _find_hold(facts, by_breaker=True)


def held(facts: Facts) -> Finding | None:
    return _find_hold(facts, by_breaker=False)


def _find_hold(facts: Facts, *, by_breaker: bool) -> Finding | None:
    history = facts.history
    if not history.held or (OPENED in history.held) is not by_breaker:
        return None
    troubles = [each for each in facts.events if each.level == "error" and each.at <= history.state_at]
    return Finding(history.state_at, tell(history.held, *troubles[-1:]))


# -- installed ---------------------------------------------------------------------------------------------------------


def boots_network_again(facts: Facts) -> Finding | None:
    """Sent to its disk again and again, and its system was not heard since."""
    if facts.history.open or not facts.history.done:
        return None
    disk_boots, least, heard = _list_disk_boots(facts), DISK_BOOTS, "and never heard"
    if facts.history.booted_at:
        disk_boots, least, heard = _find_loop(facts), LOOP_BOOTS, "and its system, which was up before, not heard since"
    # The latest may still come to something.
    disk_boots = [boot for boot in disk_boots if facts.now - boot.started_at >= DISK_BOOT_S]
    if len(disk_boots) < least:
        return None
    times = f"sent to its disk {len(disk_boots)} times by {disk_boots[-1].firmware or 'the network'}, {heard}"
    return Finding(disk_boots[0].started_at, tell(times))


def _list_disk_boots(facts: Facts) -> list[Boot]:
    return [boot for boot in facts.boots if boot.outcome is Outcome.DISK and boot.started_at > facts.install_at]


def _find_loop(facts: Facts) -> list[Boot]:
    """The latest boots, each of which was sent to its disk and followed by the next within `LOOP_S`, without a word
    of its system between them: a machine that is restarted now and then is heard (it asks for its address), or off."""
    loop: list[Boot] = []
    next_at = facts.now
    for boot in reversed(facts.boots):
        if boot.outcome is not Outcome.DISK or next_at - boot.started_at > LOOP_S or any(map(_is_system, boot.steps)):
            break
        loop.append(boot)
        next_at = boot.started_at
    return loop[::-1]


def _is_system(step: BootStep) -> bool:
    """Whether it is a running system's own doing, or shows one."""
    if step.service == Service.DHCP:
        return step.step in (Dhcp.OFFER, Dhcp.ACK) and not find_asker(step.detail)
    return step.service in (Service.SYSTEM, Service.REGISTRY) or step.step == Kube.NODE_READY


def never_booted(facts: Facts) -> Finding | None:
    history = facts.history
    if history.open or history.booted_at or history.state is not MachineState.INSTALLED:
        return None
    installed = _last(facts, Service.INSTALLER, Report.INSTALLED)
    if facts.now - history.state_at < FIRST_BOOT_S:
        return None
    return Finding(history.state_at, tell(*([installed] if installed else [])))


def system_failed(facts: Facts) -> Finding | None:
    """The system's own word, or a unit that stays in trouble."""
    told = facts.last(Service.SYSTEM)
    if told is not None and told.step == Report.FAILED:
        return found(told)
    latest: dict[str, BootStep] = {}
    for step in facts.list(Service.SYSTEM, Report.UNIT):
        latest[step.detail.partition(":")[0]] = step
    troubled = [step for step in latest.values() if step.level != "info" and facts.is_late(step, UNIT_S)]
    return found(troubled[0], *troubled[1:]) if troubled else None


def image_not_mirrored(facts: Facts) -> Finding | None:
    return _find_refused_image(facts, Registry.NOT_MIRRORED)


def image_unreadable(facts: Facts) -> Finding | None:
    return _find_refused_image(facts, Registry.FAILED)


def _find_refused_image(facts: Facts, refusal: Registry) -> Finding | None:
    """While its system is on its way into service: what is pulled later is some pod's, and not the machine's.

    It asks again all the time, and that is told every ten minutes: what was asked for once, long ago, it does without.
    """
    if facts.history.open or facts.history.held or facts.in_service:
        return None
    pulled = set()
    for event in reversed(facts.events):
        if facts.now - event.at > REFUSED_S or event.at < facts.install_at:
            return None
        if event.service == Service.REGISTRY:
            image = find_image(event.detail)
            if event.step == refusal and image not in pulled:
                return found(event)
            if event.step == Registry.PULLED:
                pulled.add(image)
    return None


# -- the cluster -------------------------------------------------------------------------------------------------------


def etcd_refused(facts: Facts) -> Finding | None:
    own = [each for each in facts.events if each.service == Service.KUBE and each.at >= facts.install_at]
    told = [each for each in own if each.step.startswith("etcd member")]
    return found(told[-1]) if told and told[-1].step == Kube.ETCD_REFUSED else None


def token_expired(facts: Facts) -> Finding | None:
    told = _last(facts, Service.KUBE, Kube.TOKEN, Kube.TOKEN_EXPIRED, Kube.CERTIFICATE_APPROVED, Kube.NODE_READY)
    return found(told) if told is not None and told.step == Kube.TOKEN_EXPIRED and _waits_for_node(facts) else None


def certificate_denied(facts: Facts) -> Finding | None:
    told = _last(facts, Service.KUBE, Kube.CERTIFICATE_APPROVED, Kube.CERTIFICATE_DENIED, Kube.NODE_READY)
    return found(told) if told is not None and told.step == Kube.CERTIFICATE_DENIED else None


def api_unreachable(facts: Facts) -> Finding | None:
    """The server itself cannot reach it either."""
    if not _waits_for_node(facts) or facts.now - facts.history.booted_at < JOIN_S:
        return None
    told = [each for each in facts.around if each.service == Service.KUBE and each.step.startswith(API)]
    if not told or told[-1].step == f"{API}up":
        return None
    return Finding(max(told[-1].at, facts.history.booted_at), tell(told[-1]))


API = "the Kubernetes API: "
"Of `kube.loop`: `the Kubernetes API: waiting`."


def not_registered(facts: Facts) -> Finding | None:
    if not _waits_for_node(facts) or facts.now - facts.history.booted_at < JOIN_S:
        return None
    booted = _last(facts, Service.SYSTEM, Report.BOOTED)
    last = _last(facts, Service.KUBE)
    return Finding(facts.history.booted_at, tell(*(each for each in (booted, last) if each)))


def _waits_for_node(facts: Facts) -> bool:
    """Whether it has booted and its node is still to come."""
    history = facts.history
    return bool(
        has_node(facts.machine)
        and not history.open
        and history.booted_at
        and history.state is not MachineState.JOINED
        and _last(facts, Service.KUBE, Kube.NODE_READY, after=history.booted_at) is None
    )


def node_not_ready(facts: Facts) -> Finding | None:
    told = _last(facts, Service.KUBE, Kube.NODE_READY, Kube.NODE_NOT_READY)
    if told is None or told.step != Kube.NODE_NOT_READY or facts.history.open or facts.now - told.at < READY_S:
        return None
    return found(told)


def _last(facts: Facts, service: Service, *steps: str, after: float = 0.0) -> Event | None:
    """The latest since the install began."""
    after = max(after, facts.install_at)
    for event in reversed(facts.events):
        if event.service == service and event.at >= after and (not steps or event.step in steps):
            return event
    return None


# -- not here at all ---------------------------------------------------------------------------------------------------


def other_card(facts: Facts) -> Finding | None:
    """While it is waited for, and not heard of itself, one that looks like it asks."""
    if not facts.history.open or facts.history.held:
        return None
    heard_at = facts.events[-1].at if facts.events else 0.0
    lookalikes = Lookalikes([facts.machine])
    for stranger in sorted(facts.strangers, key=lambda each: each.last_at, reverse=True):
        if stranger.last_at <= heard_at or facts.now - stranger.last_at > STRANGER_S:
            return None
        why = lookalikes.explain(stranger)
        if why:
            return Finding(stranger.last_at, (f"{stranger.mac} asked, and {why}",))
    return None


class Lookalikes:
    """Tells of which machine a stranger may be another card. Made once for all of a description's machines."""

    def __init__(self, machines: Iterable[Machine]) -> None:
        self._by_uuid: dict[str, str] = {}
        by_number: dict[int, str] = {}
        for machine in machines:
            if machine.uuid:
                self._by_uuid[machine.uuid.lower()] = machine.host
            for mac in machine.macs:
                number = _number(mac)
                if number is not None:
                    by_number[number] = machine.host
        self._numbers = sorted(by_number)
        self._by_number = by_number

    def explain(self, stranger: Stranger) -> str:
        """Why `stranger` may be one of them; empty: it does not look so."""
        host = self._by_uuid.get(stranger.uuid.lower()) if stranger.uuid else None
        if host is not None:
            return f"its UUID is that of {host}"
        number = _number(stranger.mac)
        if number is None:
            return ""
        at = bisect(self._numbers, number)
        near = sorted((abs(number - each), each) for each in self._numbers[max(0, at - 1) : at + 1])
        if near and 0 < near[0][0] <= NEIGHBOURS:
            return f"its MAC is next to that of {self._by_number[near[0][1]]}"
        return ""


def _number(mac: str) -> int | None:
    try:
        return int(mac.replace(":", ""), 16)
    except ValueError:
        return None


def not_started(facts: Facts) -> Finding | None:
    """An order of an admin's, which has a time; a machine of a fresh description waits for ever."""
    history = facts.history
    if not history.open or history.held or history.state is not MachineState.ARMED or not history.state_at:
        return None
    heard = [each for each in facts.events if each.at > history.state_at and each.service != Service.KUBE]
    if heard or facts.now - history.state_at < STARTED_S:
        return None
    return Finding(history.state_at, tell(history.reason) if history.reason else ())
