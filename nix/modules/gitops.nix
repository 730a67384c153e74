# The GitOps engine, installed with the cluster: an engine cannot install what it runs on, so the host layer does.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.keystone.gitops;
  inherit (config.keystone) derived;
  lib' = import ../lib/charts.nix { inherit pkgs; };
  flux = cfg.engine == "flux";
  name = if flux then "flux-operator" else "argo-cd";
  chart = lib'.charts.${name};
  values =
    lib.recursiveUpdate
      {
        # Its status page listens without a login of ours.
        flux-operator.web.enabled = false;
        argo-cd = {
          dex.enabled = false;
          configs.params."server.insecure" = true; # TLS ends at the gateway
        };
      }
      .${name}
      cfg.values;
  # The operator carries the manifests of this release: no `artifact`, so nothing is upgraded but by a new system.
  # No `sync` either: sources are the program's.
  instance = {
    apiVersion = "fluxcd.controlplane.io/v1";
    kind = "FluxInstance";
    metadata = {
      name = "flux"; # the only name that the operator takes
      namespace = lib'.charts.flux-operator.namespace;
    };
    spec = {
      distribution = {
        version = lib'.charts.flux-operator.distribution;
        registry = "ghcr.io/fluxcd";
      };
      components = [
        "source-controller"
        "kustomize-controller"
        "helm-controller"
        "notification-controller"
      ];
      cluster = {
        type = "kubernetes";
        domain = config.keystone.cluster.clusterDomain;
        networkPolicy = true;
        multitenant = false;
      };
    };
  };
in
{
  options.keystone.gitops = {
    enable = lib.mkOption {
      type = lib.types.bool;
      default = derived.isServer;
      defaultText = lib.literalExpression ''host.role == "primer" || host.role == "server"'';
      example = false;
      description = "Whether the servers bring the GitOps engine with them.";
    };
    values = lib.mkOption {
      type = (pkgs.formats.yaml { }).type;
      default = { };
      example = {
        resources.limits.memory = "2Gi";
      };
      description = "Further values of the engine's chart.";
    };
    manifests = lib.mkOption {
      type = lib.types.listOf lib.types.path;
      readOnly = true;
      description = "The engine as plain manifests, for kubeadm.";
    };
  };

  config = {
    keystone.gitops.manifests = lib.optionals (cfg.enable && derived.isKubeadm) (
      [ (lib'.template name values) ]
      ++ lib.optional flux (pkgs.writeText "flux-instance.yaml" (builtins.toJSON instance))
    );
    services.k3s = lib.mkIf (cfg.enable && derived.isK3s && derived.isServer) {
      autoDeployCharts.${name} = {
        inherit name values;
        inherit (chart) repo version hash;
        package = lib'.archive name;
        targetNamespace = chart.namespace;
        createNamespace = true;
      };
      # k3s tries again until the operator has brought the kind and the namespace.
      manifests = lib.mkIf flux { flux-instance.content = instance; };
    };
  };
}
