# How the encrypted disk is opened at boot: by the TPM2, by a passphrase over SSH in the initrd, or by either. The
# recovery passphrase always stays in its own key slot.
{
  config,
  lib,
  ...
}:
let
  cfg = config.keystone.boot;
  inherit (config.keystone) host;
  tpm2 = host.unlock != "remote";
in
{
  options.keystone.boot.unlock = {
    pcrs = lib.mkOption {
      type = lib.types.listOf (lib.types.ints.between 0 23);
      default = [ ];
      example = [ 7 ];
      description = ''
        Registers that the key slot made by the installer is bound to. Empty until Secure Boot is on: its first two
        boots change PCR 7. Measured boot then binds the slot to its own policy.
      '';
    };
    crypttabExtraOpts = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      readOnly = true;
      internal = true;
      description = "Options of the disk's line in the initrd's crypttab.";
    };
    enrolHook = lib.mkOption {
      type = lib.types.lines;
      readOnly = true;
      internal = true;
      description = "What the installer runs once the encrypted partition exists.";
    };
  };

  config = {
    assertions = [
      {
        assertion = cfg.unlock.pcrs == [ ] || tpm2;
        message = "${host.name}: keystone.boot.unlock.pcrs is set, but keystone.host.unlock is remote. Leave pcrs empty or unlock by tpm2.";
      }
      {
        assertion = tpm2 && cfg.secureBoot.enable -> cfg.secureBoot.measured || cfg.unlock.pcrs != [ ];
        message = "${host.name}: keystone.boot.secureBoot.measured is off and keystone.boot.unlock.pcrs is empty: the TPM would open the disk for any system that boots here. Set pcrs, such as [ 7 ], or set unlock: remote.";
      }
    ];

    keystone.boot.unlock = {
      # tries: else the third wrong passphrase ends the boot, and the machine has to be switched off and on
      # tpm2-measure-pcr: once the disk is open, PCR 15 says so; a rogue root file system cannot ask for the key again
      crypttabExtraOpts = [
        "tries=0"
      ]
      ++ lib.optionals tpm2 [
        "tpm2-device=auto"
        "tpm2-measure-pcr=yes"
      ];
      enrolHook = lib.optionalString tpm2 ''
        # the list is empty without a TPM2, and no fault
        if ! systemd-cryptenroll --tpm2-device=list | grep --quiet /dev/; then
          echo "${host.name}: keystone.host.unlock is ${host.unlock}, but this machine has no TPM2. Set unlock: remote." >&2
          exit 1
        fi
        systemd-cryptenroll --wipe-slot=tpm2 --tpm2-device=auto --tpm2-pcrs=${lib.concatMapStringsSep "+" toString cfg.unlock.pcrs} \
          --unlock-key-file=${config.keystone.disk.keyFile} /dev/disk/by-partlabel/disk-main-luks
      '';
    };

    boot.initrd = {
      systemd = {
        enable = true;
        # A shell in the initrd would hand out a disk that the TPM has opened.
        emergencyAccess = false;
        tpm2.enable = lib.mkIf tpm2 true;
      };
      availableKernelModules = lib.mkIf tpm2 [
        "tpm_crb"
        "tpm_tis"
      ];
    };
    security.tpm2.enable = tpm2;
  };
}
