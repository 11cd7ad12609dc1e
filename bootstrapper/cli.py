"""The command line: verbs, and what each needs built. The only place that exits.

Exit status: 0 success, 1 a problem in what the admin gave, 2 wrong usage, 130 after Ctrl-C, 141 when whoever reads the
output has left. A traceback means a fault of ours.
"""

from __future__ import annotations

import difflib
import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import click
from click.shell_completion import get_completion_class

from bootstrapper import __version__
from bootstrapper.boot.history import History, MachineState
from bootstrapper.cli_admin import VERBS as ADMIN_VERBS
from bootstrapper.cli_assets import assets
from bootstrapper.cli_backup import backup, restore
from bootstrapper.cli_bundle import bundle
from bootstrapper.cli_doctor import doctor
from bootstrapper.cli_endings import ending
from bootstrapper.cli_fetch import fetch
from bootstrapper.cli_lab import lab
from bootstrapper.cli_options import AS_JSON, DESCRIPTION, EXISTING_STATE, FORCE, TEMPLATES
from bootstrapper.cli_pki import pki
from bootstrapper.cli_plan import plan
from bootstrapper.cli_serve import serve
from bootstrapper.cluster.fields import parse_mac
from bootstrapper.cluster.load import load
from bootstrapper.cluster.model import Cluster, Machine
from bootstrapper.description import build_context, check_description, load_templates, read_lock, read_text
from bootstrapper.errors import ClusterProblems, Problem, UserError
from bootstrapper.nodeconfig.outputs import OUTPUTS, render_output
from bootstrapper.outfile import check_outfile

STATE = click.option(
    "--state", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="The server's state directory."
)
FIRMWARES = {"bios": 0, "uefi-x64": 7, "uefi-ia32": 6, "uefi-arm64": 11, "uefi-http": 16}
HISTORIES = {
    "armed": History(),
    "installed": History(done=1, state=MachineState.INSTALLED),
    "held": History(held="an admin put it on hold", state=MachineState.HELD),
}

SECTIONS = {
    "The description": ("check", "show", "render", "simulate", "plan", "migrate", "schema"),
    "The server": ("serve", "lab", "doctor", "backup", "restore"),
    "Machines of a running server": (
        "machines", "events", "install", "reinstall", "cancel", "hold", "release", "forget", "move", "unknown",
        "approve",
    ),
    "Files and images for a LAN without internet": ("fetch", "bundle", "assets"),
    "Keys": ("kubeconfig", "pki"),
}  # fmt: skip
"How `--help` lists the verbs; one that is in none comes last."


class Verbs(click.Group):
    """Turns what the admin got wrong into a message, a hint and exit status 1."""

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        listed = {name for names in SECTIONS.values() for name in names}
        others = tuple(name for name in self.list_commands(context) if name not in listed)
        for title, names in (*SECTIONS.items(), ("Others", others)):
            rows = [
                (name, command.get_short_help_str(60))
                for name in names
                if (command := self.get_command(context, name)) is not None and not command.hidden
            ]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        with ending():  # --help is written here
            return super().make_context(*arguments, **more)

    def invoke(self, context: click.Context) -> object:
        try:
            with ending():
                return super().invoke(context)
        except ClusterProblems as error:
            for problem in error.problems:
                click.echo(problem.text(), err=True)
            click.echo(f"bootstrapper: {error.message}; nothing was changed", err=True)
        except UserError as error:
            click.echo(f"bootstrapper: {error.message}", err=True)
            if error.hint:
                click.echo(f"  hint: {error.hint}", err=True)
        sys.exit(1)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="bootstrapper")
def main() -> None:
    """One YAML file describes a rack of bare metal; this brings it up as a Kubernetes cluster.

    \b
    bootstrapper check cluster-desc.yaml             is the file right?
    bootstrapper serve cluster-desc.yaml --state D   serve the rack
    bootstrapper lab cluster-desc.yaml               try it with virtual machines
    """


@main.command()
@DESCRIPTION
@AS_JSON
@TEMPLATES
def check(desc: Path, as_json: bool, templates: Path | None) -> None:
    """Say whether DESC is right: every problem at once, with its line and what to do.

    Every text of every machine is rendered in memory, so that a template's fault is found here and not at night.

    \b
    Example:  bootstrapper check cluster-desc.yaml
    """
    from bootstrapper.mirroring import list_advice

    try:
        cluster = check_description(read_text(desc), str(desc), load_templates(templates))
    except ClusterProblems as error:
        if not as_json:
            raise
        click.echo(json.dumps({"ok": False, "problems": [as_record(each) for each in error.problems], "advice": []}))
        sys.exit(1)
    except UserError as error:
        if not as_json:
            raise
        fault = {"file": str(desc), "line": 0, "path": "", "message": error.message, "hint": error.hint}
        click.echo(json.dumps({"ok": False, "problems": [fault], "advice": []}))
        sys.exit(1)
    advice = list_advice(cluster, load_templates(templates), read_lock(desc), datetime.now(UTC).date())
    if as_json:
        click.echo(json.dumps({"ok": True, "problems": [], "advice": [as_record(each) for each in advice]}))
        return
    for each in advice:
        click.echo(f"advice: {each.text()}")
    count = len(cluster.machines)
    click.echo(f"{desc}: {count} machine{'s' if count != 1 else ''}, no problems")


