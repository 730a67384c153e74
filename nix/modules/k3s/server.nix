# k3s on the Primer and the other servers: embedded etcd from the first start, the API server's arguments.
{ config, lib, ... }:
let
  cfg = config.keystone.k3s.server;
  inherit (config.keystone)
    cluster
    cni
    derived
    host
    kubernetes
    network
    ;
  issuer = "https://${cluster.issuerHost}";
  # k3s' own default; tokens made before an issuer was set carry it.
  internal = "https://kubernetes.default.svc.${cluster.clusterDomain}";
  names = lib.unique (
    cluster.api.sans
    ++ [ derived.endpointHost ]
    ++ lib.concatMap (s: [
      s.name
      s.address
      s.meshName
    ]) cluster.servers
  );
  flannelBackend =
    if network.cni != "flannel" then
      "none"
    else if network.encryption == "wireguard" then
      "wireguard-native"
    else
      "vxlan";
in
{
  options.keystone.k3s.server = {
    disable = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = [
        "local-storage"
        "servicelb"
        "traefik"
      ];
      example = [
        "local-storage"
        "metrics-server"
        "servicelb"
        "traefik"
      ];
      description = "k3s' packaged components that stay out: storage, load balancer and gateway are chosen in the settings.";
    };
    rejoin = lib.mkOption {
      type = lib.types.nullOr (lib.types.strMatching "https://.+:6443");
      default = null;
      example = "https://192.168.1.11:6443";
      description = ''
        Another server that a Primer joins when it is installed anew while the others live; without it, it would start
        an etcd of its own. To be removed once it has joined.
      '';
    };
    snapshotSchedule = lib.mkOption {
      type = lib.types.str;
      default = "0 */6 * * *";
      example = "0 3 * * *";
      description = "When etcd is saved to disk, as cron writes it.";
    };
    snapshotsKept = lib.mkOption {
      type = lib.types.ints.positive;
      default = 28;
      example = 7;
      description = "How many etcd snapshots stay.";
    };
  };

  config = lib.mkIf (derived.isK3s && derived.isServer) {
    assertions = [
      {
        assertion = lib.elem "servicelb" cfg.disable;
        message = "${host.name}: keystone.k3s.server.disable lacks servicelb, which would fight ${network.loadBalancer} for the same addresses. Add it.";
      }
      {
        assertion = config.services.k3s.clusterInit == (derived.isPrimer && cfg.rejoin == null);
        message = "${host.name}: services.k3s.clusterInit belongs on the Primer alone, where it starts etcd instead of SQLite. Set it there and nowhere else.";
      }
      {
        assertion = lib.mod (lib.length cluster.servers) 2 == 1;
        message = "${host.name}: keystone.cluster.servers names ${toString (lib.length cluster.servers)} servers; etcd wants an odd number, so that a majority survives. Add or remove one.";
      }
    ];

    services.k3s = {
      clusterInit = derived.isPrimer && cfg.rejoin == null;
      serverAddr =
        if cfg.rejoin != null then
          cfg.rejoin
        else if derived.isPrimer then
          ""
        else
          derived.joinUrl;
      tokenFile = derived.secrets.server-token.path or "/run/agenix/server-token";
      agentTokenFile = derived.secrets.agent-token.path or "/run/agenix/agent-token";
      inherit (cfg) disable;
      extraFlags = [
        "--advertise-address=${host.address}"
        "--cluster-cidr=${cluster.podCidr}"
        "--service-cidr=${cluster.serviceCidr}"
        "--cluster-dns=${cluster.clusterDns}"
        "--cluster-domain=${cluster.clusterDomain}"
        "--flannel-backend=${flannelBackend}"
        "--write-kubeconfig-mode=0600"
        "--etcd-snapshot-schedule-cron='${cfg.snapshotSchedule}'"
        "--etcd-snapshot-retention=${toString cfg.snapshotsKept}"
        "--etcd-snapshot-compress"
        "--kube-controller-manager-arg=terminated-pod-gc-threshold=100"
      ]
      ++ lib.optional (network.cni != "flannel") "--disable-network-policy"
      ++ lib.optional (!cni.kubeProxy) "--disable-kube-proxy"
      ++ lib.optional cluster.secretsEncryption "--secrets-encryption"
      ++ lib.optional config.keystone.k3s.embeddedRegistry "--embedded-registry"
      ++ map (name: "--tls-san=${name}") names
      ++ map (arg: "--kube-apiserver-arg=${arg}") (
        kubernetes.apiServerArgs
        ++ lib.optionals (cluster.issuerHost != null) [
          # k3s reads NAME-=VALUE as "before the default": ours signs, tokens of the default issuer stay valid
          "service-account-issuer-=${issuer}"
          "service-account-jwks-uri=${issuer}/openid/v1/jwks"
          "api-audiences=${internal},k3s,sts.amazonaws.com"
        ]
      );
    };
  };
}
