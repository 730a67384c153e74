# Snapshots of host data by sanoid, and a hook that takes them off the site. Cluster volumes are Ceph's and the backup
# tools' business; this is what a host alone holds: its system, etcd, Headscale.
{ config, lib, ... }:
let
  cfg = config.keystone.snapshots;
  inherit (config.keystone) derived disk host;
  inherit (disk.zfs) pool;
  datasets = [
    "root"
    "log"
  ]
  ++ lib.optional derived.isServer "etcd"
  ++ lib.optional derived.isPrimer "headscale";
  count =
    default: what:
    lib.mkOption {
      type = lib.types.ints.unsigned;
      inherit default;
      example = 2 * default;
      description = "How many ${what} snapshots stay.";
    };
in
{
  options.keystone.snapshots = {
    enable = lib.mkOption {
      type = lib.types.bool;
      default = host.layout == "zfs-luks";
      defaultText = lib.literalExpression ''host.layout == "zfs-luks"'';
      example = false;
      description = "Whether host data is snapshotted.";
    };
    keep = {
      hourly = count 24 "hourly";
      daily = count 7 "daily";
      monthly = count 3 "monthly";
    };
    offsite = {
      target = lib.mkOption {
        type = lib.types.nullOr lib.types.str;
        default = null;
        example = "backup@nas.example.org:tank/keystone";
        description = "Where syncoid sends the snapshots, HOST:DATASET over SSH; null sends nothing.";
      };
      keyFile = lib.mkOption {
        type = lib.types.str;
        default = "/etc/ssh/ssh_host_ed25519_key";
        example = "/etc/ssh/backup_key";
        description = "Key that opens the target; the host's own by default, so that no other has to travel.";
      };
      schedule = lib.mkOption {
        type = lib.types.str;
        default = "daily";
        example = "hourly";
        description = "When to send, as systemd.time writes it.";
      };
      hook = lib.mkOption {
        type = lib.types.nullOr lib.types.path;
        default = null;
        example = lib.literalExpression "./notify-backup";
        description = "Program that runs after each job with the dataset and the result (success, exit-code ...).";
      };
    };
  };

  config = lib.mkIf cfg.enable {
    services.sanoid = {
      enable = true;
      templates.host = {
        inherit (cfg.keep) hourly daily monthly;
        yearly = 0;
        autosnap = true;
        autoprune = true;
      };
      datasets = lib.listToAttrs (map (d: lib.nameValuePair "${pool}/${d}" { useTemplate = [ "host" ]; }) datasets);
    };
    services.syncoid = lib.mkIf (cfg.offsite.target != null) {
      enable = true;
      interval = cfg.offsite.schedule;
      sshKey = cfg.offsite.keyFile;
      commonArgs = [ "--no-sync-snap" ]; # sanoid's snapshots are the ones to keep
      commands = lib.listToAttrs (
        map (d: lib.nameValuePair "${pool}/${d}" { target = "${cfg.offsite.target}/${host.name}/${d}"; }) datasets
      );
      # plain attributes, which know no mkIf
      service = lib.optionalAttrs (cfg.offsite.hook != null) {
        serviceConfig.ExecStopPost = "${cfg.offsite.hook} %N $SERVICE_RESULT";
      };
    };
  };
}
