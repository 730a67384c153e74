# The system disk, whatever its layout: one GPT disk, an EFI partition and one LUKS2 partition. Ceph's disks never
# appear here; Rook takes them whole and encrypts them itself.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.keystone.disk;
  inherit (config.keystone) host;
  inherit (config.disko) devices;
  declared = lib.mapAttrsToList (_: d: d.device) (devices.disk or { });
  taken = lib.intersectLists host.osdDisks declared;
  unlock = config.keystone.boot.unlock;
in
{
  options.keystone.disk = {
    keyFile = lib.mkOption {
      type = lib.types.str;
      default = "/run/keystone/disk.key";
      readOnly = true;
      description = "Where the installer finds the recovery passphrase (nixos-anywhere --disk-encryption-keys).";
    };
    espSizeGib = lib.mkOption {
      type = lib.types.ints.positive;
      default = 1;
      example = 2;
      description = "Size of the EFI partition in GiB; eight signed kernels with their initrds fit into 1.";
    };
    content = lib.mkOption {
      type = lib.types.attrsOf lib.types.anything;
      internal = true;
      description = "What the layout puts into the encrypted partition.";
    };
  };

  config = {
    assertions = [
      {
        assertion = !(lib.elem host.disk host.osdDisks);
        message = "${host.name}: keystone.host.osdDisks contains the system disk ${host.disk}. Give Ceph other disks.";
      }
      {
        assertion = taken == [ ];
        message = "${host.name}: disko.devices would format ${lib.concatStringsSep ", " taken}, which keystone.host.osdDisks gives to Ceph. Remove it from disko.devices.";
      }
      {
        assertion = lib.length declared == 1 && lib.head declared == host.disk;
        message = "${host.name}: disko.devices.disk names ${lib.concatStringsSep ", " declared}, but the system belongs on ${host.disk} alone. Remove the other disks.";
      }
    ];

    disko.devices.disk.main = {
      type = "disk";
      device = host.disk;
      content = {
        type = "gpt";
        # The first write after wiping: an interrupted installation is known as ours by this GUID. disko clears the
        # table only where blkid finds none, so this GUID stays.
        preCreateHook = ''
          sgdisk --clear --disk-guid=${host.diskGuid} ${lib.escapeShellArg host.disk}
          udevadm settle --timeout 120
        '';
        partitions = {
          ESP = {
            size = "${toString cfg.espSizeGib}G";
            type = "EF00";
            content = {
              type = "filesystem";
              format = "vfat";
              mountpoint = "/boot";
              mountOptions = [ "umask=0077" ];
            };
          };
          luks = {
            size = "100%";
            type = "8309";
            content = {
              type = "luks";
              name = "crypted";
              passwordFile = cfg.keyFile;
              extraFormatArgs = [
                "--type luks2"
                "--pbkdf argon2id"
              ];
              settings = {
                allowDiscards = true;
                inherit (unlock) crypttabExtraOpts;
              };
              postCreateHook = unlock.enrolHook;
              inherit (cfg) content;
            };
          };
        };
      };
    };

    # Nobody looks what a machine has before its system is built: the initrd knows the controllers that the installer does,
    # else a disk that was just installed on is not found at the first boot.
    boot.initrd.availableKernelModules = [
      "aacraid"
      "ahci"
      "ata_piix"
      "hpsa"
      "hv_storvsc"
      "isci"
      "megaraid_sas"
      "mpi3mr"
      "mpt3sas"
      "nvme"
      "sd_mod"
      "sdhci_pci"
      "smartpqi"
      "sr_mod"
      "uas"
      "usb_storage"
      "usbhid"
      "virtio_blk"
      "virtio_pci"
      "virtio_scsi"
      "vmd"
      "vmw_pvscsi"
      "xen_blkfront"
      "xhci_pci"
    ];
    services.fstrim.enable = true;
    # kubelets refuse to start beside swap, and what is swapped out outlives the process
    swapDevices = lib.mkForce [ ];
    environment.systemPackages = [ pkgs.cryptsetup ];
  };
}
