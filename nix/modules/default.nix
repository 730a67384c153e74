# Every module of an installed machine. Each is off, or without effect, until facts or a host file ask for it.
{
  imports = [
    ./boot/remote-unlock.nix
    ./boot/secure-boot.nix
    ./boot/tpm2-unlock.nix
    ./disks/common.nix
    ./disks/ext4-luks.nix
    ./disks/zfs-luks.nix
    ./network.nix
    ./node.nix
    ./secrets.nix
  ];
}
