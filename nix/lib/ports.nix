# The ports that a host opens, worked out from its role and the cluster's choices; pure builtins. Each list says from
# where: `anyone`, `nodes` (the site, the pods, the mesh) or `servers` (the other control-plane hosts).
# Sources: Cilium's, Calico's and MetalLB's system requirements, k3s' networking requirements, Headscale's requirements.
{
  role,
  cni,
  encryption,
  loadBalancer,
  sshPort,
  meshPort,
  edgePorts ? [ ],
  embeddedRegistry ? false,
}:
let
  only = condition: list: if condition then list else [ ];
  primer = role == "primer";
  server = primer || role == "server";
  node = role != "edge";
  encrypted = encryption == "wireguard";
  # speakers that cannot hear one another all answer for the same address
  speakers = only (node && loadBalancer == "metallb") [ 7946 ];
  cniPorts = {
    cilium = {
      tcp = [
        4240 # health checks between agents
        4244 # Hubble's relay asks every agent
      ];
      udp = [ 8472 ] ++ only encrypted [ 51871 ];
    };
    flannel = {
      tcp = [ ];
      udp = if encrypted then [ 51820 ] else [ 8472 ];
    };
    calico = {
      tcp = [ ];
      udp = [ 4789 ] ++ only encrypted [ 51820 ];
    };
  };
in
{
  anyone = {
    tcp = [ sshPort ] ++ only server [ 6443 ] ++ only primer [ meshPort ] ++ only (role == "edge") edgePorts;
    # 41641: direct paths of the mesh; 3478: STUN of the relay
    udp = only primer [ 3478 ] ++ [ 41641 ];
  };
  nodes = {
    # 5001: k3s' embedded registry mirror, where it is chosen
    tcp = only node ([ 10250 ] ++ only embeddedRegistry [ 5001 ] ++ cniPorts.${cni}.tcp) ++ speakers;
    udp = only node cniPorts.${cni}.udp ++ speakers;
  };
  servers = {
    tcp = only server [
      2379
      2380
    ];
    udp = [ ];
  };
}
