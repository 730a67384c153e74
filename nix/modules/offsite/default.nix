# Copies off the site of what a server alone holds: etcd's snapshots, the mesh's database, whole ZFS snapshots. Each is
# encrypted here, for a key that no machine has, and sent to the stack's bucket with a short-lived token of the service
# account backup/hosts. What is copied, and the way back: docs/operations/restore.md.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.keystone.offsite;
  inherit (config.keystone) derived disk host;
  facts = host.offsite;
  hasZfs = host.layout == "zfs-luks" && facts.datasets != [ ];
  copy = lib.getExe (
    pkgs.writeShellApplication {
      name = "offsite-copy";
      runtimeInputs = [
        pkgs.age
        pkgs.coreutils
        pkgs.gnugrep
        pkgs.rclone
      ]
      ++ lib.optional hasZfs config.boot.zfs.package;
      text = builtins.readFile ./copy.sh;
    }
  );
  # One copy that fails does not keep the others back; the unit fails in the end, and the journal says which.
  each = lines: ''
    failed=0
    ${lib.concatMapStringsSep "\n" (line: "${copy} ${line} || failed=1") lines}
    exit "$failed"
  '';
  service = name: hours: lines: {
    description = "Copy off the site: ${name}";
    after = [
      "network-online.target"
      "k3s.service"
    ];
    wants = [ "network-online.target" ];
    path = [ "/run/current-system/sw" ];
    environment = {
      BUCKET = facts.bucket;
      PREFIX = "hosts/${host.name}";
      RECIPIENTS = "${cfg.recipientFile}";
      AWS_ROLE_ARN = facts.roleArn;
      AWS_ROLE_SESSION_NAME = "keystone-${host.name}";
      AWS_WEB_IDENTITY_TOKEN_FILE = "/run/${name}/token";
      AWS_REGION = facts.region;
      HOME = "/run/${name}";
    }
    // facts.rclone;
    serviceConfig = {
      Type = "oneshot";
      RuntimeDirectory = name;
      RuntimeDirectoryMode = "0700";
      UMask = "0077";
      TimeoutStartSec = hours * 3600;
      Nice = 10;
      IOSchedulingClass = "idle";
      PrivateTmp = true;
      NoNewPrivileges = true;
    };
    script = ''
      kubectl --namespace backup create token hosts --audience sts.amazonaws.com --duration ${toString hours}h >"$AWS_WEB_IDENTITY_TOKEN_FILE"
      ${each lines}
    '';
  };
  timer = calendar: {
    wantedBy = [ "timers.target" ];
    timerConfig = {
      OnCalendar = calendar;
      Persistent = true;
      RandomizedDelaySec = 600;
    };
  };
  etcd = if derived.isK3s then "/var/lib/rancher/k3s/server/db/snapshots" else config.keystone.kubeadm.etcdBackup.folder;
in
{
  options.keystone.offsite.recipientFile = lib.mkOption {
    type = lib.types.nullOr lib.types.path;
    default = null;
    example = lib.literalExpression "./secrets/home/backup.pub";
    description = "Public half of the key that copies are encrypted for; `keystone facts` writes it.";
  };

  config = lib.mkIf (facts != null) {
    assertions = [
      {
        assertion = cfg.recipientFile != null;
        message = "${host.name}: keystone.offsite.recipientFile is missing, and copies must be encrypted. Run `keystone facts`, which writes backup.pub.";
      }
    ];

    systemd.services = {
      offsite-backup = service "offsite-backup" 1 (
        [ "files ${etcd} 'etcd-snapshot-*' etcd" ]
        ++ lib.optional derived.isPrimer "files ${config.keystone.mesh.backup.folder} 'db-*.sqlite' headscale"
      );
    }
    // lib.optionalAttrs hasZfs {
      offsite-zfs = service "offsite-zfs" 12 (map (d: "dataset ${disk.zfs.pool}/${d} zfs/${d}") facts.datasets);
    };
    systemd.timers = {
      offsite-backup = timer "*-*-* 0/${toString facts.everyHours}:20:00";
    }
    // lib.optionalAttrs hasZfs {
      offsite-zfs = timer (if facts.zfsDays == 7 then "Sun *-*-* 03:40:00" else "*-*-* 03:40:00");
    };
  };
}
