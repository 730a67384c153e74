# Keys for cloud pools and pipelines: they come and go without the deployer, so a timer on the Primer mints reusable,
# ephemeral, tagged keys and puts each into its SSM parameter. AWS is reached with a short-lived token of a service account.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (config.keystone) host;
  cfg = host.pools;
  tokenFile = "/run/keystone/web-identity-token";
  headscale = lib.getExe config.services.headscale.package;
  mint = name: pool: ''
    # A put would make a parameter that is not there yet, and Pulumi, whose it is, would find its name taken.
    AWS_ROLE_ARN=${lib.escapeShellArg pool.roleArn} AWS_REGION=${pool.region} \
      aws ssm get-parameter --name ${lib.escapeShellArg pool.parameter} --query Parameter.Version >/dev/null
    key=$(${headscale} preauthkeys create --reusable --ephemeral --expiration ${toString pool.keyHours}h \
      --tags ${lib.escapeShellArg (lib.concatStringsSep "," pool.tags)} --output json | jq -er .key)
    # the key goes in by a file, never by an argument that other users can list
    jq -n --arg name ${lib.escapeShellArg pool.parameter} --arg key_id ${lib.escapeShellArg pool.keyId} --rawfile value <(printf %s "$key") \
      '{Name: $name, Value: $value, Type: "SecureString", KeyId: $key_id, Overwrite: true}' >"$RUNTIME_DIRECTORY/${name}.json"
    AWS_ROLE_ARN=${lib.escapeShellArg pool.roleArn} AWS_REGION=${pool.region} \
      aws ssm put-parameter --cli-input-json "file://$RUNTIME_DIRECTORY/${name}.json" >/dev/null
    rm "$RUNTIME_DIRECTORY/${name}.json"
    echo "pool ${name}: a new key is in ${pool.parameter}"
  '';
in
{
  config = lib.mkIf (cfg != { }) {
    assertions = [
      {
        assertion = config.keystone.cluster.issuerHost != null;
        message = "${host.name}: keystone.host.pools needs keystone.cluster.issuerHost: AWS trusts the cluster's tokens by it. Set the issuer in the settings.";
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
        # until the program has made role, account and parameters
        Restart = "on-failure";
        RestartSec = 60;
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
