# The deployer's guard against a real machine: adopted when it is what the stack file says, refused when the stack file
# asks for another generation without the confirmation.
{ inputs, pkgs }:
let
  inherit (pkgs) lib;
  lib' = import ./lib.nix { inherit inputs pkgs; };
  facts = lib'.host 2 "target" "primer" { };
  repository = inputs.self.sourceInfo.outPath;
  source =
    if builtins.pathExists (repository + "/keystone/hosts") then
      pkgs.runCommand "keystone-source" { } ''
        mkdir "$out"
        cp -r ${repository + "/keystone"} "$out/keystone"
      ''
    else
      throw "tests.guard needs the program beside nix/: build it from the repository with '.?dir=nix#tests.guard'";
  python = pkgs.python3.withPackages (p: [
    p.asyncssh
    p.cryptography
    p.httpx
    p.psutil
    p.pydantic
    p.pyrage
    p.pyyaml
    p.rich
    p.structlog
    p.typer
  ]);
  stack =
    generation:
    builtins.toJSON {
      config = {
        "keystone:cluster" = {
          name = "vm";
          domain = "example.test";
          api = {
            endpoint = "https://192.168.1.2:6443";
            sans = [ "192.168.1.2" ];
          };
        };
        "keystone:sites".lan = {
          cidr = "192.168.1.0/24";
          gateway = "192.168.1.254";
          nameservers = [ "192.168.1.254" ];
        };
        "keystone:hosts".target = {
          role = "primer";
          site = "lan";
          inherit (facts) address mac disk;
          diskSerial = "target";
          installGeneration = generation;
        };
        "keystone:mesh" = {
          serverUrl = "https://192.168.1.2:8443";
          domain = "mesh.internal";
        };
      };
    };
in
pkgs.testers.runNixOSTest {
  name = "keystone-guard";
  nodes = {
    deployer = {
      environment.systemPackages = [
        python
        pkgs.openssh
      ];
      environment.etc = {
        "keystone-test/Pulumi.one.yaml".text = stack 1;
        "keystone-test/Pulumi.two.yaml".text = stack 2;
        "keystone-test/keystone".source = "${source}/keystone";
      };
    };
    target = {
      services.openssh = {
        enable = true;
        hostKeys = lib.mkForce [
          {
            path = "/etc/ssh/ssh_host_ed25519_key";
            type = "ed25519";
          }
        ];
      };
    };
  };
  globalTimeout = 300;
  testScript = builtins.readFile ./guard.py;
}
