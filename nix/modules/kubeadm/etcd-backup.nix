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
    environment.systemPackages = [ pkgs.etcd ]; # etcdutl, which brings a snapshot back
    systemd = import ../../lib/kept-copies.nix { inherit pkgs; } {
      name = "etcd-backup";
      description = "Save etcd to disk";
      inherit (cfg) folder schedule keep;
      prefix = "etcd-snapshot";
      suffix = "db";
      # Before the server has joined there is nothing to save.
      unitConfig.ConditionPathExists = "${pki}/healthcheck-client.key";
      packages = [ pkgs.etcd ];
      seconds = 600;
      save = ''
        etcdctl --endpoints https://127.0.0.1:2379 --cacert ${pki}/ca.crt \
          --cert ${pki}/healthcheck-client.crt --key ${pki}/healthcheck-client.key snapshot save "$target.part"'';
    };
  };
}
