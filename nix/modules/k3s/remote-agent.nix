# An agent outside the servers' network: its node address is the mesh's, which the controller assigns at joining. So k3s
# is not wanted by the boot; a unit waits for the address and starts it. Installing and switching succeed before that.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (config.keystone) derived;
  tailscale = lib.getExe config.services.tailscale.package;
  dropIn = "/etc/rancher/k3s/config.yaml.d/50-mesh-address.yaml";
in
{
  config = lib.mkIf (derived.isK3s && derived.isRemote) {
    systemd.services.k3s = {
      wantedBy = lib.mkForce [ ];
      unitConfig.ConditionPathExists = dropIn;
    };
    systemd.services.keystone-mesh-address = {
      description = "Wait for the mesh address, then start k3s with it";
      wantedBy = [ "multi-user.target" ];
      after = [ "tailscaled.service" ];
      wants = [ "tailscaled.service" ];
      path = [ pkgs.coreutils ];
      serviceConfig = {
        # exec: waiting for a join must not hold up the boot or a switch
        Type = "exec";
        Restart = "on-failure";
        RestartSec = 10;
      };
      script = ''
        until address=$(${tailscale} ip -4 2>/dev/null) && [ -n "$address" ]; do
          sleep 2
        done
        # the servers' range is behind a route of the mesh
        systemctl start keystone-mesh-settings.service
        mkdir -p ${dirOf dropIn}
        wanted=$(printf 'node-ip: %s\n' "$address")
        if [ "$wanted" != "$(cat ${dropIn} 2>/dev/null)" ]; then
          printf '%s\n' "$wanted" >${dropIn}.new
          mv ${dropIn}.new ${dropIn}
          systemctl --no-block restart k3s.service
        else
          systemctl --no-block start k3s.service
        fi
      '';
    };
  };
}
