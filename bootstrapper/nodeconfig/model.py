"""What a machine's installed system shall be, before any format: files, units, users, network, host name.

`nodeconfig.build` makes it from the cluster; `cloud_config`, `ignition` and (later) `cloud_init` write it down. Roles
add to it: a role is a function from (cluster, machine) to a `NodeConfig`, and they are joined with `+`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class File:
    path: str
    content: bytes
    mode: int = 0o644
    owner: str = "root:root"
    secret: bool = False
    "Left out of what anyone may read; sent only through a claim (design.md rule 3)."
    first_boot_only: bool = False
    "Keys and state: a system that applies its configuration at every boot must not overwrite it (rule 9)."


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file the installed system downloads from `/assets`, proven by its hash (`roles.downloads` says how)."""

    path: str
    name: str
    "Below `/assets`: COMPONENT/VERSION/ARCH/FILE."
    url: str
    sha256: str | None
    "Of what is downloaded, the archive where it is one; None: nobody has told us, and the machine fetches nothing."
    mode: int = 0o755
    member: str = ""
    "The file's name in an archive (`.tar.gz`, `.tgz`)."

    @property
    def component(self) -> str:
        return self.name.partition("/")[0]


@dataclass(frozen=True, slots=True)
class DropIn:
    name: str
    content: str


@dataclass(frozen=True, slots=True)
class Unit:
    """A systemd unit, or a networkd file (`.network`, `.netdev`, `.link`) by its suffix."""

    name: str
    content: str | None = None
    "None: the system has the unit already (only enabled, masked or dropped into)."
    enable: bool = False
    start: bool = False
    mask: bool = False
    drop_ins: tuple[DropIn, ...] = ()


@dataclass(frozen=True, slots=True)
class User:
    name: str
    ssh_authorized_keys: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeConfig:
    hostname: str = ""
    files: tuple[File, ...] = ()
    remote_files: tuple[RemoteFile, ...] = ()
    units: tuple[Unit, ...] = ()
    users: tuple[User, ...] = ()
    kernel_args: tuple[str, ...] = ()

    def __add__(self, other: NodeConfig) -> NodeConfig:
        """Join the parts of two roles; a unit or file named by both is a fault of ours and raises ValueError."""
        paths = [file.path for file in (*self.files, *other.files)]
        paths += [file.path for file in (*self.remote_files, *other.remote_files)]
        names = [unit.name for unit in (*self.units, *other.units)]
        for kind, values in (("file", paths), ("unit", names)):
            twice = sorted({value for value in values if values.count(value) > 1})
            if twice:
                raise ValueError(f"two roles bring the same {kind}: {', '.join(twice)}")
        return replace(
            self,
            hostname=self.hostname or other.hostname,
            files=self.files + other.files,
            remote_files=self.remote_files + other.remote_files,
            units=self.units + other.units,
            users=self.users + other.users,
            kernel_args=self.kernel_args + other.kernel_args,
        )
