#!/bin/bash
# machine_root.sh BASE HOST CONTROLLER...: becomes the first process of a machine that has its own root, processes, mounts and groups.
#
# Its root is the test computer's own, read only below a layer in memory: so the programs are the distribution's, and
# generated files lie at the paths they were generated for. Everything is gone when this process ends.
set -eu
base="$1" host="$2"
hostname "$host"
mkdir -p "$base"
mount -t tmpfs -o mode=755 tmpfs "$base"
mkdir "$base/upper" "$base/work" "$base/root" "$base/data"
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" "$base/root"
cd "$base/root"

# Programs that keep layers of their own cannot do so on a layered directory.
mount --bind "$base/data" var/lib
for directory in run tmp var/log; do mount -t tmpfs -o mode=755 tmpfs "$directory"; done
chmod 1777 tmp
mount -t proc proc proc
mount --rbind /dev dev
mount -t sysfs sysfs sys
mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
for controller in "${@:3}"; do
    mkdir "sys/fs/cgroup/$controller"
    case "$controller" in
        systemd) options="none,name=systemd" ;;   # no controller; containerd wants to see it all the same
        *) options="$controller" ;;
    esac
    mount -t cgroup -o "$options" cgroup "sys/fs/cgroup/$controller"
done
# What the test computer has installed there is not this machine's.
rm -rf etc/cni/net.d etc/kubernetes etc/etcd etc/containerd opt
mkdir -p etc/cni/net.d opt/bin opt/cni run/systemd/resolve mnt/host
pivot_root . mnt/host
umount -l /mnt/host
# systemd makes every mount shared, and so do kubelets expect it.
mount --make-rshared /
cd /
echo "nameserver 127.0.0.1" > /run/systemd/resolve/resolv.conf
touch /run/ready
# The first process has the orphans of all others to bury; bash does when it waits.
while :; do sleep 3600 & wait $! || true; done
