# Plain ext4 in the encrypted partition, for machines with little memory.
{ config, lib, ... }:
let
  inherit (config.keystone) host;
in
{
  config = lib.mkIf (host.layout == "ext4-luks") {
    assertions = [
      {
        assertion = !config.keystone.snapshots.enable;
        message = "${host.name}: keystone.snapshots.enable needs ZFS, but keystone.host.layout is ext4-luks. Switch snapshots off or install with zfs-luks.";
      }
    ];

    keystone.disk.content = {
      type = "filesystem";
      format = "ext4";
      mountpoint = "/";
      mountOptions = [ "noatime" ];
    };
  };
}
