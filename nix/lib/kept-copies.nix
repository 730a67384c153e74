# What `systemd` needs to save something by a timer and to keep the newest copies. `save` are shell lines that write
# "$target.part" or fail; only a whole copy gets its name and makes an older one go.
{ pkgs }:
{
  name,
  description,
  folder,
  schedule,
  keep,
  prefix,
  suffix,
  save,
  packages,
  seconds,
  after ? [ ],
  unitConfig ? { },
}:
{
  tmpfiles.settings."10-${name}".${folder}.d = {
    mode = "0700";
    user = "root";
    group = "root";
  };
  services.${name} = {
    inherit description after unitConfig;
    path = packages ++ [ pkgs.findutils ];
    serviceConfig = {
      Type = "oneshot";
      UMask = "0077";
      TimeoutStartSec = seconds;
    };
    script = ''
      target=${folder}/${prefix}-$(date -u +%Y%m%dT%H%M%SZ).${suffix}
      ${save}
      mv "$target.part" "$target"
      find ${folder} -name '${prefix}-*.${suffix}' | sort -r | tail -n +${toString (keep + 1)} | xargs -r rm --
    '';
  };
  timers.${name} = {
    wantedBy = [ "timers.target" ];
    timerConfig = {
      OnCalendar = schedule;
      Persistent = true;
      RandomizedDelaySec = 60;
    };
  };
}
