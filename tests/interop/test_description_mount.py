"""A description that is mounted alone, as containers do it: what the kernel lets be done with it, and what is said."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from wires import need, run

pytestmark = pytest.mark.interop

MOUNT = """
mount --make-rprivate / && mount --bind "$0/theirs.yaml" "$0/etc/cluster-desc.yaml" && exec "$@"
"""
TRY = """
import sys
from pathlib import Path
from bootstrapper.errors import UserError
from bootstrapper.web.admin.whole import find_obstacle, write_whole
file = Path(sys.argv[1])
print(find_obstacle(file) or "none")
try:
    write_whole(file, "new")
except UserError as error:
    print(error.message, error.hint, sep="; ")
print(file.read_text(), *sorted(path.name for path in file.parent.iterdir()))
"""


def test_a_file_that_is_mounted_alone_is_not_writable(tmp_path: Path) -> None:
    need("unshare", "mount")
    folder = tmp_path / "etc"
    folder.mkdir()
    file = folder / "cluster-desc.yaml"
    file.write_text("old")
    (tmp_path / "theirs.yaml").write_text("theirs")
    what = f"mount the directory that it is in, {folder}, instead of the file alone (docs/admin-api.md)"
    trying = (sys.executable, "-c", TRY, str(file))
    # Of the same filesystem: only the kernel's number of the mount tells.
    assert run("unshare", "--mount", "sh", "-c", MOUNT, str(tmp_path), *trying).splitlines() == [
        f"{file} is a mount of its own: {what}",
        f"{file} cannot be written: Device or resource busy; {what}",
        "theirs cluster-desc.yaml",
    ]
    assert file.read_text() == "old"
    assert run(*trying).splitlines() == ["none", "new cluster-desc.yaml"]
