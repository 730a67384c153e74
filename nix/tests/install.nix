# nixos-anywhere installs a machine with two disks: the system goes onto the first, the second, Ceph's, stays as it was.
{ inputs, pkgs }:
let
  inherit (pkgs) lib;
  lib' = import ./lib.nix { inherit inputs pkgs; };
  facts = lib'.host 3 "target" "primer" {
    disk = "/dev/disk/by-id/virtio-system";
    osdDisks = [ "/dev/disk/by-id/virtio-ceph" ];
  };
  installed = inputs.nixpkgs.lib.nixosSystem {
    modules = [
      inputs.disko.nixosModules.disko
      inputs.lanzaboote.nixosModules.lanzaboote
      ../modules/boot/remote-unlock.nix
      ../modules/boot/secure-boot.nix
      ../modules/boot/tpm2-unlock.nix
      ../modules/disks/common.nix
      ../modules/disks/ext4-luks.nix
      ../modules/disks/zfs-luks.nix
      ../modules/network.nix
      (lib'.node [ facts ] facts)
      "${inputs.nixpkgs}/nixos/modules/testing/test-instrumentation.nix"
      "${inputs.nixpkgs}/nixos/modules/profiles/qemu-guest.nix"
      {
        nixpkgs.pkgs = pkgs;
        services.k3s.images = lib.mkForce [ ];
      }
    ];
  };
  inherit (installed.config.system.build) toplevel diskoScriptNoDeps;
  disks = {
    virtualisation.emptyDiskImages = [
      6144
      512
    ];
    # QEMU's empty disks have no serial number, so their names by id are made here
    services.udev.extraRules = ''
      KERNEL=="vdb", SYMLINK+="disk/by-id/virtio-system"
      KERNEL=="vdc", SYMLINK+="disk/by-id/virtio-ceph"
    '';
  };
in
pkgs.testers.runNixOSTest {
  name = "keystone-install";
  nodes = {
    deployer = {
      environment.systemPackages = [
        pkgs.nixos-anywhere
        pkgs.openssh
      ];
      system.extraDependencies = [
        toplevel
        diskoScriptNoDeps
      ];
      virtualisation.memorySize = 2560;
      environment.etc = {
        "test/key" = {
          source = lib'.snakeoil.snakeOilEd25519PrivateKey;
          mode = "0600";
        };
        "test/toplevel".text = "${toplevel}";
        "test/disko".text = "${diskoScriptNoDeps}";
      };
    };
    installer = {
        imports = [ disks ];
        services.openssh.enable = true;
        users.users.root.openssh.authorizedKeys.keys = [ lib'.snakeoil.snakeOilEd25519PublicKey ];
        system.nixos.variant_id = "installer";
        # what the disk script without dependencies calls
        environment.systemPackages = [
          pkgs.cryptsetup
          pkgs.dosfstools
          pkgs.e2fsprogs
          pkgs.gptfdisk
          pkgs.jq
          pkgs.parted
        ];
        virtualisation.memorySize = 2560;
      };
  };
  globalTimeout = 1200;
  testScript = builtins.readFile ./install.py;
}
