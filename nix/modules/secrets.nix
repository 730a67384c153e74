# The host's secrets: age files that only its own SSH host key opens. Nix never sees a plain text.
{ config, lib, ... }:
let
  cfg = config.keystone.secrets;
  inherit (config.keystone)
    derived
    host
    mesh
    stack
    ;
  cas = lib.concatMap (name: [
    "${name}.crt"
    "${name}.key"
  ]) config.keystone.k3s.authorities;
  missing = lib.filter (name: !builtins.pathExists (cfg.folder + "/${name}.age")) cfg.names;
  absent = lib.concatMapStringsSep ", " (name: "${name}.age") missing;
  owned = lib.optionalAttrs derived.isPrimer (
    lib.genAttrs
      [
        "headscale-noise-key"
        "headscale-derp-key"
        "mesh-tls.crt"
        "mesh-tls-key"
      ]
      (_: {
        owner = config.services.headscale.user;
        group = config.services.headscale.group;
      })
  );
in
{
  options.keystone.secrets = {
    folder = lib.mkOption {
      type = lib.types.path;
      example = lib.literalExpression "./secrets/dev/w1";
      description = "Folder with the host's age files, NAME.age; `keystone facts` writes them.";
    };
    names = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      readOnly = true;
      description = "Names of the secrets that the host's role needs.";
    };
  };

  config = {
    assertions = [
      {
        assertion = missing == [ ];
        message = "${host.name}: keystone.secrets.folder lacks ${absent}. Run `keystone facts`, which writes nix/secrets/${stack}/${host.name}.";
      }
    ];

    keystone.secrets.names =
      lib.optionals derived.isServer [ "server-token" ]
      ++ lib.optionals derived.isNode [ "agent-token" ]
      ++ lib.optionals derived.isPrimer (
        cas
        ++ [
          "service.key"
          "headscale-noise-key"
          "headscale-derp-key"
        ]
        ++ lib.optionals (mesh.tls == "private") [
          "mesh-tls.crt"
          "mesh-tls-key"
        ]
      );

    age.secrets = lib.mkIf (missing == [ ]) (
      lib.genAttrs cfg.names (name: { file = cfg.folder + "/${name}.age"; } // (owned.${name} or { }))
    );
    age.identityPaths = [ "/etc/ssh/ssh_host_ed25519_key" ];
  };
}
