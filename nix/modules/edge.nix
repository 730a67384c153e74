# A public machine in front of a cluster at home: it passes TLS connections through by their server name (SNI), over the
# mesh, to the cluster's gateways. It holds no certificate and sees no plain text. HAProxy, because nginx without its
# paid edition does not check backends by itself.
{ config, lib, ... }:
let
  cfg = config.keystone.edge;
  inherit (config.keystone) host network;
  isEdge = host.role == "edge";
  backend = name: b: "  server ${name} ${b.address}:${toString b.port} check inter 2s fall 3 rise 2${
    lib.optionalString b.backup " backup"
  }${lib.optionalString cfg.sendProxy " send-proxy-v2"}";
  exact = lib.filter (n: !lib.hasPrefix "*." n) cfg.serverNames;
  wild = map (lib.removePrefix "*") (lib.filter (lib.hasPrefix "*.") cfg.serverNames);
  acls =
    lib.optional (exact != [ ]) "  acl known req.ssl_sni -i ${lib.concatStringsSep " " exact}"
    ++ lib.optional (wild != [ ]) "  acl known req.ssl_sni -i -m end ${lib.concatStringsSep " " wild}";
in
{
  options.keystone.edge = {
    ports = lib.mkOption {
      type = lib.types.listOf lib.types.port;
      default = lib.optionals isEdge (lib.optional cfg.redirectHttp 80 ++ [ 443 ]);
      defaultText = lib.literalExpression "[ 80 443 ]";
      readOnly = true;
      description = "Public ports of the edge.";
    };
    redirectHttp = lib.mkOption {
      type = lib.types.bool;
      default = true;
      example = false;
      description = "Whether port 80 answers with a redirect to https.";
    };
    serverNames = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [ ];
      example = [
        "git.example.org"
        "*.apps.example.org"
      ];
      description = "Names that are passed on; every name when the list is empty.";
    };
    backends = lib.mkOption {
      type = lib.types.attrsOf (
        lib.types.submodule {
          options = {
            address = lib.mkOption {
              type = lib.types.str;
              example = "192.168.1.200";
              description = "Address of a gateway: of its LoadBalancer service or of a node, reached over the mesh.";
            };
            port = lib.mkOption {
              type = lib.types.port;
              default = 443;
              example = 8443;
              description = "Port of the gateway.";
            };
            backup = lib.mkOption {
              type = lib.types.bool;
              default = false;
              example = true;
              description = "Whether it is used only while no other backend answers.";
            };
          };
        }
      );
      default = lib.optionalAttrs (network.gatewayAddress != null) { gateway.address = network.gatewayAddress; };
      defaultText = lib.literalExpression "{ gateway.address = network.gatewayAddress; }";
      example = {
        home.address = "192.168.1.200";
        cloud = {
          address = "w9.mesh.home.arpa";
          backup = true;
        };
      };
      description = "The cluster's gateways, by name. Each is checked every two seconds.";
    };
    sendProxy = lib.mkOption {
      type = lib.types.bool;
      default = false;
      example = true;
      description = "Whether the gateway learns the client's address by the PROXY protocol; it must expect it.";
    };
  };

  config = lib.mkIf isEdge {
    assertions = [
      {
        assertion = cfg.backends != { };
        message = "${host.name}: keystone.edge.backends is empty, so the edge would refuse every connection. Give network.loadBalancer.pools an ingress pool, or name a gateway in nix/hosts/${config.keystone.stack}-${host.name}.nix.";
      }
      {
        assertion = cfg.backends != { } -> lib.any (b: !b.backup) (lib.attrValues cfg.backends);
        message = "${host.name}: keystone.edge.backends: every backend is a backup. Make one of them a first choice.";
      }
      {
        assertion = !(lib.elem host.ssh.port cfg.ports);
        message = "${host.name}: keystone.host.ssh.port ${toString host.ssh.port} is one of the edge's public ports. Give SSH another port.";
      }
    ];

    services.haproxy = {
      enable = true;
      config = ''
        global
          log stdout format raw local0 info
          maxconn 20000

        defaults
          mode tcp
          log global
          option tcplog
          option dontlognull
          timeout connect 5s
          timeout client 1h
          timeout server 1h
          # names in the mesh change their address when a host is installed again
          default-server init-addr last,libc,none resolvers mesh

        resolvers mesh
          parse-resolv-conf
          hold valid 10s

        frontend tls
          bind :443
          tcp-request inspect-delay 5s
      ''
      + lib.concatLines acls
      + ''
          tcp-request content accept if { req.ssl_hello_type 1 }${lib.optionalString (acls != [ ]) " known"}
          tcp-request content reject
          default_backend gateways

        backend gateways
          balance leastconn
          option tcp-check
          option redispatch
          retries 3
      ''
      + lib.concatLines (lib.mapAttrsToList backend cfg.backends)
      + lib.optionalString cfg.redirectHttp ''

        frontend plain
          mode http
          bind :80
          option httplog
          http-request redirect scheme https code 301
      '';
    };
    systemd.services.haproxy = {
      after = [ "tailscaled.service" ];
      wants = [ "tailscaled.service" ];
    };
    services.tailscale.useRoutingFeatures = lib.mkForce "client";
  };
}
