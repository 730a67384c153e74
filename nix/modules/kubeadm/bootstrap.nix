# The network plugin and the GitOps engine for a kubeadm cluster, applied by the Primer: rendered in the build from
# hashed charts, so that the running cluster downloads nothing to get its network.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.keystone.kubeadm;
  inherit (config.keystone) cni derived gitops;
  manifests = cni.manifests ++ gitops.manifests;
  apply = file: ''
    kubectl apply --server-side --force-conflicts --field-manager keystone-host --filename ${file}
  '';
in
{
  config = lib.mkIf (derived.isKubeadm && derived.isPrimer) {
    systemd.services.keystone-bootstrap = {
      description = "Apply the network plugin and the GitOps engine";
      wantedBy = [ "multi-user.target" ];
      after = [ "keystone-kubeadm-init.service" ];
      path = [
        cfg.package
        pkgs.coreutils
      ];
      environment.KUBECONFIG = "/etc/kubernetes/admin.conf";
      serviceConfig = {
        Type = "exec";
        Restart = "on-failure";
        RestartSec = 30;
      };
      script = ''
        deadline=$((SECONDS + ${toString cfg.waitSeconds}))
        until [ -e ${cfg.marker} ] && seen=$(kubectl get --raw /readyz 2>&1); do
          if [ "$SECONDS" -ge "$deadline" ]; then
            echo "waited ${toString cfg.waitSeconds} s for the API; last: ''${seen:-not initialised}" >&2
            exit 1
          fi
          sleep 3
        done
        ${lib.concatMapStrings apply manifests}
      '';
    };
  };
}
