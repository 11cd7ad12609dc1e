#!/usr/bin/env bash
# Builds the image (build-image.sh), starts it in a network namespace of its own with the capabilities that the
# Dockerfile names, and asks it for what a machine would ask. Then: whose processes it runs, what powers they kept, that
# it stops, and that it starts again on the state it made.
set -euo pipefail
cd "$(dirname "$0")/.."

image=$(packaging/build-image.sh "$@" | tail -1)
cache=${CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/bootstrapper}/image
storage=(--root "$cache/storage" --runroot "$cache/run" --storage-driver vfs)
# buildah's own set, less what the Dockerfile does not name, plus NET_RAW (with --cap-drop=all it forgets --cap-add)
capabilities=(--cap-add=CAP_NET_RAW --cap-drop={CAP_FSETID,CAP_KILL,CAP_SYS_CHROOT,CAP_SETFCAP})
net=hdimg$$
address=10.97.0.1
machine=10.97.0.11
work=$(mktemp -d)
container=
server=

b() { buildah "${storage[@]}" "$@"; }
inside() { ip netns exec "$net" "$@"; }
fail() {
  echo "image: $*" >&2
  [ ! -s "$work/log" ] || tail -40 "$work/log" | sed 's/^/  | /' >&2
  exit 1
}
cleanup() {
  for signal in TERM KILL; do
    for process in $(ip netns pids "$net" 2>/dev/null); do kill -"$signal" "$process" 2>/dev/null || true; done
    for _ in $(seq 25); do
      [ -n "$(ip netns pids "$net" 2>/dev/null)" ] || break
      sleep 0.2
    done
  done
  [ -z "$container" ] || b rm "$container" >/dev/null 2>&1 || true
  ip netns delete "$net" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

ip netns add "$net"
ip -n "$net" link add lan type veth peer name rack
ip -n "$net" address add "$address/24" dev lan
ip -n "$net" address add "$machine/24" dev lan # the machine that asks below
for link in lo lan rack; do ip -n "$net" link set "$link" up; done

mkdir "$work/etc" "$work/state"
cat >"$work/etc/cluster-desc.yaml" <<YAML
version: 1
cluster: {name: image, domain: image.test}
network:
  subnet: 10.97.0.0/24
  bootstrapper: $address
  routers: []
  dhcp: {range: 10.97.0.100-10.97.0.199}
kubernetes: {version: 1.35.8}
machines:
  - {mac: "02:00:00:00:00:01", host: node1, ip: $machine, roles: [etcd, master]}
YAML

container=$(b from --pull=never "$image")
words() { b inspect --type image --format "{{range .Docker.Config.$1}}{{println .}}{{end}}" "$image" | sed '/^$/d'; }
readarray -t command < <(words Entrypoint && words Cmd)
readarray -t health < <(words Healthcheck.Test | sed '1{/^CMD$/d}')
[ "${#command[@]}" -ge 2 ] && [ "${#health[@]}" -ge 2 ] || fail "no entry point, or no health check"
run() {
  inside buildah "${storage[@]}" run --isolation chroot "${capabilities[@]}" \
    --volume "$work/etc:/etc/bootstrapper:ro" --volume "$work/state:/var/lib/bootstrapper" "$container" -- "$@"
}

start() {
  run "${command[@]}" >"$work/log" 2>&1 &
  server=$!
  local deadline=$((SECONDS + 30))
  while [ $SECONDS -lt $deadline ]; do
    kill -0 "$server" 2>/dev/null || fail "it ended"
    inside curl -sf --max-time 3 -o /dev/null "http://$address/healthz" && return
    sleep 0.2
  done
  fail "no answer from http://$address/healthz within 30 s"
}

# The image's own processes: pid, uid, effective capabilities, command
processes() {
  for process in $(ip netns pids "$net"); do
    text=$(tr '\0' ' ' <"/proc/$process/cmdline" 2>/dev/null) || continue
    case $text in *buildah* | "") continue ;; esac
    awk -v pid="$process" -v text="$text" '/^Uid:/ {uid = $2} /^CapEff:/ {print pid, uid, $2, text}' \
      "/proc/$process/status" 2>/dev/null || true
  done
}

stop() {
  main=$(processes | sort -n | awk '/bootstrapper serve/ {print $1; exit}')
  [ -n "$main" ] || fail "no main process"
  kill -TERM "$main"
  for _ in $(seq 75); do
    kill -0 "$server" 2>/dev/null || break
    sleep 0.2
  done
  ! kill -0 "$server" 2>/dev/null || fail "it did not stop within 15 s of SIGTERM"
  wait "$server" || fail "exit status $? after SIGTERM"
  server=
}

start
run "${health[@]}" || fail "its own health check fails"
echo "healthy: http://$address/healthz answers, and the image's own check agrees"

inside curl -sf --max-time 3 --interface "$machine" -o "$work/boot" "tftp://$address/undionly.kpxe" || fail "no boot file by TFTP"
echo "a machine gets undionly.kpxe by TFTP ($(stat -c %s "$work/boot") bytes)"

read_only=$(inside curl -sk --max-time 3 -o /dev/null -w '%{http_code}' -X POST "https://$address:5000/v2/x/y/blobs/uploads/")
[ "$read_only" = 405 ] || fail "the image registry answered $read_only to an upload, and not 405"
for program in skopeo gpg gpgv; do run "$program" --version >/dev/null || fail "no $program in it"; done
echo "the image registry answers, and takes nothing; skopeo and gpg are there"

processes >"$work/processes"
while read -r process uid effective text; do
  [ "$uid" = 990 ] || fail "process $process runs as uid $uid: $text"
  [ $((16#$effective & ~0x400)) = 0 ] || fail "process $process kept capabilities $effective: $text"
done <"$work/processes"
count=$(wc -l <"$work/processes")
[ "$count" -ge 5 ] || fail "only $count processes: $(cat "$work/processes")"
echo "$count processes, all as uid 990, with NET_BIND_SERVICE at most"

stop
echo "stops on SIGTERM"
start
stop
echo "starts again on the state it made"
