# Three servers with embedded etcd: the cluster outlives the loss of one, the Primer included.
{ inputs, pkgs }:
let
  lib' = import ./lib.nix { inherit inputs pkgs; };
  hosts = [
    (lib'.host 1 "primer" "primer" { })
    (lib'.host 2 "s1" "server" { })
    (lib'.host 3 "s2" "server" { })
  ];
  machine = facts: {
    imports = [
      (lib'.node hosts facts)
      (lib'.size 2560)
    ];
  };
in
pkgs.testers.runNixOSTest {
  name = "keystone-ha";
  nodes = {
    primer = machine (builtins.elemAt hosts 0);
    s1 = machine (builtins.elemAt hosts 1);
    s2 = machine (builtins.elemAt hosts 2);
  };
  globalTimeout = 600;
  testScript = builtins.readFile ./ha.py;
}
