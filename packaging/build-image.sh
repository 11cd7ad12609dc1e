#!/usr/bin/env bash
# Builds the Dockerfile's image where there is no container engine and no image hub: a base made by debootstrap, then
# buildah with chroot isolation and plain copies for layers. Root on Debian. Prints the image's name.
#
#   packaging/build-image.sh [IMAGE]        default: localhost/bootstrapper:latest
#
# CACHE (~/.cache/bootstrapper) keeps the base, Debian packages, wheels and the image storage, so that a second run is
# quick. MIRROR and SUITE say which Debian. PYTHON downloads the wheels, from the index that pip is configured for.
# Afterwards: buildah --root $CACHE/image/storage --runroot $CACHE/image/run --storage-driver vfs images
set -euo pipefail
cd "$(dirname "$0")/.."

image=${1:-localhost/bootstrapper:latest}
suite=${SUITE:-trixie}
# The mirror that this system itself uses, unless another is named.
mirror=${MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | sed -n 1p)}
mirror=${mirror%/}
cache=${CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bootstrapper}/image
base=localhost/debian:$suite-minbase
tarball=$cache/debian-$suite-$(dpkg --print-architecture).tar
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
declare -A python_of=([trixie]=3.13 [bookworm]=3.11)
mkdir -p "$cache"/{apt,wheels,storage,run}
say() { echo "$(date +%H:%M:%S) $*" >&2; }
b() { buildah --root "$cache/storage" --runroot "$cache/run" --storage-driver vfs "$@"; }

if [ ! -s "$tarball" ]; then
  say "base: debootstrap $suite from $mirror"
  work=$(mktemp -d "$cache/base.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  debootstrap --variant=minbase --include=ca-certificates "$suite" "$work" "$mirror" >"$cache/debootstrap.log" 2>&1 ||
    { tail -5 "$cache/debootstrap.log" >&2; exit 1; }
  rm -rf "$work"/var/lib/apt/lists/* "$work"/var/cache/apt/*.bin "$work"/var/cache/apt/archives/*.deb
  # No service starts while packages are installed, as in every container image.
  printf '#!/bin/sh\nexit 101\n' >"$work/usr/sbin/policy-rc.d"
  chmod 755 "$work/usr/sbin/policy-rc.d"
  tar -C "$work" --numeric-owner -cf "$tarball.new" .
  mv "$tarball.new" "$tarball"
  rm -rf "$work"
  trap - EXIT
fi

if ! b inspect --type image "$base" >/dev/null 2>&1; then
  say "base: importing"
  container=$(b from scratch)
  b add --quiet "$container" "$tarball" / >/dev/null
  b config --cmd /bin/bash "$container"
  b commit --quiet --rm "$container" "$base" >/dev/null
fi

say "wheels for Python ${python_of[$suite]}"
machine=$(uname -m)
"$python" - <<'PYTHON' >"$cache/requirements.txt"
import tomllib
with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)
print("\n".join(project["project"]["dependencies"] + project["build-system"]["requires"]))
PYTHON
"$python" -m pip download -qq --disable-pip-version-check --only-binary=:all: --implementation cp \
  --python-version "${python_of[$suite]}" \
  $(printf -- "--platform %s_$machine " manylinux_2_17 manylinux2014 manylinux_2_24 manylinux_2_28 manylinux_2_34 linux) \
  --dest "$cache/wheels" --requirement "$cache/requirements.txt"

say "image: $image"
b build --quiet --isolation chroot --format docker --layers=false --pull=never --network host \
  --build-arg "BASE=$base" --build-arg PIP_NO_INDEX=1 --build-arg PIP_FIND_LINKS=/wheels \
  --volume "$cache/wheels:/wheels:ro" --volume "$cache/apt:/var/cache/apt/archives" \
  --tag "$image" . >/dev/null
b rmi --prune >/dev/null 2>&1 || true
say "built $image"
echo "$image"
