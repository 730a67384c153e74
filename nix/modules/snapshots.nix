{ lib, ... }: { options.keystone.snapshots.enable = lib.mkOption { type = lib.types.bool; default = false; }; }
