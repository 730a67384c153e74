# kubeadm's control plane: the same authorities, admission and audit as on k3s. The Primer initialises the cluster once;
# the certificates that further servers need are uploaded again every hour under a key derived from the server token.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.keystone.kubeadm;
  inherit (config.keystone)
    cluster
    cni
    derived
    host
    kubernetes
    ;
  inherit (config.age) secretsDir;
  issuer = "https://${cluster.issuerHost}";
  internal = "https://kubernetes.default.svc.${cluster.clusterDomain}";
  pair = arg: {
    name = lib.head (lib.splitString "=" arg);
    value = lib.concatStringsSep "=" (lib.tail (lib.splitString "=" arg));
  };
  volume = name: path: readOnly: {
    inherit name readOnly;
    hostPath = path;
    mountPath = path;
    pathType = "DirectoryOrCreate";
  };
  configuration = {
    apiVersion = "kubeadm.k8s.io/v1beta4";
    kind = "ClusterConfiguration";
    clusterName = cluster.name;
    kubernetesVersion = "v${cfg.package.version}";
    controlPlaneEndpoint = "${derived.endpointHost}:${toString derived.endpointPort}";
    encryptionAlgorithm = "ECDSA-P256";
    networking = {
      podSubnet = cluster.podCidr;
      serviceSubnet = cluster.serviceCidr;
      dnsDomain = cluster.clusterDomain;
    };
    apiServer = {
      certSANs = lib.unique (
        cluster.api.sans
        ++ lib.concatMap (s: [
          s.name
          s.address
          s.meshName
        ]) cluster.servers
      );
      extraArgs = map pair (
        kubernetes.apiServerArgs
        ++ lib.optional cluster.secretsEncryption "encryption-provider-config=/etc/kubernetes/policy/encryption.yaml"
        ++ lib.optionals (cluster.issuerHost != null) [
          "service-account-issuer=${issuer}"
          "service-account-issuer=${internal}"
          "service-account-jwks-uri=${issuer}/openid/v1/jwks"
          "api-audiences=${internal},sts.amazonaws.com"
        ]
      );
      extraVolumes = [
        (volume "policy" "/etc/kubernetes/policy" true)
        (volume "audit" "/var/log/kubernetes" false)
      ];
    };
    controllerManager.extraArgs = [
      {
        name = "terminated-pod-gc-threshold";
        value = "100";
      }
    ];
  };
  proxy = {
    apiVersion = "kubeproxy.config.k8s.io/v1alpha1";
    kind = "KubeProxyConfiguration";
    clusterCIDR = cluster.podCidr;
    mode = "nftables";
  };
  encryption = {
    apiVersion = "apiserver.config.k8s.io/v1";
    kind = "EncryptionConfiguration";
    resources = [
      {
        resources = [ "secrets" ];
        providers = [
          {
            secretbox.keys = [
              {
                name = "derived-1";
                secret = "%s"; # put in by printf, on the machine
              }
            ];
          }
          { identity = { }; }
        ];
      }
    ];
  };
  documents = pkgs.writeText "kubeadm.yaml" (lib.concatMapStringsSep "\n---\n" builtins.toJSON cfg.documents);
  # kubeadm has one authority for servers and clients; its own names for the rest
  authorities = {
    "ca" = "server-ca";
    "front-proxy-ca" = "request-header-ca";
    "etcd/ca" = "etcd--server-ca";
  };
  place = target: source: ''
    place ${secretsDir}/${source}.crt /etc/kubernetes/pki/${target}.crt
    place ${secretsDir}/${source}.key /etc/kubernetes/pki/${target}.key
  '';
  secret = name: derived.secrets.${name}.path or "${secretsDir}/${name}";
