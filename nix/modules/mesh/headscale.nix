# The mesh's controller and relay, a service of the Primer and never a pod: a mesh that needs the cluster cannot carry
# the cluster. The policy is in its database and belongs to the deployer.
{ config, lib, ... }:
let
  cfg = config.keystone.mesh.controller;
  inherit (config.keystone) derived host mesh;
  inherit (derived) secrets;
  secret = name: secrets.${name}.path or "/run/agenix/${name}";
  acme = config.security.acme.certs.${derived.meshHost};
  certificates = {
    private = {
      tls_cert_path = secret "mesh-tls.crt";
      tls_key_path = secret "mesh-tls-key";
    };
    acmeDns = {
      tls_cert_path = "${acme.directory}/fullchain.pem";
      tls_key_path = "${acme.directory}/key.pem";
    };
    file = {
      tls_cert_path = cfg.certificateFile;
      tls_key_path = cfg.keyFile;
    };
  };
in
{
  options.keystone.mesh.controller = {
    certificateFile = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = null;
      example = "/var/lib/mesh-tls/fullchain.pem";
      description = "Path on the Primer of the controller's certificate, where keystone.mesh.tls is file.";
    };
    keyFile = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = null;
      example = "/var/lib/mesh-tls/key.pem";
      description = "Path on the Primer of the certificate's key, where keystone.mesh.tls is file.";
    };
    acme = {
      email = lib.mkOption {
        type = lib.types.str;
        default = "";
        example = "ops@example.org";
        description = "Address for the authority's mail, where keystone.mesh.tls is acmeDns.";
      };
      dnsProvider = lib.mkOption {
        type = lib.types.str;
        default = "cloudflare";
        example = "hetzner";
        description = "DNS provider of the challenge, by its name in lego.";
      };
      credentialsFile = lib.mkOption {
        type = lib.types.nullOr lib.types.str;
        default = null;
        example = "/var/lib/secrets/acme-dns.env";
        description = "Path on the Primer of the provider's environment file.";
      };
    };
    nameservers = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [ "9.9.9.9" ];
      description = "DNS servers given to all mesh hosts beside their own; none by default.";
    };
  };

  config = lib.mkIf derived.isPrimer {
    assertions = [
      {
        assertion = lib.versionAtLeast config.services.headscale.package.version "0.28";
        message = "${host.name}: services.headscale.package: ${config.services.headscale.package.version} cannot mint a key for a tag alone. Take Headscale 0.28 or newer.";
      }
      {
        assertion = mesh.tls == "file" -> cfg.certificateFile != null && cfg.keyFile != null;
        message = "${host.name}: keystone.mesh.tls is file, but keystone.mesh.controller.certificateFile or keyFile is not set. Set both to paths on the Primer.";
      }
      {
        assertion = mesh.tls == "acmeDns" -> cfg.acme.email != "" && cfg.acme.credentialsFile != null;
        message = "${host.name}: keystone.mesh.tls is acmeDns, but keystone.mesh.controller.acme.email or credentialsFile is not set. Set both.";
      }
    ];

    services.headscale = {
      enable = true;
      address = "0.0.0.0";
      port = derived.meshPort;
      settings = certificates.${mesh.tls} // {
        server_url = mesh.serverUrl;
        noise.private_key_path = secret "headscale-noise-key";
        prefixes.v4 = mesh.prefix;
        metrics_listen_addr = "127.0.0.1:9090";
        grpc_listen_addr = "127.0.0.1:50443";
        disable_check_updates = true;
        logtail.enabled = false;
        policy.mode = "database";
        database = {
          type = "sqlite";
          sqlite.write_ahead_log = true;
        };
        derp = {
          # Without this list, Headscale loads the public relays at its start and fails without internet.
          urls = lib.optional mesh.derp.publicMap "https://controlplane.tailscale.com/derpmap/default";
          auto_update_enabled = mesh.derp.publicMap;
          server = {
            enabled = true;
            region_id = mesh.derp.regionId;
            region_code = "keystone";
            region_name = "Keystone ${host.site.name}";
            verify_clients = true;
            stun_listen_addr = "0.0.0.0:3478";
            private_key_path = secret "headscale-derp-key";
            automatically_add_embedded_derp_region = true;
          };
        };
        dns = {
          magic_dns = true;
          base_domain = mesh.domain;
          override_local_dns = false;
          nameservers.global = cfg.nameservers;
        };
        node.ephemeral.inactivity_timeout = "30m";
      };
    };
    systemd.services.headscale.serviceConfig = {
      # ports below 1024, where serverUrl names none
      AmbientCapabilities = lib.mkIf (derived.meshPort < 1024) [ "CAP_NET_BIND_SERVICE" ];
      CapabilityBoundingSet = lib.mkIf (derived.meshPort < 1024) [ "CAP_NET_BIND_SERVICE" ];
    };
    # The Primer's own client waits for its controller, not the other way round.
    systemd.services.tailscaled.after = [ "headscale.service" ];

    security.acme = lib.mkIf (mesh.tls == "acmeDns") {
      acceptTerms = true;
      defaults.email = cfg.acme.email;
      certs.${derived.meshHost} = {
        inherit (cfg.acme) dnsProvider;
        environmentFile = cfg.acme.credentialsFile;
        inherit (config.services.headscale) group;
        reloadServices = [ "headscale.service" ];
      };
    };
  };
}
