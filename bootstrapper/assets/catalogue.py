"""Everything that must be here before a machine can be installed: files and images, where from, proven how. Pure.

What is needed comes from the rendered configurations (`nodeconfig.references`) and from what installing the system
takes (`systems`); where it comes from, from `upstream`, `assets.lock` and `assets:` of the description.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath

from bootstrapper.assets.item import Item, Kind, Proof
from bootstrapper.assets.systems import KEY, SIGNATURE, list_assets
from bootstrapper.assets.upstream import UPSTREAMS
from bootstrapper.cluster.model import Arch, AssetSource, Machine, OsFamily
from bootstrapper.nodeconfig.asset_lock import KEY_SUFFIX, find_source, is_file_name
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.references import References, find_references


def list_items(context: Context, cluster_images: Sequence[str] = ()) -> tuple[Item, ...]:
    """Every item once, with the machines that need it, in the order of the description; images last.

    `cluster_images` are those that add-ons name (`kube.manifests`, which this room does not see). Raises RenderProblem.
    """
    found = _Found()
    # A thousand machines are of a few kinds, and what they refer to depends on nothing else.
    kinds: dict[object, References] = {}
    for machine in context.cluster.machines:
        for asset in list_assets(machine):
            found.need_file(asset.name, asset.use, machine)
        if machine.os.family is OsFamily.FLATCAR:
            kind = _find_kind(machine)
            if kind not in kinds:
                kinds[kind] = find_references(context, machine)
            references = kinds[kind]
            for name in references.files:
                found.need_file(name, "program", machine)
            for image in references.images:
                found.need_image(image, machine)
    found.drop_directories()
    files = [_file(context, name, each) for name, each in found.files.items()]
    files += _own_files(context, found.files)
    if not context.cluster.registry.serve:
        return tuple(files)
    for image in cluster_images:
        found.images.setdefault(image, [])
    return (*files, *(_image(context, name, machines) for name, machines in sorted(found.images.items())))


def _find_kind(machine: Machine) -> object:
    """What a template may choose files and images by; not the machine's names, addresses and labels."""
    return (
        machine.roles, machine.profile, machine.os, machine.arch, machine.disk, machine.data_disk, machine.console,
        tuple(interface.kind for interface in machine.interfaces),
    )  # fmt: skip


@dataclass
class _Needed:
    use: str
    machines: list[Machine] = field(default_factory=list)


@dataclass
class _Found:
    files: dict[str, _Needed] = field(default_factory=dict)
    images: dict[str, list[Machine]] = field(default_factory=dict)

    def need_file(self, name: str, use: str, machine: Machine) -> None:
        machines = self.files.setdefault(name, _Needed(use)).machines
        if not machines or machines[-1] is not machine:
            machines.append(machine)

    def need_image(self, name: str, machine: Machine) -> None:
        self.images.setdefault(name, []).append(machine)

    def drop_directories(self) -> None:
        """A directory that a program is told to look below is there when the files below it are."""
        above = {name[:index] for name in self.files for index, char in enumerate(name) if char == "/"}
        self.files = {name: each for name, each in self.files.items() if name not in above}


def _file(context: Context, name: str, needed: _Needed) -> Item:
    cluster, lock = context.cluster, context.lock
    machines, size = tuple(needed.machines), lock.sizes.get(name)
    if needed.use == SIGNATURE:
        signed = name.removesuffix(".sig")
        proof = _origin(context, signed, needed)[1]
        # Where the description names the key, a new key there is another proof: the hash alone would not show it.
        recorded = name in lock.files and find_source(cluster, signed) is not None
        own = Proof(lock.files.get(name), signs=signed, key=proof.key, recorded=recorded)
        return Item(name, Kind.FILE, SIGNATURE, proof.signature, own, machines, size=size)
    if name.endswith(KEY_SUFFIX):
        return _own_key(context, name, machines)
    url, proof = _origin(context, name, needed)
    if proof.sha256 is None and find_source(cluster, name) is None:
        proof = replace(proof, sha256=lock.find(cluster, name), first_seen=name in lock.first_seen)
    proof = _with_recorded(context, name, proof)
    return Item(name, Kind.FILE, needed.use, url, proof, machines, size=size)


def _own_key(context: Context, name: str, machines: tuple[Machine, ...]) -> Item:
    """A public key of the admin's that installers check an image with: kept as a file, from beside the description."""
    source = find_source(context.cluster, name.removesuffix(KEY_SUFFIX))
    beside = PurePath(context.cluster.file).parent
    url = f"file://{beside / source.key}" if source is not None and source.key else ""
    recorded = context.lock.files.get(name)
    return Item(name, Kind.FILE, KEY, url, Proof(recorded, recorded=recorded is not None, own=True), machines)


def _origin(context: Context, name: str, needed: _Needed) -> tuple[str, Proof]:
    """URL and proof of a file: the description's, or the publisher's. No URL for what nobody has told us of."""
    named = find_source(context.cluster, name)
    if named is not None:
        return named.url, _own_proof(named)
    parts = name.split("/")
    upstream = UPSTREAMS.get(parts[0])
    if upstream is None or len(parts) != 4:
        return "", Proof()
    # Flatcar's own layout has the board in front of the version.
    version, arch = (parts[2], parts[1]) if parts[0] == "flatcar" else (parts[1], parts[2])
    url = upstream.url(version, arch, parts[3], needed.machines[0].os.channel)
    return url, upstream.proof(url)


def _own_files(context: Context, needed: Iterable[str]) -> list[Item]:
    """What `assets:` adds to the catalogue: kept under its own name, or as files/NAME/FILE."""
    cluster = context.cluster
    used = {id(find_source(cluster, name)) for name in needed}
    items = []
    for key, source in cluster.assets.items():
        if id(source) not in used:
            name = key if is_file_name(key) else f"files/{key}/{source.url.rpartition('/')[2]}"
            size = context.lock.sizes.get(name)
            proof = _with_recorded(context, name, _own_proof(source))
            items.append(Item(name, Kind.FILE, "your own", source.url, proof, cluster.machines, size=size))
    return items


def _with_recorded(context: Context, name: str, proof: Proof) -> Proof:
    """With the hash that `fetch` found, for a file that the description proves by SHA-512 or a signature."""
    recorded = context.lock.files.get(name)
    if proof.sha256 is not None or recorded is None:
        return proof
    return replace(proof, sha256=recorded, recorded=True)


def _own_proof(source: AssetSource) -> Proof:
    return Proof(
        sha256=source.sha256.lower() if source.sha256 else None,
        sha512=source.sha512.lower() if source.sha512 else None,
        signature=source.signature or "",
        key=source.key or "",
    )


def _image(context: Context, name: str, machines: list[Machine]) -> Item:
    known = context.lock.images.get(name)
    if "@" in name:
        known = name.partition("@")[2]
    needing = machines or context.cluster.machines
    arches = tuple(arch for arch in Arch if any(machine.arch is arch for machine in needing))
    proof = Proof(known, first_seen=name in context.lock.first_seen)
    size = context.lock.sizes.get(name)
    return Item(name, Kind.IMAGE, "image", f"docker://{name}", proof, tuple(machines), arches, size)
