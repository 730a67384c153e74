# What every machine has: logins by key only, the install marker, the plain programs that the deployer runs.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.keystone.base;
  inherit (config.keystone) cluster host stack;
in
{
  options.keystone.base = {
    operatorKeyFile = lib.mkOption {
      type = lib.types.nullOr lib.types.path;
      default = null;
      example = lib.literalExpression "./secrets/dev/operator.pub";
      description = "File with the public key with which Keystone itself logs in; `keystone facts` writes it.";
    };
    packages = lib.mkOption {
      type = lib.types.listOf lib.types.package;
      default = [ ];
      example = lib.literalExpression "[ pkgs.htop ]";
      description = "Further packages for everybody who logs in.";
    };
    timeZone = lib.mkOption {
      type = lib.types.str;
      default = "UTC";
      example = "Europe/Berlin";
      description = "Time zone of the machine's clock and logs.";
    };
  };

  config = {
    assertions = [
      {
        assertion = cfg.operatorKeyFile != null || cluster.authorizedKeys != [ ];
        message = "${host.name}: keystone.base.operatorKeyFile: no public key may log in. Run `keystone facts`, which writes nix/secrets/${stack}/operator.pub.";
      }
    ];

    system.stateVersion = "26.05";
    networking.hostName = host.name;
    networking.hostId = host.hostId;
    time.timeZone = cfg.timeZone;
    i18n.defaultLocale = "C.UTF-8";
    documentation.enable = false;

    # Who this machine is, read by the install guard before anything is written.
    environment.etc."keystone/install.json".text = builtins.toJSON {
      host = host.name;
      cluster = cluster.name;
      generation = host.installGeneration;
      inherit (host) diskGuid;
    };

    environment.defaultPackages = [ ];
    environment.systemPackages = [
      pkgs.gptfdisk
      pkgs.jq
      pkgs.util-linux
    ]
    ++ cfg.packages;

    users.mutableUsers = false;
    users.users =
      let
        keys = {
          openssh.authorizedKeys = {
            keys = cluster.authorizedKeys;
            keyFiles = lib.optional (cfg.operatorKeyFile != null) cfg.operatorKeyFile;
          };
        };
      in
      {
        # No password at all: the console asks in vain, the recovery passphrase of the disk is the way back in.
        root = keys // {
          hashedPassword = "!";
        };
      }
      // lib.optionalAttrs (host.ssh.user != "root") {
        ${host.ssh.user} = keys // {
          isNormalUser = true;
          extraGroups = [ "wheel" ];
        };
      };
    security.sudo.wheelNeedsPassword = false;

    services.openssh = {
      enable = true;
      ports = [ host.ssh.port ];
      openFirewall = false; # firewall.nix is the one place that opens ports
      settings = {
        PasswordAuthentication = false;
        KbdInteractiveAuthentication = false;
        PermitRootLogin = "prohibit-password";
        AllowUsers = [ "root" ] ++ lib.optional (host.ssh.user != "root") host.ssh.user;
        X11Forwarding = false;
      };
      # The key arrives by --extra-files, derived from the root secret; a generated one would break the pinning.
      hostKeys = [
        {
          path = "/etc/ssh/ssh_host_ed25519_key";
          type = "ed25519";
        }
      ];
    };

    nix = {
      settings = {
        experimental-features = [
          "nix-command"
          "flakes"
        ];
        trusted-users = [ "root" ];
        auto-optimise-store = true;
      };
      channel.enable = false;
      gc = {
        automatic = true;
        dates = "weekly";
        options = "--delete-older-than 30d";
      };
    };

    boot.tmp.cleanOnBoot = true;
    hardware.enableRedistributableFirmware = lib.mkDefault true;
    services.journald.extraConfig = ''
      SystemMaxUse=2G
      MaxRetentionSec=1month
    '';
  };
}
