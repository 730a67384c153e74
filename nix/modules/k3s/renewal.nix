# k3s renews its certificates, the kubelet's among them, only when it starts and less than 120 days are left. Machines
# that run for a year would lose theirs, so a timer restarts k3s in that window; pods keep running (KillMode=process).
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.keystone.k3s.certificateRenewal;
  inherit (config.keystone) derived;
in
{
  options.keystone.k3s.certificateRenewal = {
    days = lib.mkOption {
      type = lib.types.ints.between 1 119;
      default = 100;
      example = 60;
      description = "Renew when fewer days than this are left; k3s does nothing above 120.";
    };
    schedule = lib.mkOption {
      type = lib.types.str;
      default = "Sun 03:00";
      example = "Mon 04:30";
      description = "When to look, as systemd.time writes it.";
    };
  };

  config = lib.mkIf derived.isK3s {
    systemd.services.k3s-certificate-renewal = {
      description = "Restart k3s when its kubelet certificate is about to end";
      path = [ pkgs.openssl ];
      serviceConfig.Type = "oneshot";
      script = ''
        certificate=/var/lib/rancher/k3s/agent/client-kubelet.crt
        if [ -e "$certificate" ] && ! openssl x509 -noout -checkend ${toString (cfg.days * 86400)} -in "$certificate"; then
          systemctl restart k3s.service
        fi
      '';
    };
    systemd.timers.k3s-certificate-renewal = {
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnCalendar = cfg.schedule;
        # servers one after another, not all in the same minute
        RandomizedDelaySec = "3h";
        FixedRandomDelay = true;
        Persistent = true;
      };
    };
  };
}
