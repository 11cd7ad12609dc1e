"""What the installer system gets: Ignition for the live Flatcar that was booted over the network.

It is fetched over plain HTTP, so it holds no secret but this boot's token, and our authority's certificate to pin.
The work is done by templates/nodes/install/*.sh; everything about the machine is in one file of shell variables.
"""

from __future__ import annotations

from bootstrapper.boot.links import flatcar_directory, image_name
from bootstrapper.cluster.model import Machine
from bootstrapper.errors import RenderProblem
from bootstrapper.nodeconfig.asset_lock import KEY_SUFFIX, find_source
from bootstrapper.nodeconfig.build import AUTHORITY_PATH, build_services, find_kernel_args
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.model import File, NodeConfig, Unit, User
from bootstrapper.templating import read, render

DIRECTORY = "/opt/bootstrapper"


def build_install(machine: Machine, context: Context) -> NodeConfig:
    """The installer system's files, unit and access. Raises RenderProblem, naming the machine."""
    environment = context.environment
    files = [
        File(f"{DIRECTORY}/{name}", read(environment, f"nodes/install/{name}").encode(), 0o755) for name in SCRIPTS
    ]
    files += [
        File("/etc/bootstrapper/install.env", _variables(machine, context).encode(), 0o600),
        File("/etc/bootstrapper/oem-grub.cfg", build_grub(find_kernel_args(machine), machine.host).encode()),
        File(AUTHORITY_PATH, context.authority_pem.encode()),
        # The live system must neither look for updates on the internet nor reboot for one halfway.
        File("/etc/flatcar/update.conf", f"GROUP={machine.os.channel}\nSERVER=disabled\n".encode()),
        *build_services(context.cluster, machine, context),
    ]
    units = (
        Unit("bootstrapper-install.service", read(environment, f"nodes/install/{UNIT}"), enable=True),
        Unit("locksmithd.service", mask=True),
    )
    return NodeConfig(
        hostname=machine.host,
        files=tuple(files),
        units=units,
        users=(User("core", context.cluster.ssh_authorized_keys),),
    )


def _variables(machine: Machine, context: Context) -> str:
    """install.env. Without a token the URLs are empty, and the script says that it was rendered for reading."""
    links, token = context.links, context.token
    directory = flatcar_directory(machine.os, machine.arch)
    variables = {
        "cluster": context.cluster,
        "machine": machine,
        "generation": context.generation,
        "order_id": context.order_id,
        "wipe": context.wipe,
        "health_url": f"{links.http}/healthz",
        "config_url": links.config(token) if token is not None else "",
        "report_url": links.report(token) if token is not None else "",
        # flatcar-install fetches BASE/VERSION/flatcar_production_image.bin.bz2 and its .sig.
        "image_key_url": _image_key_url(machine, context),
        "image_base": links.assets(directory.removesuffix(f"/{machine.os.version}")),
    }
    return render(context.environment, "nodes/install/install.env.j2", variables, machine.host)


def _image_key_url(machine: Machine, context: Context) -> str:
    """Where the installer gets the key of an image that is the admin's own, over TLS; empty: Flatcar's key counts."""
    image = image_name(machine.os, machine.arch)
    source = find_source(context.cluster, image)
    own = source is not None and source.key not in (None, "flatcar")
    return f"{context.links.https}/assets/{image}{KEY_SUFFIX}" if own else ""


def build_grub(kernel_args: tuple[str, ...], about: str) -> str:
    """The OEM partition's grub.cfg: Flatcar's own adds `linux_append` to every kernel line. Empty without arguments."""
    if not kernel_args:
        return ""
    for arg in kernel_args:
        if not arg.isascii() or not arg.isprintable():
            raise RenderProblem(f"{about}: kernel argument {arg!r} holds a character that GRUB cannot pass on")
    escaped = " ".join(kernel_args).replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$")
    return f'set linux_append="$linux_append {escaped}"\n'


SCRIPTS = ("install.sh", "lib-disk.sh")
UNIT = "bootstrapper-install.service"
