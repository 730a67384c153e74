# An SSH server in the initrd that asks for the disk's passphrase. It has its own host key, because that key lies
# unencrypted on the boot partition, and its own port, because clients pin one key per port.
{ config, lib, ... }:
let
  cfg = config.keystone.boot.remoteUnlock;
  inherit (config.keystone) base cluster host;
  publicKey = file: lib.head (lib.splitString "\n" (builtins.readFile file));
in
{
  options.keystone.boot.remoteUnlock = {
    enable = lib.mkOption {
      type = lib.types.bool;
      default = host.unlock != "tpm2";
      defaultText = lib.literalExpression ''host.unlock != "tpm2"'';
      example = false;
      description = "Whether the initrd has an SSH server for the passphrase.";
    };
    hostKey = lib.mkOption {
      type = lib.types.str;
      default = "/etc/ssh/initrd_ssh_host_ed25519_key";
      readOnly = true;
      description = "Where the installer puts the initrd's host key; the boot loader's installation copies it.";
    };
    networkModules = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [
        "atlantic"
        "bnx2"
        "bnx2x"
        "bnxt_en"
        "e1000"
        "e1000e"
        "ena"
        "hv_netvsc"
        "i40e"
        "iavf"
        "ice"
        "igb"
        "igc"
        "ixgbe"
        "ixgbevf"
        "mlx4_en"
        "mlx5_core"
        "r8152"
        "r8169"
        "tg3"
        "virtio_net"
        "vmxnet3"
        "xen_netfront"
      ];
      example = [ "e1000e" ];
      description = "Drivers of network cards in the initrd.";
    };
  };

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = host.ssh.initrdPort != host.ssh.port;
        message = "${host.name}: keystone.host.ssh.initrdPort and ssh.port are both ${toString host.ssh.port}, but the two servers have different keys. Give the initrd another port.";
      }
    ];

    boot.initrd = {
      availableKernelModules = cfg.networkModules;
      network = {
        enable = true;
        ssh = {
          enable = true;
          port = host.ssh.initrdPort;
          hostKeys = [ cfg.hostKey ];
          authorizedKeys =
            cluster.authorizedKeys ++ lib.optional (base.operatorKeyFile != null) (publicKey base.operatorKeyFile);
        };
      };
      systemd = {
        network = {
          enable = true;
          networks."10-lan" = config.keystone.lan.network;
        };
        # A login answers the passphrase prompt and can do nothing else.
        users.root.shell = "/bin/systemd-tty-ask-password-agent";
      };
    };
  };
}
