"""`fetch`'s part for images, run in a namespace by the tests: DESC ASSETS. Prints what became of each image as JSON."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from bootstrapper.assets.fetch import Plan, Watcher, save_lock_to
from bootstrapper.assets.images import fetch_images
from bootstrapper.assets.item import Kind
from bootstrapper.assets.transfer import Client
from bootstrapper.cluster.load import load
from bootstrapper.description import load_templates, read_lock
from bootstrapper.mirroring import build_catalogue
from bootstrapper.nodeconfig.asset_lock import write_lock

desc, assets = Path(sys.argv[1]), Path(sys.argv[2])
lock = read_lock(desc)
items = build_catalogue(load(desc.read_text(), str(desc)), load_templates(None), lock)
images = [item for item in items if item.kind is Kind.IMAGE]
plan = Plan(assets, desc.parent, Client(time.monotonic), tries=1, verify="--verify" in sys.argv)
watcher = Watcher(say=lambda line: print(line, file=sys.stderr, flush=True))
results = fetch_images(images, plan, watcher, save_lock_to(desc.parent / "assets.lock", write_lock), lock)
print(json.dumps([[each.item.name, str(each.outcome), each.sha256, each.message] for each in results]))
