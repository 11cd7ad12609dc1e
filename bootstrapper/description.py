"""The admin's files, read: the description and the templates, and whether everything in them can be served.

Used by `cli` and `serving`, which see all rooms; the rooms themselves get text.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from bootstrapper.boot.links import Links
from bootstrapper.cluster.fields import find_nearest
from bootstrapper.cluster.load import load
from bootstrapper.cluster.model import Cluster
from bootstrapper.errors import ClusterProblems, Problem, UserError
from bootstrapper.kube.manifests import list_addons, render_manifests
from bootstrapper.nodeconfig.asset_lock import FILE_NAME, AssetLock, parse_lock
from bootstrapper.nodeconfig.context import Context
from bootstrapper.nodeconfig.outputs import render_all
from bootstrapper.templating import Templates, build_environment


def build_context(cluster: Cluster, templates: Templates, authority_pem: str, lock: AssetLock | None = None) -> Context:
    """For rendering what anyone may read: no token, so every secret is left out."""
    links = Links(cluster.network.bootstrapper)
    return Context(cluster, links, build_environment(templates), authority_pem, lock=lock or AssetLock())


def check_description(text: str, file: str, templates: Templates, approved: Collection[str] = ()) -> Cluster:
    """Load, then render every machine and add-on: what passes can be served. Raises ClusterProblems or UserError.

    `approved`: see `cluster.load`.
    """
    cluster = load(text, file, approved)
    context = build_context(cluster, templates, "")
    check_addons(cluster, list_addons(context.environment))
    for _ in render_all(context):
        pass
    render_manifests(context.environment, cluster)
    return cluster


def check_addons(cluster: Cluster, known: Sequence[str]) -> None:
    """Raises ClusterProblems for each add-on without a folder below `templates/addons`, an admin's own included."""
    problems = tuple(
        Problem(
            cluster.lines.get(f"addons[{index}]", cluster.lines.get("addons", 0)),
            f"addons[{index}]",
            f"there is no folder templates/addons/{name}; there are {', '.join(known)}",
            find_nearest(name, known),
            cluster.file,
        )
        for index, name in enumerate(cluster.addons)
        if name not in known
    )
    if problems:
        raise ClusterProblems(problems)


def read_text(path: Path) -> str:
    """A file the admin wrote. Raises UserError when it cannot be read."""
    try:
        return path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start})", "save it as UTF-8") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", "give the path of the description") from error


def read_lock(description: Path) -> AssetLock:
    """`assets.lock` beside the description; empty where there is none. Raises UserError for one that is no lock."""
    path = description.parent / FILE_NAME
    try:
        text = path.read_bytes().decode()
    except (FileNotFoundError, NotADirectoryError):
        return AssetLock()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start})", "save it as UTF-8") from error
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror}", "let the user that the server runs as read it (chown, chmod)"
        ) from error
    return parse_lock(text, str(path))


def load_templates(own: Path | None) -> Templates:
    """The built-in templates with the admin's in front, file by file. Raises UserError for one that is not text."""
    packed = files("bootstrapper") / "_templates"
    built_in: Traversable = packed if packed.is_dir() else Path(__file__).parent.parent / "templates"
    texts = dict(_texts_below(built_in, ""))
    if own is not None:
        texts |= _texts_below(own, "")
    return texts


def _texts_below(directory: Traversable, prefix: str) -> Mapping[str, str]:
    texts: dict[str, str] = {}
    for entry in directory.iterdir():
        name = f"{prefix}{entry.name}"
        if entry.is_dir():
            texts |= _texts_below(entry, f"{name}/")
        else:
            try:
                texts[name] = entry.read_bytes().decode()
            except (OSError, UnicodeDecodeError) as error:
                raise UserError(f"the template {entry} cannot be read as text: {error}") from error
    return texts
