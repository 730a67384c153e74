# The installer: boots, gets an address by DHCP, lets the stack's operator in, and shows on its screen what has to be
# written into the stack file: address, host key and serial numbers.
{
  authorizedKeys,
  sshPorts ? [ 22 ],
}:
{
  lib,
  modulesPath,
  pkgs,
  ...
}:
let
  show = pkgs.writeShellScript "show-identity" ''
    line() {
      printf '  %-17s %s\n' "$1" "$2"
    }
    {
      printf '\n\033[2J\033[HKeystone installer. For the stack file:\n\n'
      line address: "$(ip -4 -brief address show scope global | awk '{ print $3 }' | paste -sd ' ')"
      line mac: "$(ip -brief link | awk '$2 == "UP" { print $3 }' | paste -sd ' ')"
      line installerHostKey: "$(cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub)"
      line machineSerial: "$(cat /sys/class/dmi/id/product_serial 2>/dev/null || echo none)"
      printf '\n  disks (diskSerial, size, name):\n'
      lsblk --nodeps --noheadings --output SERIAL,SIZE,PATH --include 8,179,252,253,254,259
      printf '\n'
    } >/dev/tty1
  '';
in
{
  imports = [ "${modulesPath}/installer/cd-dvd/installation-cd-minimal.nix" ];

  system.nixos.variant_id = "installer";
  networking.hostName = "keystone-installer";
  boot.supportedFilesystems.zfs = lib.mkForce true;
  services.openssh = {
    enable = true;
    ports = sshPorts;
    settings = {
      PasswordAuthentication = false;
      PermitRootLogin = lib.mkForce "prohibit-password";
    };
    hostKeys = [
      {
        path = "/etc/ssh/ssh_host_ed25519_key";
        type = "ed25519";
      }
    ];
  };
  users.users.root.openssh.authorizedKeys.keys = authorizedKeys;
  environment.systemPackages = [
    pkgs.cryptsetup
    pkgs.gptfdisk
    pkgs.jq
    pkgs.tpm2-tools
  ];
  systemd.services.show-identity = {
    description = "Show address and host key on the screen";
    wantedBy = [ "multi-user.target" ];
    after = [
      "network-online.target"
      "sshd.service"
      "getty@tty1.service"
    ];
    wants = [ "network-online.target" ];
    path = [
      pkgs.gawk
      pkgs.iproute2
      pkgs.util-linux
    ];
    serviceConfig = {
      Type = "exec";
      ExecStart = "${show}";
      # addresses come late and change: show them again
      Restart = "always";
      RestartSec = 20;
    };
    unitConfig.StartLimitIntervalSec = 0;
  };
}
