#!/usr/bin/env bash
# Puts containerd 2 and etcd 3.5 or later, from Debian's unstable suite, into ~/.cache/bootstrapper/newer/bin for the
# interop tests: the stable suite's are too old to read all that is generated. Nothing of the system is changed.
set -euo pipefail
into="${XDG_CACHE_HOME:-$HOME/.cache}/bootstrapper/newer"
if [ -x "$into/bin/containerd" ] && [ -x "$into/bin/etcdutl" ]; then
  exit 0
fi

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{etc/apt.conf.d,etc/preferences.d,lists/partial,cache/archives/partial,root}
# What the administrator said of proxies and the like holds here too.
cp -r /etc/apt/apt.conf.d/. "$work/etc/apt.conf.d/"
# The mirror that this system itself uses, unless another is named.
mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | sed -n 1p)}
mirror=${mirror%/}
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror sid main" > "$work/etc/sources.list"
cat > "$work/apt.conf" <<END
Dir::Etc "$work/etc";
Dir::State::lists "$work/lists";
Dir::Cache "$work/cache";
APT::Sandbox::User "root";
END
export APT_CONFIG="$work/apt.conf"
apt-get update -qq
cd "$work"
apt-get download -qq containerd etcd-server etcd-client
for package in ./*.deb; do
  dpkg -x "$package" "$work/root"
done
mkdir -p "$into/bin"
cp "$work"/root/usr/bin/{containerd,containerd-shim-runc-v2,ctr,etcd,etcdctl,etcdutl} "$into/bin/"
"$into/bin/etcd" --version | head -n 1
"$into/bin/containerd" --version
