# The machine's end of the mesh. Joining is the deployer's business (the key comes by standard input); this module
# runs the daemon and, once it is Running, announces routes.
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
    waitSeconds = lib.mkOption {
      type = lib.types.ints.positive;
      default = 86400;
      example = 3600;
      description = "How long the settings wait for the machine to be joined, in seconds.";
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
    security.pki.certificateFiles = lib.optional (
      mesh.tls == "private" && cfg.authorityFile != null
    ) cfg.authorityFile;

    systemd.services.keystone-mesh-settings = {
      description = "Announce this host's routes once it is in the mesh";
      wantedBy = [ "multi-user.target" ];
      after = [ "tailscaled.service" ];
      wants = [ "tailscaled.service" ];
      path = [ pkgs.jq ];
      serviceConfig = {
        # exec: a machine that has not joined yet must not hold up the boot or a switch
        Type = "exec";
        Restart = "on-failure";
        RestartSec = 30;
      };
      script = ''
        deadline=$((SECONDS + ${toString cfg.waitSeconds}))
        state=unknown
        until [ "$state" = Running ]; do
          if [ "$SECONDS" -ge "$deadline" ]; then
            echo "not joined after ${toString cfg.waitSeconds} s; last state: $state" >&2
            exit 1
          fi
          sleep 2
          state=$(${tailscale} status --json --peers=false | jq -r .BackendState) || state=unreachable
        done
        exec ${tailscale} set ${lib.escapeShellArgs settings}
      '';
    };
  };
}
