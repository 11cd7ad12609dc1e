"""Checked values to the frozen `Cluster`: from here on nothing is refused."""

from __future__ import annotations

from bootstrapper.cluster import model
from bootstrapper.cluster.read import Values, find_line
from bootstrapper.cluster.yamltext import Mapping, Node, Scalar


def build_cluster(values: Values, machines: list[Values], root: Node, file: str) -> model.Cluster:
    builder = Builder()
    return model.Cluster(
        name=values["cluster"]["name"],
        domain=values["cluster"]["domain"],
        network=build_network(values["network"]),
        os=builder.os(values["os"], values.get("kernel_args") or ()),
        kubernetes=build_kubernetes(values["kubernetes"]),
        etcd_version=values["etcd"]["version"],
        flannel=model.Flannel(**values["flannel"]),
        containerd_version=values["containerd"]["version"],
        registry=model.Registry(**values["registry"]),
        assets={name: build_asset(asset) for name, asset in values["assets"].items()},
        addons=values["addons"],
        ssh_authorized_keys=values["ssh_authorized_keys"],
        unknown_machines=model.UnknownPolicy(values["unknown_machines"]),
        machines=tuple(builder.machine(machine, find_line(root, ("machines", index)))
                       for index, machine in enumerate(machines)),
        file=file,
        lines=list_lines(root),
    )  # fmt: skip


def list_lines(root: Node, path: str = "") -> dict[str, int]:
    """The lines of all keys of mappings; machines keep their own."""
    found: dict[str, int] = {}
    if isinstance(root, Mapping):
        for key, value in root.pairs:
            if isinstance(key, Scalar):
                name = f"{path}.{key.text}" if path else key.text
                found[name] = key.line
                found.update(list_lines(value, name))
    return found


class Builder:
    """Values to machines, building what many machines share once."""

    def __init__(self) -> None:
        self._systems: dict[tuple[int, tuple[str, ...]], model.OperatingSystem] = {}
        self._selectors: dict[int, model.DiskSelector] = {}
        self._roles: dict[tuple[str, ...], frozenset[model.Role]] = {}

    def machine(self, values: Values, line: int) -> model.Machine:
        macs = machine_macs(values)
        labels, bmc, hardware = values.get("labels"), values.get("bmc"), values.get("hardware")
        data_disk, written = values.get("data_disk"), values["roles"]
        roles = self._roles.get(written) or self._roles.setdefault(written, imply_roles(written))
        return model.Machine(
            macs=macs,
            host=values.get("host") or macs[0].replace(":", "-"),
            ip=values.get("ip"),
            roles=roles,
            profile=values.get("profile"),
            uuid=values.get("uuid"),
            serial=values.get("serial"),
            disk=self._selector(values.get("disk") or {}),
            data_disk=self._selector(data_disk) if data_disk else None,
            interfaces=tuple(build_interface(interface) for interface in values.get("interfaces") or ()),
            labels=labels or {},
            taints=values.get("taints") or (),
            os=self.os(values["os"], values.get("kernel_args") or ()),
            arch=model.Arch(values.get("arch") or "amd64"),
            console=values.get("console"),
            bmc=model.Bmc(bmc["address"], bmc.get("user")) if bmc and "address" in bmc else None,
            line=line,
            hardware=build_hardware(hardware or {}),
            local_boot=model.LocalBoot(values.get("local_boot") or model.LocalBoot.AUTO),
        )

    def os(self, values: Values, kernel_args: tuple[str, ...]) -> model.OperatingSystem:
        found = self._systems.get((id(values), kernel_args))
        if found is None:
            found = model.OperatingSystem(
                family=model.OsFamily(values["family"]),
                channel=values["channel"],
                version=values["version"],
                provision=model.Provision(values["provision"]),
                timezone=values["timezone"],
                updates=model.Updates(**values["updates"]),
                kernel_args=(values.get("kernel_args") or ()) + kernel_args,
            )
            self._systems[id(values), kernel_args] = found
        return found

    def _selector(self, values: Values) -> model.DiskSelector:
        if not values:
            return _ANY_DISK
        found = self._selectors.get(id(values))
        if found is None:
            chosen = {name: value for name, value in values.items() if name != "size"}
            sizes = values.get("size")
            found = model.DiskSelector(**chosen, **(sizes._asdict() if sizes else {}))
            self._selectors[id(values)] = found
        return found


def machine_macs(values: Values) -> tuple[str, ...]:
    """`mac`, then those of `macs`; the first one names the machine."""
    mac, macs = values.get("mac"), values.get("macs") or ()
    return (mac, *(other for other in macs if other != mac)) if mac else macs


def build_network(values: Values) -> model.Network:
    dhcp, dns, ntp = values["dhcp"], values["dns"], values["ntp"]
    return model.Network(
        link=model.Subnet(values["subnet"], values["routers"], dhcp.get("range")),
        bootstrapper=values["bootstrapper"],
        interface=values.get("interface"),
        more_subnets=tuple(model.Subnet(each["subnet"], each["routers"], each.get("range"))
                           for each in values["more_subnets"]),
        dhcp=model.Dhcp(model.DhcpMode(dhcp["mode"]), dhcp["lease"]),
        dns=model.Dns(dns["upstream"], dns["records"]),
        ntp=model.Ntp(ntp["serve"], ntp["upstream"]),
    )  # fmt: skip


def build_kubernetes(values: Values) -> model.Kubernetes:
    api = values["api"]
    names = ("version", "pod_cidr", "node_cidr_mask", "dns_domain", "service_cidr", "dns_ip", "proxy_mode", "max_pods")
    return model.Kubernetes(
        api=model.Api(api["host"], api.get("vip"), api["port"]),
        extra_args=values.get("extra_args") or {},
        **{name: values[name] for name in names},
    )


def build_asset(values: Values) -> model.AssetSource:
    return model.AssetSource(values["url"], *(values.get(key) for key in ("sha256", "sha512", "signature", "key")))


def build_hardware(values: Values) -> model.Hardware:
    return model.Hardware(values.get("cpus"), values.get("memory"))


def build_interface(values: Values) -> model.Interface:
    kind = values.get("kind") or ("bond" if values.get("members") else "vlan" if "vlan_id" in values else "physical")
    return model.Interface(
        name=values["name"],
        kind=kind,
        mac=values.get("mac"),
        addresses=values.get("addresses") or (),
        gateway=values.get("gateway"),
        mtu=values.get("mtu"),
        bond_mode=values.get("bond_mode") or ("802.3ad" if kind == "bond" else None),
        members=values.get("members") or (),
        vlan_id=values.get("vlan_id"),
        parent=values.get("parent"),
    )


def imply_roles(written: tuple[str, ...]) -> frozenset[model.Role]:
    """The written roles and those that follow: an ingress runs as a pod, and pods need the pod network."""
    roles = {model.Role(role) for role in written}
    if model.Role.INGRESS in roles and model.Role.MASTER not in roles:
        roles.add(model.Role.WORKER)
    if roles & {model.Role.MASTER, model.Role.WORKER}:
        roles.add(model.Role.FLANNEL)
    return frozenset(roles)


_ANY_DISK = model.DiskSelector()
