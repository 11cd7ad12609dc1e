"""The texts a machine can be sent, by name: the table that `render`, `check`, `simulate` and the web plane share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import yaml

from bootstrapper.boot.decide import decide
from bootstrapper.boot.firmware import Firmware, Kind, Stage
from bootstrapper.boot.history import History
from bootstrapper.boot.scripts import NO_TOKEN, render_script
from bootstrapper.cluster.model import Machine
from bootstrapper.errors import RenderProblem
from bootstrapper.nodeconfig.build import build
from bootstrapper.nodeconfig.cloud_config import drop_seen, emit_cloud_config, quote
from bootstrapper.nodeconfig.cloud_config_schema import find_faults
from bootstrapper.nodeconfig.context import Context, Output
from bootstrapper.nodeconfig.ignition import emit_ignition
from bootstrapper.nodeconfig.install import build_install
from bootstrapper.nodeconfig.model import NodeConfig

Renderer = Callable[[Context, Machine], Output]
Emitter = Callable[[NodeConfig, Context], Output]

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def render_output(name: str, context: Context, machine: Machine) -> Output:
    """One text for one machine. Raises RenderProblem, naming the machine; KeyError for a name not in OUTPUTS."""
    return OUTPUTS[name](context, machine)


def config_output(machine: Machine) -> str:
    """Which output the machine's installed system reads: what a claim hands out."""
    return machine.os.provision.value


def render_all(context: Context) -> Iterator[tuple[Machine, str, Output]]:
    """Every text of every machine, each read back as its reader would, so that a fault is found now.

    Rendered as for a claim, with a placeholder where there is no token: the secret parts are looked at as well.
    """
    context = replace(context, token=context.token or NO_TOKEN)
    seen: set[str] = set()
    for machine in context.cluster.machines:
        config = build(context.cluster, machine, context)
        for name in OUTPUTS:
            emit = EMITTERS.get(name)
            output = emit(config, context) if emit else OUTPUTS[name](context, machine)
            if name != "cloud-config" or _check_cloud_config(drop_seen(output.text, seen)):
                check_output(name, output.text, machine)
            yield machine, name, output


def check_output(name: str, text: str, machine: Machine) -> None:
    """Raises RenderProblem when the text's reader would not accept it, or would ignore part of it."""
    check = CHECKS.get(name)
    for fault in check(text) if check else ():
        raise RenderProblem(f"{name} of {machine.host}: {fault}")


def _check_cloud_config(text: str) -> list[str]:
    if not text.startswith("#cloud-config\n"):
        return ["the first line is not #cloud-config"]
    try:
        return find_faults(yaml.load(text, _Loader))  # noqa: S506 - a safe loader, in C where there is one
    except yaml.YAMLError as error:
        return [f"not YAML: {error}"]


def _check_ignition(text: str) -> list[str]:
    document = json.loads(text)
    version = document.get("ignition", {}).get("version")
    return [] if version == "3.3.0" else [f"Ignition version {version}"]


def _emit_cloud_config(config: NodeConfig, context: Context) -> Output:
    text = emit_cloud_config(config, context.environment, secrets=context.token is not None)
    return Output(text, "text/cloud-config; charset=utf-8")


def _emit_ignition(config: NodeConfig, context: Context) -> Output:
    return Output(emit_ignition(config, secrets=context.token is not None), "application/vnd.coreos.ignition+json")


def _built(emit: Emitter) -> Renderer:
    return lambda context, machine: emit(build(context.cluster, machine, context), context)


def _render_install(context: Context, machine: Machine) -> Output:
    return Output(emit_ignition(build_install(machine, context), secrets=True), "application/vnd.coreos.ignition+json")


def _check_ipxe(text: str) -> list[str]:
    return [] if text.startswith("#!ipxe\n") else ["the first line is not #!ipxe"]


def _check_meta_data(text: str) -> list[str]:
    try:
        document = yaml.load(text, _Loader)  # noqa: S506 - as above
    except yaml.YAMLError as error:
        return [f"not YAML: {error}"]
    return [] if set(document) == {"instance-id", "local-hostname"} else ["expected instance-id and local-hostname"]


def _render_meta_data(context: Context, machine: Machine) -> Output:
    """cloud-init's NoCloud: a new instance-id makes it treat the installed system as a new one."""
    instance = quote(f"{machine.mac.replace(':', '-')}-{context.generation}")
    return Output(f"instance-id: {instance}\nlocal-hostname: {quote(machine.host)}\n", "text/yaml; charset=utf-8")


def _script(name: str, firmware: Firmware) -> Renderer:
    """The script of a machine whose install `context.generation` is open, for the firmware that would ask for it."""

    def render(context: Context, machine: Machine) -> Output:
        cluster = context.cluster
        history = History(wanted=context.generation, done=context.generation - 1)
        decision = decide(machine, cluster.unknown_machines, firmware, history)
        text = render_script(
            context.environment, decision, firmware, machine, cluster, context.links, context.token, output=name
        )
        return Output(text, "text/plain; charset=utf-8")

    return render


EMITTERS: Mapping[str, Emitter] = {"cloud-config": _emit_cloud_config, "ignition": _emit_ignition}
"Output name -> how the installed system's configuration is written in it: built once, written in several formats."

OUTPUTS: Mapping[str, Renderer] = {
    **{name: _built(emit) for name, emit in EMITTERS.items()},
    "install": _render_install,
    "boot.ipxe": _script("boot.ipxe", Firmware(Kind.UEFI_X64, Stage.IPXE, code=7)),
    "grub.cfg": _script("grub.cfg", Firmware(Kind.UEFI_X64, Stage.ROM, code=7)),
    "pxelinux.cfg": _script("pxelinux.cfg", Firmware(Kind.BIOS, Stage.ROM, code=0)),
    "meta-data": _render_meta_data,
}
"Output name -> how it is made."

CHECKS: Mapping[str, Callable[[str], list[str]]] = {
    "cloud-config": _check_cloud_config,
    "ignition": _check_ignition,
    "install": _check_ignition,
    "boot.ipxe": _check_ipxe,
    "meta-data": _check_meta_data,
}
"Output name -> what its reader would say against a text; the others have no reader here."
