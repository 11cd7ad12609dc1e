from __future__ import annotations

import pytest

from bootstrapper.cluster.proxy_flags import refuse_proxy_flag, split_proxy_flags


def test_flags_become_fields() -> None:
    stay, fields = split_proxy_flags(
        {
            "v": "2",
            "conntrack-max-per-core": "0",
            "conntrack-tcp-be-liberal": "true",
            "feature-gates": "A=true,B=false",
            "nodeport-addresses": "10.0.0.0/8,192.168.0.0/16",
            "kube-api-qps": "2.5",
            "metrics-bind-address": "0.0.0.0:10249",
        }
    )
    assert stay == {"v": "2"}
    assert fields == {
        "conntrack": {"maxPerCore": 0, "tcpBeLiberal": True},
        "featureGates": {"A": True, "B": False},
        "nodePortAddresses": ["10.0.0.0/8", "192.168.0.0/16"],
        "clientConnection": {"qps": 2.5},
        "metricsBindAddress": "0.0.0.0:10249",
    }


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("v", "4", None),
        ("oom-score-adj", "-999", None),
        ("conntrack-min", "many", "expected a whole number, found 'many'"),
        ("profiling", "yes", "expected true or false, found 'yes'"),
        ("kube-api-qps", "fast", "expected a number, found 'fast'"),
        ("feature-gates", "A", "expected NAME=true or NAME=false, found 'A'"),
    ],
)
def test_values_are_looked_at(flag: str, value: str, said: str | None) -> None:
    assert refuse_proxy_flag(flag, value) == (None if said is None else (said, ""))


def test_a_flag_that_would_be_ignored_is_refused() -> None:
    assert refuse_proxy_flag("conntrack-mix", "1") == (
        "kube-proxy has a configuration file beside which it ignores --conntrack-mix",
        "did you mean `conntrack-min`?",
    )
    assert refuse_proxy_flag("zzz", "1") == (
        "kube-proxy has a configuration file beside which it ignores --zzz",
        "leave it out",
    )
