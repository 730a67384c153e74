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
  name = if cfg.engine == "flux" then "flux2" else "argo-cd";
  chart = lib'.charts.${name};
  values =
    lib.recursiveUpdate
      {
        flux2 = {
          # Images are updated by commits, not by the cluster.
          imageAutomationController.create = false;
          imageReflectionController.create = false;
          prometheus.podMonitor.create = false;
        };
        argo-cd = {
          dex.enabled = false;
          configs.params."server.insecure" = true; # TLS ends at the gateway
        };
      }
      .${name}
      cfg.values;
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
        helmController.create = true;
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
    keystone.gitops.manifests = lib.optional (cfg.enable && derived.isKubeadm) (lib'.template name values);
    services.k3s.autoDeployCharts = lib.mkIf (cfg.enable && derived.isK3s && derived.isServer) {
      ${name} = {
        inherit name values;
        inherit (chart) repo version hash;
        package = chart.source;
        targetNamespace = chart.namespace;
        createNamespace = true;
      };
    };
  };
}
