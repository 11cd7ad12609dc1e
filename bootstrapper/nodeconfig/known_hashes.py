"""SHA-256 of released files, by their name below `/assets`: what `assets.lock` says where it is silent.

From the projects' own checksum files, as kubespray keeps them (roles/kubespray_defaults/vars/main/checksums.yml).
flannel uploads no checksum for flanneld, and Kubernetes' kube-proxy is in no list: those come with `assets.lock`.
"""

from __future__ import annotations

from collections.abc import Mapping

_FILES: Mapping[str, str] = {
    "kubelet": "kubernetes/{version}/{arch}/kubelet",
    "kubectl": "kubernetes/{version}/{arch}/kubectl",
    "etcd": "etcd/{version}/{arch}/etcd-v{version}-linux-{arch}.tar.gz",
    "cni": "cni-plugins/{version}/{arch}/cni-plugins-linux-{arch}-v{version}.tgz",
    "crictl": "crictl/{version}/{arch}/crictl-v{version}-linux-{arch}.tar.gz",
    "runc": "runc/{version}/{arch}/runc.{arch}",
    "containerd": "containerd/{version}/{arch}/containerd-{version}-linux-{arch}.tar.gz",
}

_LIST = """
kubelet 1.36.4 cf2562db46c48ab84cc3791540778ee7fb1a0a008529adbb434723dd02ed8b4b fd53ea3fcbd077844f50a3c67e9b52f62972a563674956bab0c0f4fb7ea37d50
kubelet 1.35.8 6971b9f95e54dbed67a2271abe6e78f8cc2894494649f3cf39e4b25a82dca923 7744f84c49df6dff7d0a0471f9acef31568c02459659de83aa279cf3a04b1714
kubectl 1.36.4 8b8f088da2dab964f853b38464033b1be15ede2839eca751482357c45abdd05a 0ecf44450ee6063bf19dd166a103ee6df4a9034455c2abce626e6eea657d73fb
etcd 3.6.14 ffe840ff9295808e88cce2794a18a5ac87f12a5203c8314d0bf6aa119b41bac5 fa1b80565ee6fc2df1ae6f57a508b221f3ecc7d591c317c581cd8281b0842b3e
cni 1.9.1 b98f74a0f8522f0a83867178729c1aa70f2158f90c45a2ca8fa791db1c76b303 56171987d3947707c3563db2f4001bccaf50fd63468611b9f3cbecb1375ee7ec
crictl 1.36.0 83855e114566a8a8c44c548d515670f51de3a5e1da8b2effb59870e2f10c25a3 68328594ccf780a80ae2b092d9f6ce484eec7cf540c275242e8fd954bfd95332
runc 1.4.3 f6ae8efc0fa40079e1475e97cbe9d1bd3f106a28d6af78a11d9f1bd565515e60 633301e2e32f8a5ad54031aab4901eb00308bec677dd15faa2751e8f9dab5ca4
containerd 2.3.4 9d68969855fbf676cdb8ed758e420fb048d61f984f61de3e53eddfebe484d168 a985fbb7e18fc0362d31a055338f5d7b0e087a3e27f14c70d1c5965399a29f95
containerd 2.2.7 91cd216ea26a1b8b512219d3f205375c967e7b7de4dae571bc3dd16bfacd34b5 84eb0a161e20ad45465202fa2d6d93b3d9b74666c363e9908706d590a86e2618
"""  # noqa: E501 - a table: program, version, amd64, arm64


def _read(text: str) -> Mapping[str, str]:
    hashes = {}
    for line in text.split("\n"):
        if line:
            program, version, *values = line.split()
            for arch, value in zip(("amd64", "arm64"), values, strict=True):
                hashes[_FILES[program].format(version=version, arch=arch)] = value
    return hashes


KNOWN_HASHES = _read(_LIST)
"Name below `/assets` -> SHA-256 in hexadecimal."
