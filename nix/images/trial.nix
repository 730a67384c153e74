# A whole cluster in one virtual machine, for trying: the same modules, an unencrypted disk, keys made at the first boot.
# It is nobody's: no stack's secrets are in it, and nothing of it is worth keeping.
{
  config,
  lib,
  modulesPath,
  pkgs,
  ...
}:
let
  token = "/var/lib/keystone/trial-token";
in
{
  config = {
    system.build.qcow2 = import "${modulesPath}/../lib/make-disk-image.nix" {
      inherit config lib pkgs;
      diskSize = "auto";
      additionalSpace = "8G";
      format = "qcow2";
      partitionTableType = "efi";
    };
    fileSystems."/" = {
      device = "/dev/disk/by-label/nixos";
      fsType = "ext4";
      autoResize = true;
    };
    fileSystems."/boot" = {
      device = "/dev/disk/by-label/ESP";
      fsType = "vfat";
    };
    boot.growPartition = true;
    boot.loader.systemd-boot.enable = true;
    boot.initrd.availableKernelModules = [
      "virtio_blk"
      "virtio_net"
      "virtio_pci"
      "virtio_scsi"
    ];
    networking.useDHCP = lib.mkForce true;
    keystone.kubernetes.nameservers = [ ];
    services.getty.autologinUser = "root";

    # one node that is server and worker
    services.k3s = {
      role = lib.mkForce "server";
      clusterInit = true;
      nodeIP = lib.mkForce null;
      serverAddr = lib.mkForce "";
      tokenFile = lib.mkForce token;
    };
    systemd.services.trial-identity = {
      description = "Make the trial's token";
      requiredBy = [ "k3s.service" ];
      before = [ "k3s.service" ];
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        UMask = "0077";
      };
      script = ''
        if [ ! -e ${token} ]; then
          mkdir -p ${dirOf token}
          head -c 32 /dev/urandom | sha256sum | cut -d' ' -f1 >${token}
        fi
      '';
    };
    # no mesh: there is nobody to join
    systemd.timers.keystone-mesh-settings.enable = false;
  };
}
