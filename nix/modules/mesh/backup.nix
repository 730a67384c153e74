# Copies of Headscale's database: who is in the mesh, with which address. Losing it means joining every host again.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.keystone.mesh.backup;
  inherit (config.keystone) derived;
  database = config.services.headscale.settings.database.sqlite.path;
in
{
  options.keystone.mesh.backup = {
    enable = lib.mkOption {
      type = lib.types.bool;
      default = derived.isPrimer;
      defaultText = lib.literalExpression ''host.role == "primer"'';
      example = false;
      description = "Whether the mesh's database is copied by a timer.";
    };
    folder = lib.mkOption {
      type = lib.types.str;
      default = "/var/backup/headscale";
      example = "/mnt/backup/headscale";
      description = "Where the copies lie.";
    };
    schedule = lib.mkOption {
      type = lib.types.str;
      default = "hourly";
      example = "*:0/15";
      description = "When to copy, as systemd.time writes it.";
    };
    keep = lib.mkOption {
      type = lib.types.ints.positive;
      default = 48;
      example = 7;
      description = "How many copies stay.";
    };
  };

  config = lib.mkIf (cfg.enable && derived.isPrimer) {
    systemd = import ../../lib/kept-copies.nix { inherit pkgs; } {
      name = "headscale-backup";
      description = "Copy Headscale's database";
      inherit (cfg) folder schedule keep;
      prefix = "db";
      suffix = "sqlite";
      after = [ "headscale.service" ];
      packages = [ pkgs.sqlite ];
      seconds = 300;
      # .backup takes a consistent copy of a database in use; a copied file would lack the write-ahead log.
      save = ''
        sqlite3 ${database} ".timeout 10000" ".backup '$target.part'"
        test "$(sqlite3 "$target.part" 'PRAGMA integrity_check')" = ok'';
    };
  };
}
