# The disk opens by TPM2 with the options of an installed machine, and stays shut for a machine with another TPM.
{ pkgs, ... }:
let
  inherit (pkgs) lib;
  # the values of modules/boot/tpm2-unlock.nix for a machine that unlocks by TPM2
  options = [
    "tpm2-device=auto"
    "tpm2-measure-pcr=yes"
  ];
in
pkgs.testers.runNixOSTest {
  name = "keystone-tpm";
  nodes.machine = {
    virtualisation = {
      emptyDiskImages = [ 512 ];
      useBootLoader = true;
      useEFIBoot = true;
      mountHostNixStore = true;
      tpm.enable = true;
      memorySize = 1536;
    };
    boot = {
      loader.systemd-boot.enable = true;
      loader.timeout = 0;
      initrd.systemd = {
        enable = true;
        emergencyAccess = false;
      };
      initrd.availableKernelModules = [ "tpm_tis" ];
    };
    security.tpm2.enable = true;
    environment.systemPackages = [
      pkgs.cryptsetup
      pkgs.e2fsprogs
    ];
    specialisation.unlock.configuration = {
      boot.initrd.luks.devices.crypted = lib.mkVMOverride {
        device = "/dev/vdb";
        crypttabExtraOpts = options;
      };
      virtualisation.fileSystems."/encrypted" = {
        device = "/dev/mapper/crypted";
        fsType = "ext4";
        neededForBoot = true;
      };
    };
  };
  testScript = builtins.readFile ./tpm.py;
}
