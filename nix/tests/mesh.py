import json

machines = [primer, w1, w2, w3]
workers = [w1, w2, w3]

# Workers may reach each other and the Primer's services; nobody but the Primer may use SSH.
POLICY = {
    "tagOwners": {"tag:primer": [], "tag:agent": []},
    "acls": [
        {"action": "accept", "src": ["tag:primer"], "dst": ["tag:agent:*"]},
        {"action": "accept", "src": ["tag:agent"], "dst": ["tag:primer:6443", "tag:primer:8443"]},
        {"action": "accept", "src": ["tag:agent"], "dst": ["tag:agent:10250", "tag:agent:51820"]},
        {"action": "accept", "proto": "udp", "src": ["tag:agent"], "dst": ["tag:primer:51820"]},
        {"action": "accept", "proto": "icmp", "src": ["*"], "dst": ["*:*"]},
    ],
}


def tell(machine: Machine, what: str) -> None:
    """Print what a failed wait needs for being understood."""
    for command in (
        "journalctl --no-pager -n 60 -u k3s -u tailscaled -u headscale",
        "tailscale status",
        "ip -br address",
    ):
        machine.log(f"{what}: {command}\n{machine.execute(command)[1]}")


def join(machine: Machine, tag: str) -> None:
    """Mint a key for one use on the Primer and log in with it, by standard input."""
    made = json.loads(primer.succeed(f"headscale preauthkeys create --expiration 10m --tags {tag} --output json"))
    machine.succeed(
        f"printf %s {made['key']} | tailscale up --reset --timeout 60s --auth-key file:/dev/stdin"
        " --login-server https://192.168.1.1:8443"
    )


def address(machine: Machine) -> str:
    return machine.succeed("tailscale ip -4").strip()


start_all()
primer.wait_for_unit("headscale.service")
primer.wait_for_open_port(8443)

with subtest("the policy is set before anybody joins"):
    primer.succeed(
        f"printf %s '{json.dumps(POLICY)}' >/tmp/policy.json && headscale policy set --file /tmp/policy.json"
    )

with subtest("every machine joins, the Primer too"):
    for machine in machines:
        machine.wait_for_unit("tailscaled.service")
        join(machine, "tag:primer" if machine is primer else "tag:agent")

addresses = {machine.name: address(machine) for machine in machines}
assert len(set(addresses.values())) == 4, addresses

with subtest("all twelve ordered pairs answer"):
    for source in machines:
        for target in machines:
            if source is not target:
                source.succeed(f"ping -c 1 -W 10 {addresses[target.name]}")

with subtest("machines have names"):
    for source in machines:
        for target in machines:
            found = source.wait_until_succeeds(f"getent ahostsv4 {target.name}.mesh.internal", timeout=30)
            assert addresses[target.name] in found, found

with subtest("without a direct path, the relay carries the traffic"):
    block = "nft add table inet cut; nft add chain inet cut out '{ type filter hook output priority 0; }'"
    w1.succeed(
        f"{block}; nft add rule inet cut out udp dport 41641 drop; nft add rule inet cut out udp sport 41641 drop"
    )
    w1.wait_until_succeeds(f"ping -c 1 -W 5 {addresses['w2']}", timeout=60)
    said = w1.succeed(f"tailscale ping --until-direct=false -c 3 {addresses['w2']} || true")
    assert "via DERP" in said, said
    w1.succeed("nft delete table inet cut")

with subtest("what no rule allows is refused"):
    w2.succeed("systemctl is-active sshd.service")
    w1.fail(f"timeout 5 bash -c '</dev/tcp/{addresses['w2']}/22'")
    primer.succeed(f"timeout 5 bash -c '</dev/tcp/{addresses['w2']}/22'")

with subtest("four nodes are ready"):
    try:
        primer.wait_until_succeeds("test $(kubectl get nodes --no-headers | grep -cw Ready) -eq 4", timeout=150)
    except Exception:
        for machine in machines:
            tell(machine, "nodes are not ready")
        raise
    shown = json.loads(primer.succeed("kubectl get node w3 --output json"))
    internal = [entry["address"] for entry in shown["status"]["addresses"] if entry["type"] == "InternalIP"]
    assert internal == [addresses["w3"]], internal

with subtest("workers reach the API by kubectl"):
    kubeconfig = primer.succeed("cat /etc/rancher/k3s/k3s.yaml").replace("127.0.0.1", "primer.mesh.internal")
    for worker in workers:
        worker.succeed(f"cat >/root/kubeconfig <<'EOF'\n{kubeconfig}\nEOF\nchmod 600 /root/kubeconfig")
        assert "w2" in worker.succeed("KUBECONFIG=/root/kubeconfig kubectl get nodes --output name")

with subtest("a pod runs on a worker and is reached from another"):
    overrides = {"spec": {"nodeName": "w2"}}
    primer.succeed(
        "kubectl run hello --image docker.io/library/keystone-hello:1 --image-pull-policy Never --port 8080"
        f" --overrides '{json.dumps(overrides)}'"
    )
    primer.wait_until_succeeds("kubectl wait --for condition=Ready pod/hello --timeout 5s", timeout=60)
    pod = primer.succeed("kubectl get pod hello --output jsonpath={.status.podIP}").strip()
    for source in (primer, w1, w3):
        assert "hello" in source.wait_until_succeeds(f"curl --fail --max-time 5 http://{pod}:8080/", timeout=60)
