start_all()

with subtest("three servers form one cluster"):
    for machine in (primer, s1, s2):
        machine.wait_for_unit("k3s.service")
    primer.wait_until_succeeds("test $(kubectl get nodes --no-headers | grep -cw Ready) -eq 3", timeout=240)
    members = primer.succeed("kubectl get nodes --selector node-role.kubernetes.io/etcd=true --output name")
    assert len(members.split()) == 3, members

with subtest("the authorities are those that were given"):
    shown = [m.succeed("sha256sum </var/lib/rancher/k3s/server/tls/server-ca.crt") for m in (primer, s1, s2)]
    assert len(set(shown)) == 1, shown

with subtest("Secrets are encrypted in etcd"):
    assert "Enabled" in primer.succeed("k3s secrets-encrypt status")

with subtest("the loss of the Primer leaves a majority that still writes"):
    primer.succeed("kubectl create configmap before --from-literal=a=1")
    primer.crash()
    s1.wait_until_succeeds("kubectl get configmap before", timeout=120)
    s1.wait_until_succeeds("kubectl create configmap after --from-literal=a=1", timeout=120)
    s2.wait_until_succeeds("kubectl get configmap after", timeout=60)

with subtest("the Primer comes back into the cluster"):
    primer.start()
    primer.wait_until_succeeds("kubectl get configmap after", timeout=240)
