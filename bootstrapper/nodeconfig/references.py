"""What a machine's rendered texts refer to: every name below `/assets`, and every container image.

Read from the texts themselves and not from what we know of them, so that an admin's own template counts as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from bootstrapper.boot.installers import find_installer
from bootstrapper.boot.links import Links
from bootstrapper.cluster.model import Machine
from bootstrapper.nodeconfig.asset_lock import is_image_name
from bootstrapper.nodeconfig.build import build
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.install import build_install
from bootstrapper.nodeconfig.model import NodeConfig


@dataclass(frozen=True, slots=True)
class References:
    files: tuple[str, ...] = ()
    """Below `/assets`; a directory that a program is given to look below (`flatcar-install -b`) is named as well."""
    images: tuple[str, ...] = ()


def find_references(context: Context, machine: Machine) -> References:
    """Everything that `machine`'s boot script, installer and own configuration name. Raises RenderProblem."""
    installer = find_installer(machine, context.links.install("t"))
    texts = [context.links.assets(name) for name in (installer.kernel, *installer.initrds)]
    own = build(context.cluster, machine, context)
    for config in (build_install(machine, context), own):
        texts += _texts(config)
    registries = context.cluster.registry.mirror
    files = [*(file.name for file in own.remote_files), *find_files(texts, context.links)]
    return References(tuple(dict.fromkeys(files)), tuple(dict.fromkeys(find_images(texts, registries))))


def find_files(texts: Iterable[str], links: Links) -> Iterator[str]:
    """The names behind this server's `/assets/` URLs, by HTTP or HTTPS."""
    bases = "|".join(re.escape(base) for base in (links.http, links.https))
    pattern = re.compile(rf"(?:{bases})/+assets/([A-Za-z0-9._+/-]+)")
    for text in texts:
        yield from (match.rstrip("/.") for match in pattern.findall(text))


def find_images(texts: Iterable[str], registries: Iterable[str] = ()) -> Iterator[str]:
    """The images: values of `image:` and of containerd's sandbox, and whatever names a mirrored registry and a tag."""
    hosts = "|".join(re.escape(each) for each in registries)
    anywhere = re.compile(rf"(?<![A-Za-z0-9./_-])(?:{hosts})/{_REST}") if hosts else None
    for text in texts:
        yield from (match for match in _KEYED.findall(text) if is_image_name(match))
        if anywhere is not None:
            yield from (match for match in anywhere.findall(text) if is_image_name(match))


def _texts(config: NodeConfig) -> list[str]:
    texts = [file.content.decode(errors="replace") for file in config.files]
    for unit in config.units:
        texts += [unit.content or "", *(drop_in.content for drop_in in unit.drop_ins)]
    return texts


_REST = r"[a-z0-9._/-]+(?::[A-Za-z0-9_][A-Za-z0-9._-]*)?(?:@sha256:[0-9a-f]{64})?"
_KEYED = re.compile(rf"""(?:\bimage\s*[:=]|\bsandbox(?:_image)?\s*=)\s*["']?([a-z0-9.:-]+/{_REST})""")