@main.command()
@DESCRIPTION
@AS_JSON
@TEMPLATES
def show(desc: Path, as_json: bool, templates: Path | None) -> None:
    """Show the plan that follows from DESC: machines, addresses, roles, endpoints, sizes, advice.

    \b
    Example:  bootstrapper show cluster-desc.yaml
    """
    from bootstrapper.cluster.show import plan as make_plan
    from bootstrapper.cluster.show import text as plan_text
    from bootstrapper.mirroring import list_advice

    cluster = load(read_text(desc), str(desc))
    try:
        advice = list_advice(cluster, load_templates(templates), read_lock(desc), datetime.now(UTC).date())
    except UserError as error:  # the plan does not depend on it
        advice = (Problem(0, "", error.message, error.hint, str(desc)),)
    plan = make_plan(cluster, advice)
    click.echo(json.dumps(plan, indent=2) if as_json else plan_text(plan), nl=as_json)


@main.command()
@click.argument("desc", type=click.Path(path_type=Path), metavar="DESC", required=False)
@click.argument("machine", required=False)
@click.argument("output", required=False)
@click.option("--all", "everything", is_flag=True, help="Every output of every machine, as files below --out.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="Where --all writes.")
@click.option("--list", "list_outputs", is_flag=True, help="List the outputs there are.")
@STATE
@TEMPLATES
def render(
    desc: Path | None,
    machine: str | None,
    output: str | None,
    everything: bool,
    out: Path | None,
    list_outputs: bool,
    state: Path | None,
    templates: Path | None,
) -> None:
    """Print any text that a machine would receive. MACHINE is a MAC in any usual spelling, or a host name.

    Secrets are left out, as from every text that anyone may read. Without --state, so is this server's certificate.

    \b
    Examples:  bootstrapper render --list
               bootstrapper render cluster-desc.yaml node1 cloud-config
               bootstrapper render cluster-desc.yaml --all --out rendered/
    """
    if list_outputs:
        for name in OUTPUTS:
            click.echo(f"{name:<14} {OUTPUT_HELP[name]}")
        return
    if desc is None or (everything and out is None) or not (everything or (machine and output)):
        raise click.UsageError("say DESC MACHINE OUTPUT, or DESC --all --out DIR, or --list")
    cluster = load(read_text(desc), str(desc))
    context = build_context(cluster, load_templates(templates), find_authority(state), read_lock(desc))
    if not everything:
        assert machine is not None and output is not None
        if output not in OUTPUTS:
            raise UserError(f"there is no output {output!r}", f"the outputs are {', '.join(OUTPUTS)}")
        click.echo(render_output(output, context, find_machine(cluster, machine)).text, nl=False)
        return
    assert out is not None
    for each in cluster.machines:
        for name in OUTPUTS:
            check_outfile(out / each.host / name, replace=True)
    for each in cluster.machines:
        for name in OUTPUTS:
            write_text(out / each.host / name, render_output(name, context, each).text)
    click.echo(f"{len(cluster.machines) * len(OUTPUTS)} files below {out}")


@main.command()
@click.argument("file", type=click.Path(path_type=Path), metavar="SEXTANT_FILE")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Where to write; default: standard output."
)
@FORCE
def migrate(file: Path, out: Path | None, force: bool) -> None:
    """Turn an original Sextant cluster-desc into ours, saying what has no equivalent and why.

    \b
    Example:  bootstrapper migrate old.yaml --out cluster-desc.yaml
    """
    from bootstrapper.cluster.migrate import migrate as migrate_sextant

    if out is not None:
        check_outfile(out, force)
    result = migrate_sextant(read_text(file), str(file))
    for note in result.notes:
        click.echo(f"note: {note}", err=True)
    if out is None:
        click.echo(result.text, nl=False)
    else:
        write_text(out, result.text)
        click.echo(f"wrote {out}; next: bootstrapper check {out}", err=True)


