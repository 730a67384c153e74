# Snapshots of etcd on kubeadm's servers; k3s makes its own.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.keystone.kubeadm.etcdBackup;
  inherit (config.keystone) derived;
  pki = "/etc/kubernetes/pki/etcd";
in
{
  options.keystone.kubeadm.etcdBackup = {
    folder = lib.mkOption {
      type = lib.types.str;
      default = "/var/backup/etcd";
      example = "/mnt/backup/etcd";
      description = "Where the snapshots of etcd lie.";
    };
    schedule = lib.mkOption {
      type = lib.types.str;
      default = "*-*-* 0/6:00:00";
      example = "daily";
      description = "When etcd is saved to disk, as systemd.time writes it.";
    };
    keep = lib.mkOption {
      type = lib.types.ints.positive;
      default = 28;
      example = 7;
      description = "How many snapshots of etcd stay.";
    };
  };

  config = lib.mkIf (derived.isKubeadm && derived.isServer) {
    systemd.tmpfiles.settings."10-etcd-backup".${cfg.folder}.d = {
      mode = "0700";
      user = "root";
      group = "root";
    };
    systemd.services.etcd-backup = {
      description = "Save etcd to disk";
      # Before the server has joined there is nothing to save.
      unitConfig.ConditionPathExists = "${pki}/healthcheck-client.key";
      path = [
        pkgs.etcd
        pkgs.findutils
      ];
      serviceConfig = {
        Type = "oneshot";
        UMask = "0077";
        TimeoutStartSec = 600;
      };
      script = ''
        target=${cfg.folder}/etcd-snapshot-$(date -u +%Y%m%dT%H%M%SZ).db
        etcdctl --endpoints https://127.0.0.1:2379 --cacert ${pki}/ca.crt \
          --cert ${pki}/healthcheck-client.crt --key ${pki}/healthcheck-client.key snapshot save "$target.part"
        mv "$target.part" "$target"
        find ${cfg.folder} -name 'etcd-snapshot-*.db' | sort -r | tail -n +${toString (cfg.keep + 1)} | xargs -r rm --
      '';
    };
    systemd.timers.etcd-backup = {
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnCalendar = cfg.schedule;
        Persistent = true;
        RandomizedDelaySec = 60;
      };
    };
  };
}
