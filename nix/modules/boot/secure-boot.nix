# Secure Boot with the machine's own keys, and a measured boot that binds the TPM's key slot to it.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.keystone.boot.secureBoot;
  inherit (config.keystone) host;
in
{
  options.keystone.boot.secureBoot = {
    enable = lib.mkOption {
      type = lib.types.bool;
      default = host.unlock != "remote";
      defaultText = lib.literalExpression ''host.unlock != "remote"'';
      example = false;
      description = "Whether kernels are signed and Secure Boot is enrolled (firmware in Setup Mode) at the first boot.";
    };
    measured = lib.mkOption {
      type = lib.types.bool;
      default = cfg.enable && host.unlock != "remote";
      defaultText = lib.literalExpression ''secureBoot.enable && host.unlock != "remote"'';
      example = false;
      description = "Whether the TPM's key slot is bound to the boot chain once Secure Boot is on.";
    };
    includeMicrosoftKeys = lib.mkOption {
      type = lib.types.bool;
      default = true;
      example = false;
      description = "Whether Microsoft's keys stay trusted; graphics cards and network cards with firmware need them.";
    };
    pcrs = lib.mkOption {
      type = lib.types.listOf (
        lib.types.enum [
          0
          1
          2
          3
          4
          7
        ]
      );
      default = [
        0
        4
        7
      ];
      example = [ 7 ];
      description = "Registers in the policy: firmware, boot loader and kernel, Secure Boot state.";
    };
    generations = lib.mkOption {
      type = lib.types.ints.between 1 8;
      default = 8;
      example = 4;
      description = "How many systems stay bootable; measured boot predicts at most eight.";
    };
  };

  config = lib.mkMerge [
    {
      assertions = [
        {
          assertion = cfg.measured -> cfg.enable;
          message = "${host.name}: keystone.boot.secureBoot.measured needs keystone.boot.secureBoot.enable. Enable both or neither.";
        }
        {
          assertion = cfg.measured -> host.unlock != "remote";
          message = "${host.name}: keystone.boot.secureBoot.measured binds the TPM's key slot, but keystone.host.unlock is remote. Switch it off or unlock by tpm2.";
        }
        {
          assertion = host.unlock != "remote" -> cfg.enable;
          message = "${host.name}: keystone.host.unlock is ${host.unlock} without keystone.boot.secureBoot.enable: any system that boots here would get the key. Enable Secure Boot or set unlock: remote.";
        }
      ];
      boot.loader.efi.canTouchEfiVariables = true;
      boot.loader.timeout = 3;
    }
    (lib.mkIf cfg.enable {
      boot.loader.systemd-boot.enable = lib.mkForce false;
      boot.lanzaboote = {
        enable = true;
        pkiBundle = "/var/lib/sbctl";
        configurationLimit = cfg.generations;
        autoGenerateKeys.enable = true;
        autoEnrollKeys = {
          enable = true;
          autoReboot = true;
          inherit (cfg) includeMicrosoftKeys;
        };
        measuredBoot = lib.mkIf cfg.measured {
          enable = true;
          inherit (cfg) pcrs;
          autoCryptenroll = {
            enable = true;
            device = "/dev/disk/by-partlabel/disk-main-luks";
          };
        };
      };
      environment.systemPackages = [ pkgs.sbctl ];
    })
    (lib.mkIf (!cfg.enable) {
      boot.loader.systemd-boot = {
        enable = true;
        configurationLimit = cfg.generations;
        editor = false;
      };
    })
  ];
}