@main.command()
def schema() -> None:
    """Print the JSON schema of the description, for editors.

    \b
    Example:  bootstrapper schema > cluster-desc.schema.json
              # and as the first line of the description:
              # yaml-language-server: $schema=cluster-desc.schema.json
    """
    from bootstrapper.cluster.jsonschema import json_schema

    click.echo(json.dumps(json_schema(), indent=2))


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Example:  bootstrapper completion bash > /etc/bash_completion.d/bootstrapper
    """
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(main, {}, "bootstrapper", "_BOOTSTRAPPER_COMPLETE").source())


@main.command()
@DESCRIPTION
@click.option("--mac", required=True, help="The machine's MAC, in any usual spelling; it need not be in the file.")
@click.option(
    "--arch",
    default="uefi-x64",
    show_default=True,
    metavar="A",
    help=f"Its firmware: {', '.join(FIRMWARES)}, none (it boots its disk), or a number (option 93).",
)
@click.option("--relay", metavar="IP", help="It asks through this relay.")
@click.option("--user-class", default="", metavar="TEXT", help="iPXE: its network card has iPXE already.")
@click.option("--state", "history", type=click.Choice(list(HISTORIES)), default="armed", show_default=True)
@TEMPLATES
def simulate(
    desc: Path, mac: str, arch: str, relay: str | None, user_class: str, history: str, templates: Path | None
) -> None:
    """Print the exact answers a machine would get, packet by packet, file by file, by the code that serves them.

    \b
    Examples:  bootstrapper simulate cluster-desc.yaml --mac 00:25:90:c0:f7:80
               bootstrapper simulate cluster-desc.yaml --mac 00:25:90:c0:f7:80 --arch bios --state installed
    """
    from bootstrapper.simulating import simulate as play

    cluster = load(read_text(desc), str(desc))
    code = FIRMWARES.get(arch, int(arch) if arch.isascii() and arch.isdigit() and len(arch) < 6 else None)
    if code is None and arch != "none":
        raise UserError(f"there is no firmware {arch!r}", f"say one of {', '.join(FIRMWARES)}, none, or a number")
    try:
        address = None if relay is None else IPv4Address(relay)
        identity = parse_mac(mac)
    except ValueError as error:
        raise UserError(str(error)) from error
    context = build_context(cluster, load_templates(templates), "")
    for line in play(context, identity, code, address, user_class, HISTORIES[history]):
        click.echo(line)


@main.command()
@DESCRIPTION
@EXISTING_STATE
def kubeconfig(desc: Path, state: Path) -> None:
    """Print an admin's kubeconfig for the cluster. It holds a key: keep it to yourself.

    \b
    Example:  (umask 077; bootstrapper kubeconfig cluster-desc.yaml --state /var/lib/bootstrapper > admin.conf)
    """
    import time

    from bootstrapper.kube.kubeconfig import admin_kubeconfig
    from bootstrapper.pki.cluster import ClusterPki

    if not (state / "pki" / "cluster" / "keys.json").exists():
        raise UserError(f"{state} holds no cluster's keys", "give the --state of a server that has run `serve`")
    cluster = load(read_text(desc), str(desc))
    click.echo(admin_kubeconfig(cluster, ClusterPki(state / "pki" / "cluster", cluster, time.time)), nl=False)


for verb in (serve, lab, doctor, backup, restore, *ADMIN_VERBS, plan, fetch, bundle, assets, pki):
    main.add_command(verb)


def write_text(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error


def find_machine(cluster: Cluster, word: str) -> Machine:
    """By host name, or by MAC in any usual spelling. Raises UserError with the nearest names."""
    if word in cluster.by_host:
        return cluster.by_host[word]
    try:
        mac = parse_mac(word)
    except ValueError:
        near = difflib.get_close_matches(word, cluster.by_host, 3)
        hint = f"did you mean {' or '.join(near)}?" if near else "`bootstrapper show DESC` lists them"
        raise UserError(f"there is no machine {word!r} in the description", hint) from None
    if mac not in cluster.by_mac:
        raise UserError(f"there is no machine with the MAC {mac} in the description", "`bootstrapper show` lists them")
    return cluster.by_mac[mac]


def as_record(problem: Problem) -> dict[str, object]:
    return asdict(problem)


def find_authority(state: Path | None) -> str:
    """Our authority's certificate from a server's state directory; nothing without one."""
    return read_text(state / "pki" / "authority.pem") if state else ""


OUTPUT_HELP = {
    "cloud-config": "the installed system's configuration, for coreos-cloudinit",
    "ignition": "the installed system's configuration, as Ignition 3.3.0",
    "install": "what the installer system gets (Ignition 3.3.0)",
    "boot.ipxe": "the script that iPXE runs",
    "grub.cfg": "the same for GRUB",
    "pxelinux.cfg": "the same for PXELINUX",
    "meta-data": "host name and identity, for cloud-init",
}
