# What the API server is told about admission and auditing, and the kubelet about its pods, for either distribution.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.keystone.kubernetes;
  inherit (config.keystone) cluster derived host;
  yaml = pkgs.formats.yaml { };
  # kubeadm runs the API server in a container, which sees this folder and not the store.
  path = name: file: if derived.isKubeadm then "/etc/kubernetes/policy/${name}" else file;
  level = lib.types.enum [
    "privileged"
    "baseline"
    "restricted"
  ];
in
{
  options.keystone.kubernetes = {
    podSecurity = {
      enforce = lib.mkOption {
        type = level;
        default = "baseline";
        example = "restricted";
        description = "Pod Security level that namespaces without a label of their own enforce.";
      };
      warn = lib.mkOption {
        type = level;
        default = "restricted";
        example = "baseline";
        description = "Pod Security level that warnings and the audit log report on.";
      };
      exemptNamespaces = lib.mkOption {
        type = lib.types.listOf lib.types.str;
        default = [
          "kube-flannel"
          "kube-system"
        ];
        example = [
          "kube-system"
          "rook-ceph"
        ];
        description = "Namespaces without Pod Security: those of the host layer. Others carry a label.";
      };
    };
    admissionFile = lib.mkOption {
      type = lib.types.path;
      readOnly = true;
      description = "The API server's admission configuration.";
    };
    auditPolicyFile = lib.mkOption {
      type = lib.types.path;
      readOnly = true;
      description = "The API server's audit policy.";
    };
    nameservers = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      default = host.site.nameservers;
      defaultText = lib.literalExpression "host.site.nameservers";
      example = [ "9.9.9.9" ];
      description = ''
        The DNS servers that the cluster's own asks for names outside. Not those of the machine: the mesh's is among them,
        refuses all names but the mesh's, and the cluster's DNS asks a server by chance. Empty takes the machine's.
      '';
    };
    resolvConf = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = if cfg.nameservers == [ ] then null else "/etc/keystone/resolv.conf";
      defaultText = lib.literalExpression ''"/etc/keystone/resolv.conf"'';
      readOnly = true;
      description = "The file with the nameservers, which the kubelet gives to pods that ask outside.";
    };
    kubelet = lib.mkOption {
      type = lib.types.attrsOf lib.types.anything;
      default = { };
      example = {
        maxPods = 200;
      };
      description = "Fields of the kubelet's configuration, merged over the hardened defaults.";
    };
    apiServerArgs = lib.mkOption {
      type = lib.types.listOf lib.types.str;
      readOnly = true;
      description = "Arguments of the API server, NAME=VALUE.";
    };
  };

  config.keystone.kubernetes = {
    admissionFile = yaml.generate "admission.yaml" {
      apiVersion = "apiserver.config.k8s.io/v1";
      kind = "AdmissionConfiguration";
      plugins = [
        {
          name = "PodSecurity";
          configuration = {
            apiVersion = "pod-security.admission.config.k8s.io/v1";
            kind = "PodSecurityConfiguration";
            defaults = {
              inherit (cfg.podSecurity) enforce warn;
              enforce-version = "latest";
              audit = cfg.podSecurity.warn;
              audit-version = "latest";
              warn-version = "latest";
            };
            exemptions = {
              usernames = [ ];
              runtimeClasses = [ ];
              namespaces = cfg.podSecurity.exemptNamespaces;
            };
          };
        }
      ];
    };

    # Who changed what; never the content of Secrets, and nothing of the constant reading of the nodes.
    auditPolicyFile = yaml.generate "audit-policy.yaml" {
      apiVersion = "audit.k8s.io/v1";
      kind = "Policy";
      omitStages = [ "RequestReceived" ];
      rules = [
        {
          level = "None";
          users = [ "system:kube-proxy" ];
          verbs = [ "watch" ];
        }
        {
          level = "None";
          nonResourceURLs = [
            "/healthz*"
            "/livez*"
            "/readyz*"
            "/version"
          ];
        }
        {
          level = "None";
          resources = [
            {
              group = "coordination.k8s.io";
              resources = [ "leases" ];
            }
          ];
        }
        {
          level = "Metadata";
          resources = [
            {
              group = "";
              resources = [
                "configmaps"
                "secrets"
                "serviceaccounts/token"
              ];
            }
            {
              group = "authentication.k8s.io";
              resources = [ "tokenreviews" ];
            }
          ];
        }
        {
          level = "Request";
          verbs = [
            "create"
            "delete"
            "deletecollection"
            "patch"
            "update"
          ];
        }
        { level = "Metadata"; }
      ];
    };

    kubelet = lib.mapAttrs (_: lib.mkDefault) {
      # Kubernetes' own, spelled out: k3s sets two of them lower and so drops the others, and a machine short of memory
      # would evict nobody.
      evictionHard = {
        "memory.available" = "100Mi";
        "nodefs.available" = "10%";
        "nodefs.inodesFree" = "5%";
        "imagefs.available" = "15%";
        "imagefs.inodesFree" = "5%";
      };
      maxPods = 110;
      podPidsLimit = 4096;
      protectKernelDefaults = true;
      readOnlyPort = 0;
      seccompDefault = true;
      serializeImagePulls = false;
      streamingConnectionIdleTimeout = "5m0s";
    };

    apiServerArgs =
      [
        "enable-admission-plugins=NodeRestriction"
        "admission-control-config-file=${path "admission.yaml" cfg.admissionFile}"
        "profiling=false"
      ]
      ++ lib.optionals cluster.auditLog [
        "audit-policy-file=${path "audit-policy.yaml" cfg.auditPolicyFile}"
        "audit-log-path=/var/log/kubernetes/audit.log"
        "audit-log-maxage=30"
        "audit-log-maxbackup=10"
        "audit-log-maxsize=100"
      ];
  };

  config.environment.etc."keystone/resolv.conf" = lib.mkIf (derived.isNode && cfg.resolvConf != null) {
    text = lib.concatMapStrings (server: "nameserver ${server}\n") cfg.nameservers;
  };
  config.boot.kernel.sysctl = lib.mkIf derived.isNode {
    # what protectKernelDefaults expects
    "vm.panic_on_oom" = 0;
    "vm.overcommit_memory" = 1;
    "kernel.panic" = 10;
    "kernel.panic_on_oops" = 1;
    "kernel.keys.root_maxbytes" = 25000000;
    "kernel.keys.root_maxkeys" = 1000000;
    # pods watch many files
    "fs.inotify.max_user_instances" = 8192;
    "fs.inotify.max_user_watches" = 1048576;
  };
  config.systemd.tmpfiles.settings."10-kubernetes" = lib.mkIf derived.isServer {
    "/var/log/kubernetes".d = {
      mode = "0700";
      user = "root";
      group = "root";
    };
  };
}
