# place-vip.sh ADDRESS MANIFEST: puts kube-vip's manifest where the kubelet finds it, with the interface that holds
# ADDRESS now. The kubelet reads every file there whose name does not start with a dot, so it is renamed into place.
set -eu
address="$1" manifest="$2"
directory="${MANIFESTS:-/etc/kubernetes/manifests}"
interface="$(ip -4 -o address show | awk -v address="$address" 'index($4, address "/") == 1 { print $2; exit }')"
if [ -z "$interface" ]; then
    echo "no interface holds $address yet" >&2
    exit 1
fi
mkdir -p "$directory"
sed "s/value: INTERFACE}/value: \"$interface\"}/" "$manifest" > "$directory/.kube-vip.yaml"
mv "$directory/.kube-vip.yaml" "$directory/kube-vip.yaml"
