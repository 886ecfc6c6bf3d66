"""The chart's NetworkPolicies: who may come in, and where each process may go."""

from __future__ import annotations

from tests.support.chart import environment_of, find, pods_of, render


def test_only_the_named_peers_reach_the_wall() -> None:
    spec = find(render("full"), "NetworkPolicy", "-wall")["spec"]
    (rule,) = spec["ingress"]
    names = [peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for peer in rule["from"]]
    assert names == ["ingress", "monitoring"]
    ports = {port["port"] for rule in spec["egress"] for port in rule["ports"]}
    assert ports == {9092, 9093, 8086, 80, 443}
    closed = render("full", "--set-json", "wall.from=[]", "--set-json", "networkPolicy.metricsFrom=[]")
    assert "ingress" not in find(closed, "NetworkPolicy", "-wall")["spec"]


def test_nobody_may_come_in_but_who_is_named() -> None:
    manifests = render("full")
    spec = find(manifests, "NetworkPolicy", "-all")["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in spec
    assert all(
        spec["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items() for pod in pods_of(manifests).values()
    )
    assert "ingress" not in find(render("minimal"), "NetworkPolicy", "-worker")["spec"]


def test_media_come_from_the_internet_only() -> None:
    rules = find(render("minimal"), "NetworkPolicy", "-worker")["spec"]["egress"]
    (blocks,) = [[peer["ipBlock"] for peer in rule["to"]] for rule in rules if rule["ports"][0]["port"] == 80]
    private = {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8", "100.64.0.0/10"}
    assert private <= set(blocks[0]["except"])


def test_the_policies_open_the_ports_that_settings_name() -> None:
    scorers = "settings.FVQ_SCORER_URL=https://gpu-1.example\\, https://gpu-2.example\\, "
    options = [scorers, "networkPolicy.scorer.ports={443}", "settings.FVQ_BROKER=kafka"]
    rules = find(render("minimal", *(word for option in options for word in ("--set", option))), "NetworkPolicy", "-worker")
    opened = [{port["port"] for port in rule["ports"]} for rule in rules["spec"]["egress"] if "to" not in rule]
    assert opened == [{9092, 9093}, {443}]


def test_the_policies_open_what_the_workers_own_settings_name() -> None:
    token = ["--set", "secrets.FVQ_INFLUX_TOKEN_FILE.secret=influxdb", "--set", "secrets.FVQ_INFLUX_TOKEN_FILE.key=token"]
    own = ["--set", "worker.settings.FVQ_INFLUX_URL=http://influxdb:8086", *token]
    rules = find(render("minimal", *own), "NetworkPolicy", "-worker")["spec"]["egress"]
    assert {"ports": [{"protocol": "TCP", "port": 8086}]} in rules


def test_pods_listen_where_the_cluster_s_addresses_are() -> None:
    """Probes come to the pod's own address, which is IPv6 in a cluster of IPv6 alone."""
    own = ["--set", "listen=::", "--set", r"settings.FVQ_BROKER=[fd00::5]:9092\, [fd00::6]:9093"]
    for options, address in (([], "0.0.0.0"), (own, "::")):
        pods = pods_of(render("full", *options))
        for component in ("worker", "wall", "ingest", "ingest-dash", "rate"):
            assert environment_of(pods[component])["FVQ_WEB_HOST"] == address
        assert environment_of(pods["scorer"])["FVQ_SERVE_HOST"] == address
        ray = find(render("ray", *options), "RayService")["spec"]["serveConfigV2"]
        assert f'host: "{address}"' in ray
