# The Primer and three workers with the firewall on: mesh, names, relay, denial, nodes and a pod.
{ inputs, pkgs }:
let
  lib' = import ./lib.nix { inherit inputs pkgs; };
  hosts = [
    (lib'.host 1 "primer" "primer" { })
    (lib'.host 2 "w1" "agent" { })
    (lib'.host 3 "w2" "agent" { })
    # this one knows the servers by the mesh alone
    (lib'.host 4 "w3" "agent" { remote = true; })
  ];
  machine = facts: memory: {
    imports = [
      (lib'.node hosts facts)
      (lib'.size memory)
    ];
  };
in
pkgs.testers.runNixOSTest {
  name = "keystone-mesh";
  nodes = {
    primer = machine (builtins.elemAt hosts 0) 3072;
    w1 = machine (builtins.elemAt hosts 1) 1536;
    w2 = machine (builtins.elemAt hosts 2) 1536;
    w3 = machine (builtins.elemAt hosts 3) 1536;
  };
  globalTimeout = 300;
  testScript = builtins.readFile ./mesh.py;
}
