# The outputs of the flake: lists, no logic.
inputs:
let
  hosts = import ./hosts.nix { inherit inputs; };
in
{
  nixosConfigurations = hosts.configurations;
  nixosModules.default = {
    imports = hosts.modules;
  };
}
