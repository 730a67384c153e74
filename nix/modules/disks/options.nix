# The choices of the disk's layout that other modules look at.
{ config, lib, ... }:
let
  inherit (config.keystone) derived host;
in
{
  options.keystone.disk.zfs = {
    pool = lib.mkOption {
      type = lib.types.strMatching "[a-z][a-z0-9-]*";
      default = "rpool";
      example = "tank";
      description = "Name of the pool.";
    };
    snapshotter = lib.mkOption {
      type = lib.types.bool;
      default = host.layout == "zfs-luks" && derived.isNode;
      defaultText = lib.literalExpression ''host.layout == "zfs-luks" && host.role != "edge"'';
      example = false;
      description = "Whether containerd keeps image layers as ZFS datasets.";
    };
    arcMaxMib = lib.mkOption {
      type = lib.types.nullOr lib.types.ints.positive;
      default = 1024;
      example = 4096;
      description = "Limit of ZFS' cache in MiB, so that pods find memory; null leaves half of the memory to it.";
    };
  };
}
