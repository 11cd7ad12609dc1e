"""kube-proxy's flags as fields of its configuration file. With a file it ignores every flag but those for its log and
`hostname-override` (cmd/kube-proxy/app/options.go), so an extra_arg would be lost without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

Fields = dict[str, Any]


def split_proxy_flags(flags: Mapping[str, str]) -> tuple[dict[str, str], Fields]:
    """(flags that stay flags, fields of KubeProxyConfiguration). ValueError for what `check` refuses."""
    stay: dict[str, str] = {}
    fields: Fields = {}
    for flag, value in flags.items():
        if flag in LOG_FLAGS:
            stay[flag] = value
            continue
        if flag not in PROXY_FIELDS:
            raise ValueError(f"kube-proxy has no field for --{flag}")
        path, parse = PROXY_FIELDS[flag]
        *parents, last = path.split(".")
        inner = fields
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = parse(value)
    return stay, fields


def refuse_proxy_flag(flag: str, value: str) -> tuple[str, str] | None:
    """What is wrong with one, and a hint, for `check`."""
    if flag in LOG_FLAGS:
        return None
    if flag not in PROXY_FIELDS:
        near = get_close_matches(flag, [*PROXY_FIELDS, *LOG_FLAGS], n=1)
        hint = f"did you mean `{near[0]}`?" if near else "leave it out"
        return f"kube-proxy has a configuration file beside which it ignores --{flag}", hint
    try:
        PROXY_FIELDS[flag][1](value)
    except ValueError as error:
        return str(error), ""
    return None


def parse_switch(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"expected true or false, found {text!r}")
    return text == "true"


def parse_number(text: str) -> int:
    if not text.removeprefix("-").isdecimal():
        raise ValueError(f"expected a whole number, found {text!r}")
    return int(text)


def parse_float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"expected a number, found {text!r}") from None


def parse_list(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def parse_gates(text: str) -> dict[str, bool]:
    gates = {}
    for part in parse_list(text):
        name, sign, value = part.partition("=")
        if not sign:
            raise ValueError(f"expected NAME=true or NAME=false, found {part!r}")
        gates[name] = parse_switch(value)
    return gates


LOG_FLAGS = frozenset({"v", "vmodule", "logging-format", "log-flush-frequency"})

PROXY_FIELDS: Mapping[str, tuple[str, Callable[[str], object]]] = {
    "bind-address": ("bindAddress", str),
    "bind-address-hard-fail": ("bindAddressHardFail", parse_switch),
    "config-sync-period": ("configSyncPeriod", str),
    "conntrack-max-per-core": ("conntrack.maxPerCore", parse_number),
    "conntrack-min": ("conntrack.min", parse_number),
    "conntrack-tcp-be-liberal": ("conntrack.tcpBeLiberal", parse_switch),
    "conntrack-tcp-timeout-close-wait": ("conntrack.tcpCloseWaitTimeout", str),
    "conntrack-tcp-timeout-established": ("conntrack.tcpEstablishedTimeout", str),
    "conntrack-udp-timeout": ("conntrack.udpTimeout", str),
    "conntrack-udp-timeout-stream": ("conntrack.udpStreamTimeout", str),
    "detect-local-mode": ("detectLocalMode", str),
    "feature-gates": ("featureGates", parse_gates),
    "healthz-bind-address": ("healthzBindAddress", str),
    "iptables-localhost-nodeports": ("iptables.localhostNodePorts", parse_switch),
    "iptables-masquerade-bit": ("iptables.masqueradeBit", parse_number),
    "iptables-min-sync-period": ("iptables.minSyncPeriod", str),
    "iptables-sync-period": ("iptables.syncPeriod", str),
    "ipvs-exclude-cidrs": ("ipvs.excludeCIDRs", parse_list),
    "ipvs-min-sync-period": ("ipvs.minSyncPeriod", str),
    "ipvs-scheduler": ("ipvs.scheduler", str),
    "ipvs-strict-arp": ("ipvs.strictARP", parse_switch),
    "ipvs-sync-period": ("ipvs.syncPeriod", str),
    "ipvs-tcp-timeout": ("ipvs.tcpTimeout", str),
    "ipvs-tcpfin-timeout": ("ipvs.tcpFinTimeout", str),
    "ipvs-udp-timeout": ("ipvs.udpTimeout", str),
    "kube-api-burst": ("clientConnection.burst", parse_number),
    "kube-api-content-type": ("clientConnection.contentType", str),
    "kube-api-qps": ("clientConnection.qps", parse_float),
    "masquerade-all": ("iptables.masqueradeAll", parse_switch),
    "metrics-bind-address": ("metricsBindAddress", str),
    "nodeport-addresses": ("nodePortAddresses", parse_list),
    "oom-score-adj": ("oomScoreAdj", parse_number),
    "pod-bridge-interface": ("detectLocal.bridgeInterface", str),
    "pod-interface-name-prefix": ("detectLocal.interfaceNamePrefix", str),
    "profiling": ("enableProfiling", parse_switch),
    "show-hidden-metrics-for-version": ("showHiddenMetricsForVersion", str),
}
"Flag -> field of KubeProxyConfiguration v1alpha1, and how its text is read."
