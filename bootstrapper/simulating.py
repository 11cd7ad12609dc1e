"""What `simulate` prints: a machine's boot, packet by packet and file by file.

Everything comes from the code that serves: `answers.simulate` plays the packets, `boot.decide` and the outputs' table
give the files.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address

from bootstrapper.answers.simulate import Simulation
from bootstrapper.boot.decide import Action, Decision, decide
from bootstrapper.boot.firmware import Firmware, identify
from bootstrapper.boot.history import History
from bootstrapper.boot.scripts import NO_TOKEN, render_script
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.outputs import config_output, render_output


def simulate(
    context: Context, mac: str, code: int | None, relay: IPv4Address | None, user_class: str, history: History
) -> Iterator[str]:
    """Lines for a person. `code` is the firmware's architecture (option 93); None: it boots from its disk."""
    cluster = context.cluster
    machine = cluster.by_mac.get(mac)
    reached = False
    for step in Simulation(cluster, mac, code, relay, user_class, history).play():
        yield f"== {step.title}"
        yield from (f"   {line}" for line in step.text.splitlines())
        reached = reached or "/boot.ipxe" in step.text
    if not reached:
        return
    firmware = identify("", (code or 0,), "iPXE", True)
    decision = decide(machine, cluster.unknown_machines, firmware, history)
    yield from _file(f"{context.links.http}/boot.ipxe", _script(context, decision, firmware, mac))
    if machine is None or decision.action is not Action.INSTALL:
        return
    install, config = context.links.install(NO_TOKEN), context.links.config(NO_TOKEN)
    yield from _file(install, render_output("install", context, machine).text)
    name = config_output(machine)
    yield from _file(f"{config} ({name}, here without its secrets)", render_output(name, context, machine).text)


def _script(context: Context, decision: Decision, firmware: Firmware, mac: str) -> str:
    machine = context.cluster.by_mac.get(mac)
    return render_script(
        context.environment, decision, firmware, machine, context.cluster, context.links, None, mac=mac
    )


def _file(title: str, text: str) -> Iterator[str]:
    yield f"== fetches {title}"
    yield from (f"   {line}" for line in text.splitlines())