in
{
  options.keystone.kubeadm.prepare = lib.mkOption {
    type = lib.types.lines;
    internal = true;
    readOnly = true;
    description = "Shell text that puts policy and keys in place on every server.";
  };

  config = lib.mkIf (derived.isKubeadm && derived.isServer) (
    lib.mkMerge [
      {
        assertions = [
          {
            assertion = lib.mod (lib.length cluster.servers) 2 == 1;
            message = "${host.name}: keystone.cluster.servers names ${toString (lib.length cluster.servers)} servers; etcd wants an odd number, so that a majority survives. Add or remove one.";
          }
        ];
        keystone.kubeadm.documents = [ configuration ] ++ lib.optional cni.kubeProxy proxy;
        keystone.kubeadm.prepare = ''
          umask 077
          install -D -m 0600 ${kubernetes.admissionFile} /etc/kubernetes/policy/admission.yaml
          install -D -m 0600 ${kubernetes.auditPolicyFile} /etc/kubernetes/policy/audit-policy.yaml
          # the same key on every server, without another secret: derived from the server token
          key=$({ printf 'secrets encryption:'; cat ${secret "server-token"}; } | openssl dgst -sha256 -binary | base64 -w0)
          # JSON, not YAML in braces: the API server takes a leading brace for JSON
          printf '${builtins.toJSON encryption}\n' "$key" >/etc/kubernetes/policy/encryption.yaml
          certificate_key=$({ printf 'certificate upload:'; cat ${secret "server-token"}; } | sha256sum | cut -d' ' -f1)
        '';
      }
      (lib.mkIf derived.isPrimer {
        systemd.services.keystone-kubeadm-init = {
          description = "Initialise the cluster";
          wantedBy = [ "multi-user.target" ];
          after = [
            "containerd.service"
            "network-online.target"
          ];
          wants = [
            "containerd.service"
            "network-online.target"
          ];
          path = config.systemd.services.kubelet.path ++ [
            pkgs.jq
            pkgs.openssl
          ];
          unitConfig.ConditionPathExists = "!${cfg.marker}";
          serviceConfig = {
            Type = "exec";
            Restart = "on-failure";
            RestartSec = 30;
            RuntimeDirectory = "keystone-kubeadm";
            RuntimeDirectoryMode = "0700";
          };
          script = ''
            ${cfg.start}
            place() {
              install -D -m 0600 "$1" "$2"
            }
            ${cfg.prepare}
            ${lib.concatLines (lib.mapAttrsToList place authorities)}
            place ${secretsDir}/service.key /etc/kubernetes/pki/sa.key
            openssl ec -in /etc/kubernetes/pki/sa.key -pubout -out /etc/kubernetes/pki/sa.pub
            digest=$({ printf 'bootstrap token:'; cat ${secret "agent-token"}; } | sha256sum)
            token="''${digest:0:6}.''${digest:6:16}"
            configuration=$RUNTIME_DIRECTORY/init.yaml
            {
              cat ${documents}
              printf '\n---\n'
              jq -n --argjson node ${lib.escapeShellArg (builtins.toJSON cfg.nodeRegistration)} \
                --rawfile token <(printf %s "$token") --rawfile key <(printf %s "$certificate_key") '{
                  apiVersion: "kubeadm.k8s.io/v1beta4", kind: "InitConfiguration", nodeRegistration: $node,
                  localAPIEndpoint: {advertiseAddress: "${host.address}", bindPort: ${toString derived.apiPort}},
                  certificateKey: $key, bootstrapTokens: [{token: $token, ttl: "0s", description: "agents of the stack"}]
                }'
            } >"$configuration"
            kubeadm init --config "$configuration" --upload-certs ${
              lib.optionalString (!cni.kubeProxy) "--skip-phases addon/kube-proxy"
            }
            mv ${cfg.marker}.begun ${cfg.marker}
          '';
        };

        # Uploaded certificates vanish after two hours; servers that join later need them again.
        systemd.services.keystone-kubeadm-certificates = {
          description = "Upload the control plane's certificates for servers that join";
          path = config.systemd.services.kubelet.path ++ [
            pkgs.jq
            pkgs.openssl
          ];
          unitConfig.ConditionPathExists = cfg.marker;
          serviceConfig = {
            Type = "oneshot";
            TimeoutStartSec = 300;
            RuntimeDirectory = "keystone-kubeadm-certificates";
            RuntimeDirectoryMode = "0700";
          };
          script = ''
            ${cfg.prepare}
            printf '{"apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "InitConfiguration", "certificateKey": "%s"}' \
              "$certificate_key" >"$RUNTIME_DIRECTORY/upload.yaml"
            kubeadm init phase upload-certs --upload-certs --config "$RUNTIME_DIRECTORY/upload.yaml" >/dev/null
          '';
        };
        systemd.timers.keystone-kubeadm-certificates = {
          wantedBy = [ "timers.target" ];
          timerConfig = {
            OnBootSec = "10min";
            OnUnitActiveSec = "1h";
          };
        };
      })
    ]
  );
}
