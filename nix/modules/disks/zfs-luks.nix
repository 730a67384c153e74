# ZFS in the encrypted partition: snapshots of host data, and a dataset for each thing that grows on its own.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.keystone.disk.zfs;
  inherit (config.keystone) derived host;
  enable = host.layout == "zfs-luks";
  dataset = mountpoint: options: {
    type = "zfs_fs";
    inherit mountpoint;
    options = {
      mountpoint = "legacy";
    }
    // options;
  };
  containerd =
    if derived.isK3s then
      "/var/lib/rancher/k3s/agent/containerd/io.containerd.snapshotter.v1.zfs"
    else
      "/var/lib/containerd/io.containerd.snapshotter.v1.zfs";
in
{
  config = lib.mkIf enable {
    assertions = [
      {
        assertion = !(config.boot.zfs.modulePackage.meta.broken or false);
        message = "${host.name}: boot.kernelPackages: ZFS does not support Linux ${config.boot.kernelPackages.kernel.version} yet. Take an older kernel.";
      }
    ];

    keystone.disk.content = {
      type = "zfs";
      inherit (cfg) pool;
    };
    disko.devices.zpool.${cfg.pool} = {
      type = "zpool";
      options.ashift = "12";
      rootFsOptions = {
        acltype = "posixacl";
        atime = "off";
        canmount = "off";
        compression = "zstd";
        dnodesize = "auto";
        mountpoint = "none";
        xattr = "sa";
      };
      datasets = {
        root = dataset "/" { };
        nix = dataset "/nix" { };
        log = dataset "/var/log" { };
      }
      // lib.optionalAttrs derived.isK3s { k3s = dataset "/var/lib/rancher" { }; }
      // lib.optionalAttrs derived.isKubeadm {
        containerd = dataset "/var/lib/containerd" { };
        kubelet = dataset "/var/lib/kubelet" { };
      }
      # etcd writes small pages and syncs each; large records would multiply them
      // lib.optionalAttrs derived.isServer {
        etcd = dataset (if derived.isK3s then "/var/lib/rancher/k3s/server/db" else "/var/lib/etcd") {
          recordsize = "16K";
        };
      }
      // lib.optionalAttrs cfg.snapshotter { containers = dataset containerd { }; }
      // lib.optionalAttrs derived.isPrimer { headscale = dataset "/var/lib/headscale" { }; };
    };

    boot.supportedFilesystems.zfs = true;
    boot.zfs = {
      forceImportRoot = false;
      devNodes = "/dev/disk/by-id";
      requestEncryptionCredentials = false; # LUKS below is the encryption
    };
    # NixOS looks for the pool for a minute and then gives the boot up; a passphrase may take days.
    boot.initrd.systemd.services."zfs-import-${cfg.pool}" = {
      after = [ "cryptsetup.target" ];
      wants = [ "cryptsetup.target" ];
    };
    boot.extraModprobeConfig = lib.mkIf (cfg.arcMaxMib != null) ''
      options zfs zfs_arc_max=${toString (cfg.arcMaxMib * 1024 * 1024)}
    '';
    services.zfs = {
      autoScrub = {
        enable = true;
        interval = "monthly";
        pools = [ cfg.pool ];
      };
      trim.enable = true;
    };
    services.fstrim.enable = lib.mkForce false;
    environment.systemPackages = [ pkgs.zfs ];
  };
}
