# Keys for cloud pools: nodes come and go without the deployer, so a timer on the Primer mints a reusable, ephemeral,
# tagged key and puts it into the pool's SSM parameter. AWS is reached with a short-lived token of a service account.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.keystone.pools;
  inherit (config.keystone) derived host;
  tokenFile = "/run/keystone/web-identity-token";
  headscale = lib.getExe config.services.headscale.package;
  mint = name: pool: ''
    key=$(${headscale} preauthkeys create --reusable --ephemeral --expiration ${toString pool.keyHours}h \
      --tags ${lib.escapeShellArg (lib.concatStringsSep "," pool.tags)} --output json | jq -er .key)
    # the key goes in by a file, never by an argument that other users can list
    jq -n --arg name ${lib.escapeShellArg pool.parameter} --rawfile value <(printf %s "$key") \
      '{Name: $name, Value: $value, Type: "SecureString", Overwrite: true}' >"$RUNTIME_DIRECTORY/${name}.json"
    AWS_ROLE_ARN=${lib.escapeShellArg pool.roleArn} AWS_REGION=${pool.region} \
      aws ssm put-parameter --cli-input-json "file://$RUNTIME_DIRECTORY/${name}.json" >/dev/null
    rm "$RUNTIME_DIRECTORY/${name}.json"
    echo "pool ${name}: a new key is in ${pool.parameter}"
  '';
in
{
  options.keystone.pools = lib.mkOption {
    type = lib.types.attrsOf (
      lib.types.submodule {
        options = {
          region = lib.mkOption {
            type = lib.types.str;
            example = "eu-central-1";
            description = "AWS region of the parameter.";
          };
          parameter = lib.mkOption {
            type = lib.types.strMatching "/[A-Za-z0-9_./-]+";
            example = "/keystone/home/pools/spot/mesh-key";
            description = "Name of the SSM parameter; Pulumi makes it, this unit fills it.";
          };
          roleArn = lib.mkOption {
            type = lib.types.strMatching "arn:aws[a-z-]*:iam::[0-9]{12}:role/.+";
            example = "arn:aws:iam::123456789012:role/keystone-home-pool-keys";
            description = "Role that may write the parameter; it trusts the service account below.";
          };
          tags = lib.mkOption {
            type = lib.types.nonEmptyListOf (lib.types.strMatching "tag:[a-z0-9-]+");
            default = [ "tag:agent" ];
            example = [ "tag:pool" ];
            description = "Tags of the pool's nodes in the mesh.";
          };
          keyHours = lib.mkOption {
            type = lib.types.ints.between 13 168;
            default = 24;
            example = 48;
            description = "How long a key is valid, in hours; a new one is made every twelve.";
          };
        };
      }
    );
    default = { };
    example = {
      spot = {
        region = "eu-central-1";
        parameter = "/keystone/home/pools/spot/mesh-key";
        roleArn = "arn:aws:iam::123456789012:role/keystone-home-pool-keys";
      };
    };
    description = "Cloud pools whose mesh keys this Primer mints.";
  };

  config = lib.mkIf (cfg != { }) {
    assertions = [
      {
        assertion = derived.isPrimer;
        message = "${host.name}: keystone.pools is set on a ${host.role}, but only the Primer can mint keys. Move it to the Primer's host file.";
      }
      {
        assertion = config.keystone.cluster.issuerHost != null;
        message = "${host.name}: keystone.pools needs keystone.cluster.issuerHost: AWS trusts the cluster's tokens by it. Set the issuer in the settings.";
      }
    ];

    systemd.services.keystone-pool-keys = {
      description = "Mint mesh keys for the cloud pools";
      after = [
        "headscale.service"
        "k3s.service"
        "network-online.target"
      ];
      wants = [ "network-online.target" ];
      path = [
        pkgs.awscli2
        pkgs.jq
        "/run/current-system/sw"
      ];
      environment = {
        AWS_WEB_IDENTITY_TOKEN_FILE = tokenFile;
        AWS_ROLE_SESSION_NAME = "keystone-${host.name}";
      };
      serviceConfig = {
        Type = "oneshot";
        RuntimeDirectory = "keystone-pool-keys";
        RuntimeDirectoryMode = "0700";
        UMask = "0077";
        TimeoutStartSec = 600;
      };
      script = ''
        mkdir -p ${dirOf tokenFile}
        kubectl --namespace keystone-system create token pool-keys --audience sts.amazonaws.com --duration 1h >${tokenFile}.new
        mv ${tokenFile}.new ${tokenFile}
        ${lib.concatLines (lib.mapAttrsToList mint cfg)}
      '';
    };
    systemd.timers.keystone-pool-keys = {
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnBootSec = "5min";
        OnUnitActiveSec = "12h";
      };
    };
  };
}
