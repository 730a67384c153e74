# The part of a machine that knows nothing of its disk, its card or its age files: shared by installed machines, pool
# nodes and the virtual machines of the tests.
{
  imports = [
    ./admin-tools.nix
    ./base.nix
    ./cni.nix
    ./disks/options.nix
    ./edge.nix
    ./facts.nix
    ./firewall.nix
    ./gitops.nix
    ./gvisor.nix
    ./k3s/agent.nix
    ./k3s/common.nix
    ./k3s/identity.nix
    ./k3s/remote-agent.nix
    ./k3s/renewal.nix
    ./k3s/server.nix
    ./kubeadm/bootstrap.nix
    ./kubeadm/common.nix
    ./kubeadm/control-plane.nix
    ./kubeadm/etcd-backup.nix
    ./kubeadm/join.nix
    ./kubeadm/renewal.nix
    ./kubernetes-policy.nix
    ./mesh/backup.nix
    ./mesh/headscale.nix
    ./mesh/pool-keys.nix
    ./mesh/tailscale.nix
    ./monitoring.nix
    ./offsite
    ./snapshots.nix
    ./storage.nix
  ];
}
