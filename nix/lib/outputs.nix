# The outputs of the flake: lists, no logic.
inputs:
let
  system = "x86_64-linux";
  inherit (inputs.nixpkgs) lib;
  pkgs = inputs.nixpkgs.legacyPackages.${system};
  hosts = import ./hosts.nix { inherit inputs; };
  images = import ../images { inherit inputs hosts; };
  test = file: import file { inherit inputs pkgs; };
  cluster = import ../microvm/cluster.nix { inherit inputs pkgs; };
in
{
  nixosConfigurations = hosts.configurations;

  nixosModules = {
    default.imports = hosts.modules;
    node.imports = [ ../modules/node.nix ];
  };

  # nix build ./nix#images.STACK.iso (ec2, qcow2)
  legacyPackages.${system} = {
    images = lib.mapAttrs (_: all: {
      iso = all.installer.config.system.build.isoImage;
      ec2 = all.ec2.config.system.build.poolImage;
      qcow2 = all.trial.config.system.build.qcow2;
    }) images;

    # nix build ./nix#tests.mesh: these boot machines, so they are no part of `nix flake check`
    tests = {
      guard = test ../tests/guard.nix;
      ha = test ../tests/ha.nix;
      install = test ../tests/install.nix;
      mesh = test ../tests/mesh.nix;
      tpm = test ../tests/tpm.nix;
    };

    # any machine has all options
    optionsDoc = import ./options-doc.nix {
      inherit lib;
      options = (lib.head (lib.attrValues hosts.configurations)).options.keystone;
    };
  };

  # nix run ./nix#cluster: the API on port 16443, the mesh's controller on port 18080
  apps.${system}.cluster = {
    type = "app";
    program = lib.getExe cluster.run;
  };

  # each machine evaluates, without building it
  checks.${system} = lib.mapAttrs (
    name: host:
    pkgs.writeText "evaluates-${name}" (builtins.unsafeDiscardStringContext host.config.system.build.toplevel.drvPath)
  ) hosts.configurations;

  formatter.${system} = pkgs.nixfmt-tree;
}
