# The cluster's authorities and its service-account key, put in place before k3s' first start, so that the join token,
# the kubeconfig and the published issuer keys are known before the machine exists. Later changes are k3s' business
# (`k3s certificate rotate-ca`): a file that is there stays.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (config.keystone) derived;
  inherit (config.age) secretsDir;
  tls = "/var/lib/rancher/k3s/server/tls";
  names = lib.concatMap (name: [
    "${name}.crt"
    "${name}.key"
  ]) config.keystone.k3s.authorities ++ [ "service.key" ];
  place = name: ''
    place ${secretsDir}/${name} ${tls}/${lib.replaceStrings [ "--" ] [ "/" ] name}
  '';
in
{
  options.keystone.k3s.authorities = lib.mkOption {
    type = lib.types.listOf lib.types.str;
    default = [
      "client-ca"
      "server-ca"
      "request-header-ca"
      "etcd--peer-ca"
      "etcd--server-ca"
    ];
    readOnly = true;
    description = "The cluster's authorities; `--` stands for a folder below server/tls.";
  };

  config = lib.mkIf (derived.isK3s && derived.isPrimer) {
    systemd.services.keystone-cluster-identity = {
      description = "Put the cluster's authorities in place before k3s starts";
      requiredBy = [ "k3s.service" ];
      before = [ "k3s.service" ];
      path = [ pkgs.diffutils ];
      unitConfig.RequiresMountsFor = tls;
      serviceConfig = {
        Type = "oneshot";
        RemainAfterExit = true;
        UMask = "0077";
      };
      script = ''
        place() {
          if [ ! -e "$2" ]; then
            install -D -m 0600 "$1" "$2"
          elif ! cmp --silent "$1" "$2"; then
            echo "$2 differs from the settings' identity and stays; see docs/operations/recover.md" >&2
          fi
        }
        ${lib.concatMapStrings place names}
      '';
    };
  };
}
