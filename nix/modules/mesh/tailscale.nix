# The machine's end of the mesh. Joining is the deployer's business (the key comes by standard input); this module runs
# the daemon and, while it is Running, keeps its routes announced.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.keystone.mesh.client;
  inherit (config.keystone) derived host mesh;
  tailscale = lib.getExe config.services.tailscale.package;
  settings = [
    "--accept-dns=true"
    # Only hosts without a leg in the site take its ranges from the mesh: others would send local traffic around.
    "--accept-routes=${lib.boolToString (host.remote || host.role == "edge")}"
    "--advertise-routes=${lib.concatStringsSep "," host.meshRoutes}"
  ];
in
{
  options.keystone.mesh.client = {
    authorityFile = lib.mkOption {
      type = lib.types.nullOr lib.types.path;
      default = null;
      example = lib.literalExpression "./secrets/dev/mesh-ca.crt";
      description = "Certificate of the mesh's private authority, where keystone.mesh.tls is private.";
    };
  };

  config = {
    assertions = [
      {
        assertion = mesh.tls == "private" -> cfg.authorityFile != null;
        message = "${host.name}: keystone.mesh.client.authorityFile is missing, but keystone.mesh.tls is private. Run `keystone facts`, which writes mesh-ca.crt.";
      }
      {
        assertion = !(lib.hasSuffix ".${mesh.domain}" ".${derived.meshHost}");
        message = "${host.name}: keystone.mesh.serverUrl: ${derived.meshHost} lies inside keystone.mesh.domain ${mesh.domain}, which Headscale refuses. Give one of them another domain.";
      }
    ];

    services.tailscale = {
      enable = true;
      port = 41641;
      openFirewall = false; # firewall.nix is the one place that opens ports
      useRoutingFeatures = if host.meshRoutes != [ ] then "both" else "client";
      disableUpstreamLogging = true;
    };
    systemd.services.tailscaled.unitConfig.ConditionPathExists = [ "!/var/lib/keystone/removed" ];
    # its rules go where the firewall's are
    systemd.services.tailscaled.environment.TS_DEBUG_FIREWALL_MODE = "nftables";
    security.pki.certificateFiles = lib.optional (
      mesh.tls == "private" && cfg.authorityFile != null
    ) cfg.authorityFile;

    # Joining resets what is not given there, so the settings are put back every minute; equal ones change nothing.
    systemd.services.keystone-mesh-settings = {
      description = "Routes and names of this host in the mesh";
      after = [ "tailscaled.service" ];
      path = [ pkgs.jq ];
      serviceConfig = {
        Type = "oneshot";
        TimeoutStartSec = 60;
      };
      script = ''
        state=$(${tailscale} status --json --peers=false | jq -r .BackendState) || state=unreachable
        if [ "$state" = Running ]; then
          ${tailscale} set ${lib.escapeShellArgs settings}
        fi
      '';
    };
    systemd.timers.keystone-mesh-settings = {
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnBootSec = 20;
        OnUnitInactiveSec = 60;
        AccuracySec = 5;
      };
    };
  };
}
