# The wired card of the site, by networkd. Cards are matched by MAC address: names change with slots and kernels.
{ config, lib, ... }:
let
  cfg = config.keystone.lan;
  inherit (config.keystone) cluster derived host;
  static = host.site.addressing == "static";
in
{
  options.keystone.lan = {
    mtu = lib.mkOption {
      type = lib.types.nullOr (lib.types.ints.between 1280 9216);
      default = null;
      example = 9000;
      description = "Largest packet on the site's network, in bytes; null keeps the card's own (1500).";
    };
    network = lib.mkOption {
      type = lib.types.attrsOf lib.types.anything;
      internal = true;
      readOnly = true;
      description = "The networkd network of the card, used by the initrd too.";
    };
  };

  config = {
    assertions = [
      {
        assertion = cluster.podCidr != cluster.serviceCidr;
        message = "${host.name}: keystone.cluster.podCidr and serviceCidr are both ${cluster.podCidr}. Give pods and services different ranges.";
      }
      {
        assertion = !host.remote || !derived.isServer;
        message = "${host.name}: keystone.host.remote is set on a ${host.role}, but etcd stays on one network. Only agents and edges may be remote.";
      }
    ];

    keystone.lan.network = {
      matchConfig.MACAddress = host.mac;
      address = lib.mkIf static [ "${host.address}/${derived.prefixLength}" ];
      routes = lib.mkIf static [ { Gateway = host.site.gateway; } ];
      dns = host.site.nameservers;
      networkConfig = {
        DHCP = if static then "no" else "ipv4";
        IPv6AcceptRA = false;
        LinkLocalAddressing = "ipv6";
      };
      # The initrd has another machine-id than the system: by an id made of it, a server that gave the initrd the reserved
      # address would keep it from the system.
      dhcpV4Config = lib.mkIf (!static) { ClientIdentifier = "mac"; };
      linkConfig = {
        RequiredForOnline = "routable";
      }
      // lib.optionalAttrs (cfg.mtu != null) { MTUBytes = toString cfg.mtu; };
    };

    networking = {
      useNetworkd = true;
      useDHCP = false;
      enableIPv6 = true;
    };
    systemd.network = {
      enable = true;
      networks."10-lan" = cfg.network;
      # The network plugin and the mesh add routes and rules of their own; networkd would remove them.
      config.networkConfig = {
        ManageForeignRoutes = false;
        ManageForeignRoutingPolicyRules = false;
      };
      wait-online = {
        anyInterface = true;
        timeout = 60;
      };
    };
    services.resolved.enable = true;
  };
}
