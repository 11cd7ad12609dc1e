"""Container images made from programs that are at hand, under the names that the generated manifests give them.

As an archive that `ctr images import` reads: one uncompressed layer.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path


def make_image(target: Path, name: str, files: Mapping[str, Path], command: Sequence[str]) -> Path:
    """`files`: path in the image -> path here. Whoever runs the image may give another command."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        for directory in ("tmp", "etc", "var", "var/run"):
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(entry)
        for inside, outside in files.items():
            archive.add(outside.resolve(), inside.lstrip("/"))
    data = layer.getvalue()
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Entrypoint": list(command)},
        "rootfs": {"type": "layers", "diff_ids": [digest]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    with tarfile.open(target, mode="w") as archive:
        for path, content in (
            ("config.json", json.dumps(config).encode()),
            ("manifest.json", json.dumps(manifest).encode()),
            ("layer.tar", data),
        ):
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return target


def find_libraries(program: Path) -> list[Path]:
    """The shared objects it is linked with, the loader among them."""
    output = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True).stdout
    return [Path(each) for each in re.findall(r"(/\S+) \(0x", output)]
