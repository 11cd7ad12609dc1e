#!/bin/bash
# Builds the Kubernetes 1.20.2 programs that `make cluster` starts, from the distribution's source package: the newest
# one that still holds the server side. Six minutes on two cores and 3 GB of disk, once; needs root for apt.
#
# Usage: packaging/build-kubernetes.sh [DIR]
#   DIR defaults to ${XDG_CACHE_HOME:-~/.cache}/bootstrapper/kubernetes-1.20.2. Programs already there are kept.
set -euo pipefail

version=1.20.2
target=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/bootstrapper/kubernetes-$version}
programs=(kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl)

complete() {
  for program in "${programs[@]}"; do
    [ -x "$target/$program" ] || return 1
  done
}

# apt is told of source packages in a list of its own, so that the machine's own settings stay as they are.
fetch_source() {
  mkdir -p apt/lists/partial
  if [ -e /etc/apt/sources.list.d/debian.sources ]; then
    sed 's/^Types:.*/Types: deb-src/' /etc/apt/sources.list.d/debian.sources > apt/source.sources
  else
    sed -n 's/^deb /deb-src /p' /etc/apt/sources.list > apt/source.list
  fi
  local apt=(apt-get -qq -o Dir::Etc::sourcelist="$(echo "$PWD"/apt/source.*)" -o Dir::Etc::sourceparts=/dev/null
    -o Dir::State::Lists="$PWD/apt/lists" -o APT::Sandbox::User=root)
  "${apt[@]}" update
  "${apt[@]}" source --download-only kubernetes
  mkdir -p "$tree"   # the archive is named 1.20.5+really1.20.2
  tar xzf kubernetes_*"$version".orig.tar.gz -C "$tree" --strip-components=1
}

# Generated code is not in the source package; its generators are, and want GOPATH mode as 1.20 had it.
build() {
  export GOPATH=$work/go GO111MODULE=off GOFLAGS="" CGO_ENABLED=0
  cd "$tree"
  make generated_files > "$work/generate.log" 2>&1 || { tail -n 30 "$work/generate.log" >&2; return 1; }
  local package=k8s.io/kubernetes/vendor/k8s.io/component-base/version
  local flags="-s -w -X $package.gitVersion=v$version -X $package.gitMajor=1 -X $package.gitMinor=20"
  for program in "${programs[@]}"; do
    go build -trimpath -ldflags "$flags" -o "$target/$program.new" "./cmd/$program"
    mv "$target/$program.new" "$target/$program"   # a build that was cut short leaves no half program
  done
}

mkdir -p "$target"
target=$(cd "$target" && pwd)
if complete; then exit 0; fi
tools=(golang-go make rsync jq gcc libc6-dev)
if ! dpkg -s "${tools[@]}" > /dev/null 2>&1; then
  apt-get -qq install -y --no-install-recommends "${tools[@]}" > /dev/null
fi
work=$(mktemp -d)
tree=$work/go/src/k8s.io/kubernetes
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT   # Go writes its module and build trees read-only
cd "$work"
fetch_source
build
"$target/kube-apiserver" --version
