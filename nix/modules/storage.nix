# What storage in the cluster needs from the machine below it: kernel modules, daemons, folders.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.keystone.storage;
  inherit (config.keystone) cluster derived host;
  flag =
    default: description:
    lib.mkOption {
      type = lib.types.bool;
      inherit default description;
      example = true;
    };
  chosen =
    name: description:
    flag (derived.isNode && lib.elem name cluster.storage) description
    // {
      defaultText = lib.literalMD "whether the stack's `storage` has it and the host is a node";
    };
in
{
  options.keystone.storage = {
    ceph = flag derived.isNode "Whether pods use Ceph volumes: the kernel's RBD and CephFS clients." // {
      defaultText = lib.literalExpression ''host.role != "edge"'';
    };
    longhorn =
      chosen "longhorn" "Whether Longhorn runs here: an iSCSI initiator, NFS and its binaries on the usual paths.";
    openebs = chosen "openebs" "Whether OpenEBS' local engine runs here: the folder of its volumes.";
    nfs = flag derived.isNode "Whether pods mount NFS shares." // {
      defaultText = lib.literalExpression ''host.role != "edge"'';
    };
    hugePagesMib = lib.mkOption {
      type = lib.types.ints.unsigned;
      default = 0;
      example = 4096;
      description = "Memory set aside as huge pages of 2 MiB, in MiB.";
    };
  };

  config = lib.mkMerge [
    {
      assertions = [
        {
          assertion = host.osdDisks != [ ] -> cfg.ceph;
          message = "${host.name}: keystone.host.osdDisks gives disks to Ceph, but keystone.storage.ceph is off. Switch it on or remove the disks.";
        }
        {
          assertion = cfg.longhorn || cfg.openebs || cfg.ceph || cfg.nfs -> derived.isNode;
          message = "${host.name}: keystone.storage is for Kubernetes nodes, but the host is an edge. Switch ceph, longhorn, openebs and nfs off.";
        }
      ];
    }
    (lib.mkIf cfg.ceph {
      boot.kernelModules = [
        "ceph"
        "rbd"
      ];
      # Rook's own encryption opens the disks with these; OSD pods use the host's udev and LVM.
      environment.systemPackages = [
        pkgs.cryptsetup
        pkgs.lvm2
      ];
      services.lvm.enable = true;
    })
    (lib.mkIf cfg.longhorn {
      boot.kernelModules = [ "iscsi_tcp" ];
      services.openiscsi = {
        enable = true;
        name = "iqn.2026-01.${lib.concatStringsSep "." (lib.reverseList (lib.splitString "." cluster.domain))}:${host.name}";
      };
      # Longhorn enters the host's namespaces and looks for iscsiadm and mount.nfs on the usual paths.
      systemd.tmpfiles.settings."10-longhorn" = {
        "/usr/local/bin"."L+".argument = "/run/current-system/sw/bin";
        "/var/lib/longhorn".d.mode = "0700";
      };
      environment.systemPackages = [
        pkgs.nfs-utils
        pkgs.openiscsi
      ];
    })
    (lib.mkIf cfg.openebs {
      systemd.tmpfiles.settings."10-openebs"."/var/openebs/local".d.mode = "0700";
    })
    (lib.mkIf (cfg.hugePagesMib > 0) {
      boot.kernel.sysctl."vm.nr_hugepages" = cfg.hugePagesMib / 2;
    })
    (lib.mkIf cfg.nfs {
      boot.supportedFilesystems.nfs = true;
      services.rpcbind.enable = lib.mkForce false; # NFS 4 needs none, and it would listen everywhere
    })
  ];
}
