# Images of a stack: the installer, a pool's node for EC2, a machine to try.
{ inputs, hosts }:
let
  inherit (inputs.nixpkgs) lib;
  readKeys =
    stack:
    let
      file = ../secrets + "/${stack}/operator.pub";
    in
    hosts.stacks.${stack}.cluster.cluster.authorizedKeys
    ++ lib.optional (builtins.pathExists file) (lib.removeSuffix "\n" (builtins.readFile file));

  # Facts of a machine that is nobody in particular.
  anyone =
    stack: role: more:
    let
      all = hosts.stacks.${stack};
    in
    hosts.module {
      inherit stack;
      inherit (all) cluster;
      host = {
        schemaVersion = 1;
        name = "node";
        inherit role;
        remote = true;
        address = "127.0.0.1";
        mac = "02:00:00:00:00:01";
        site = {
          name = "cloud";
          cidr = "127.0.0.0/8";
          gateway = "127.0.0.1";
          nameservers = [ "169.254.169.253" ]; # of each VPC
          addressing = "dhcp-reservation";
        };
        ssh = {
          port = 22;
          initrdPort = 2223;
          user = "root";
        };
        disk = "/dev/disk/by-id/none";
        diskGuid = "00000000-0000-0000-0000-000000000000";
        osdDisks = [ ];
        hostId = "00000000";
        installGeneration = 1;
        layout = "ext4-luks";
        unlock = "remote";
        meshName = "node.${all.cluster.mesh.domain}";
        meshRoutes = [ ];
        zone = "cloud";
        labels = { };
        taints = [ ];
        pools = { };
      }
      // more;
    };
  node = [
    inputs.agenix.nixosModules.default
    ../modules/node.nix
    # declared by secrets.nix, which images do without: they hold none
    { options.keystone.secrets.folder = lib.mkOption { type = lib.types.path; internal = true; }; }
  ];
  system = modules: lib.nixosSystem { inherit modules; };
in
lib.mapAttrs (stack: _: {
  installer = system [
    (import ./installer.nix {
      authorizedKeys = readKeys stack;
      # It may boot on any host of the stack, and is looked for on the port of that host.
      sshPorts = lib.unique ([ 22 ] ++ map (host: host.ssh.port) (lib.attrValues hosts.stacks.${stack}.hosts));
    })
    { nixpkgs.hostPlatform = "x86_64-linux"; }
  ];
  ec2 = system (
    node
    ++ [
      "${inputs.nixpkgs}/nixos/modules/virtualisation/amazon-image.nix"
      (anyone stack "agent" { })
      ./pool-node.nix
    ]
  );
  trial = system (
    node
    ++ [
      (anyone stack "agent" { remote = false; })
      ./trial.nix
    ]
  );
}) hosts.stacks
