# The firewall: nothing is open but what lib/ports.nix works out.
{ config, lib, ... }:
let
  cfg = config.keystone.firewall;
  inherit (config.keystone)
    cluster
    derived
    edge
    host
    network
    ;
  list = values: lib.concatMapStringsSep ", " toString (lib.sort (a: b: a < b) (lib.unique values));
  allow =
    what: protocol: ports:
    lib.optional (ports != [ ]) "${what} ${protocol} dport { ${list ports} } accept";
  peers = lib.remove host.address (map (s: s.address) cluster.servers);
  from = addresses: "ip saddr { ${lib.concatStringsSep ", " addresses} }";
  mesh = ''iifname "${config.services.tailscale.interfaceName}"'';
  site = from ([ cluster.podCidr ] ++ lib.optional (!derived.isRemote) host.site.cidr);
  # What Cilium hands to its proxy on this machine (the gateway, rules about HTTP and DNS) carries this mark and the
  # port that was asked for. Cilium accepts it in iptables, which another table's drop overrules.
  toProxy = lib.optionalString (
    derived.isNode && network.cni == "cilium"
  ) "meta mark & 0x00000f00 == 0x00000200 accept\n";
in
{
  options.keystone.firewall.ports = lib.mkOption {
    type = lib.types.attrsOf (lib.types.attrsOf (lib.types.listOf lib.types.port));
    readOnly = true;
    description = "The open ports by source (anyone, nodes, servers) and protocol, worked out from role and choices.";
  };

  config = {
    assertions = [
      {
        assertion = derived.isPrimer -> !(lib.elem derived.meshPort [ host.ssh.port ] || (derived.meshPort == derived.apiPort));
        message = "${host.name}: keystone.mesh.serverUrl: port ${toString derived.meshPort} is taken by SSH or the Kubernetes API. Give the mesh's controller another port.";
      }
    ];

    keystone.firewall.ports = import ../lib/ports.nix {
      inherit (host) role;
      inherit (network) cni encryption loadBalancer;
      sshPort = host.ssh.port;
      inherit (derived) meshPort;
      edgePorts = edge.ports;
      inherit (config.keystone.k3s) embeddedRegistry;
    };

    networking.nftables = {
      enable = true;
      # Kubernetes and the network plugin keep their own tables; a flush would cut every pod off.
      flushRuleset = false;
    };
    # tailscaled makes the kernel look at marks when it checks sources (src_valid_mark), and by the mark of Cilium's proxy
    # each source looks like an address of this machine.
    boot.kernel.sysctl."net.ipv4.conf.all.accept_local" = lib.mkIf (toProxy != "") 1;
    networking.firewall = {
      enable = true;
      allowedTCPPorts = cfg.ports.anyone.tcp;
      allowedUDPPorts = cfg.ports.anyone.udp;
      # Replies of pods and mesh peers come back another way than the strict check expects.
      checkReversePath = "loose";
      # The mark leads to a local route, which the check takes for a forged source.
      extraReversePathFilterRules = toProxy;
      logRefusedConnections = false;
      extraInputRules = toProxy + lib.concatLines (
        allow site "tcp" cfg.ports.nodes.tcp
        ++ allow site "udp" cfg.ports.nodes.udp
        ++ allow mesh "tcp" cfg.ports.nodes.tcp
        ++ allow mesh "udp" cfg.ports.nodes.udp
        ++ lib.optionals (peers != [ ]) (allow (from peers) "tcp" cfg.ports.servers.tcp)
      );
    };
  };
}
