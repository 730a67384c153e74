# Facts of every stack -> nixosConfigurations named STACK-HOST. What the facts do not say may stand in
# hosts/STACK.nix (all machines of a stack) and hosts/STACK-HOST.nix (one machine).
{
  inputs,
  root ? ./..,
}:
let
  inherit (inputs.nixpkgs) lib;
  facts = import ./facts.nix;

  # Paths below the flake's root, or nothing.
  present = path: lib.optional (builtins.pathExists path) path;
  orNull = path: if builtins.pathExists path then path else null;

  module =
    {
      stack,
      cluster,
      host,
    }:
    let
      secrets = root + "/secrets/${stack}";
    in
    {
      imports = present (root + "/hosts/${stack}.nix") ++ present (root + "/hosts/${stack}-${host.name}.nix");
      keystone = builtins.removeAttrs cluster [ "schemaVersion" ] // {
        host = builtins.removeAttrs host [ "schemaVersion" ];
        secrets.folder = secrets + "/${host.name}";
        offsite.recipientFile = lib.mkDefault (orNull (secrets + "/backup.pub"));
        base.operatorKeyFile = lib.mkDefault (orNull (secrets + "/operator.pub"));
        mesh = cluster.mesh // {
          client.authorityFile = orNull (secrets + "/mesh-ca.crt");
        };
      };
      nixpkgs.hostPlatform = lib.mkDefault "x86_64-linux";
    };

  modules = [
    inputs.disko.nixosModules.disko
    inputs.lanzaboote.nixosModules.lanzaboote
    inputs.agenix.nixosModules.default
    ../modules
  ];

  folder = root + "/facts";
  names =
    if builtins.pathExists folder then
      lib.attrNames (lib.filterAttrs (_: type: type == "directory") (builtins.readDir folder))
    else
      [ ];
  stacks = lib.genAttrs names (stack: facts.stack (folder + "/${stack}"));
  system =
    stack: cluster: name: host:
    lib.nameValuePair "${stack}-${name}" (
      lib.nixosSystem {
        modules = modules ++ [ (module { inherit stack cluster host; }) ];
      }
    );
in
{
  inherit module modules stacks;
  configurations = lib.concatMapAttrs (stack: all: lib.mapAttrs' (system stack all.cluster) all.hosts) stacks;
}
