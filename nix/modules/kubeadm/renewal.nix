# kubeadm's control plane has certificates of a year, and only an upgrade of kubeadm's makes them anew: a cluster that is
# not upgraded for a year would stop. A timer renews them in time; the kubelet sees to its own.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.keystone.kubeadm;
  inherit (config.keystone) derived;
  renewal = cfg.certificateRenewal;
  # Each reads its certificates when it starts.
  components = "^(etcd|kube-apiserver|kube-controller-manager|kube-scheduler)$";
in
{
  options.keystone.kubeadm.certificateRenewal = {
    days = lib.mkOption {
      type = lib.types.ints.between 8 180;
      default = 100;
      example = 60;
      description = "Renew the control plane's certificates when fewer days than this are left.";
    };
    schedule = lib.mkOption {
      type = lib.types.str;
      default = "Sun 03:00";
      example = "Mon 04:30";
      description = "When to look, as systemd.time writes it.";
    };
  };

  config = lib.mkIf (derived.isKubeadm && derived.isServer) {
    systemd.services.keystone-kubeadm-renewal = {
      description = "Renew the control plane's certificates when they are about to end";
      path = config.systemd.services.kubelet.path ++ [
        pkgs.findutils
        pkgs.openssl
      ];
      unitConfig.ConditionPathExists = cfg.marker;
      serviceConfig = {
        Type = "oneshot";
        TimeoutStartSec = 600;
      };
      script = ''
        certificate=/etc/kubernetes/pki/apiserver.crt
        if ! openssl x509 -noout -checkend ${toString (renewal.days * 86400)} -in "$certificate"; then
          kubeadm certs renew all
          # the kubelet starts again what ends
          crictl ps --quiet --name '${components}' | xargs --no-run-if-empty crictl stop --timeout 30
        fi
      '';
    };
    systemd.timers.keystone-kubeadm-renewal = {
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnCalendar = renewal.schedule;
        # servers one after another, not all in the same minute
        RandomizedDelaySec = "3h";
        FixedRandomDelay = true;
        Persistent = true;
      };
    };
  };
}
