"""The programs a machine downloads from `/assets`: each with its hash, by a unit of the installed system.

Neither Ignition nor coreos-cloudinit fetches them: at that stage a server that is off would stop the boot (design.md
rule 9). A unit per component does, asks until it is answered, and does nothing where the right file is in place. Units
that run such a program name `download_unit(component)` in Wants= and After=.
"""

from __future__ import annotations

from bootstrapper.cluster.model import Arch
from bootstrapper.errors import RenderProblem
from bootstrapper.nodeconfig.asset_lock import FILE_NAME
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.model import File, NodeConfig, RemoteFile, Unit
from bootstrapper.templating import read

PROGRAMS = "/opt/bin"
"Where a program goes: /usr is read-only."
LISTS = "/etc/bootstrapper/downloads"


def remote_file(
    context: Context, component: str, version: str, arch: Arch, file: str, path: str = "", member: str = ""
) -> RemoteFile:
    """`/assets/COMPONENT/VERSION/ARCH/FILE`, put at `path` (default: its own name in /opt/bin).

    With `member`, FILE is an archive and `member` the file in it. Raises RenderProblem where a hash is required and
    nobody has told us one.
    """
    name = f"{component}/{version}/{arch}/{file}"
    sha256 = context.lock.find(context.cluster, name)
    if sha256 is None and context.require_hashes:
        raise RenderProblem(*explain_missing(name))
    path = path or f"{PROGRAMS}/{(member or file).rpartition('/')[2]}"
    return RemoteFile(path, name, context.links.assets(name), sha256, member=member)


def download_unit(component: str) -> str:
    """The unit that has the programs of `component` in place once it is active."""
    return f"bootstrapper-download@{component}.service"


def build_downloads(files: tuple[RemoteFile, ...], context: Context) -> NodeConfig:
    """The script, one list and one unit per component. Nothing where nothing is downloaded."""
    if not files:
        return NodeConfig()
    components: dict[str, list[RemoteFile]] = {}
    for file in files:
        components.setdefault(file.component, []).append(file)
    template = "bootstrapper-download@.service"
    script = read(context.environment, "nodes/downloads/download.sh").encode()
    return NodeConfig(
        files=(
            File("/opt/bootstrapper/download.sh", script, 0o755),
            *(File(f"{LISTS}/{name}", _list(wanted)) for name, wanted in components.items()),
        ),
        units=(Unit(template, read(context.environment, f"nodes/downloads/{template}")),),
    )


def explain_missing(name: str) -> tuple[str, str]:
    """What is wrong and what to do, for `check`'s advice and for the refusal."""
    component, version, _, file = name.split("/")
    return (
        f"no hash is known for {file} of {component} {version}, and nothing is run unproven",
        f"`bootstrapper fetch` gets it and writes its hash into {FILE_NAME}",
    )


def _list(files: list[RemoteFile]) -> bytes:
    """What download.sh reads. Every word comes from a checked version or from our own tables: none holds a space."""
    lines = [
        f"{file.sha256 or 'unknown'} {file.url} {file.mode:04o} {file.path} {file.member}".rstrip() for file in files
    ]
    return ("\n".join(lines) + "\n").encode()
