# Tools for people on the control plane. The deployer needs none of them.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.keystone.adminTools;
  inherit (config.keystone) derived network;
in
{
  options.keystone.adminTools.enable = lib.mkOption {
    type = lib.types.bool;
    default = derived.isServer;
    defaultText = lib.literalExpression ''host.role == "primer" || host.role == "server"'';
    example = false;
    description = "Whether helm, kustomize, aws-cli, k9s and the network plugin's tool are on the PATH.";
  };

  config = lib.mkIf cfg.enable {
    environment.systemPackages = [
      pkgs.awscli2
      pkgs.k9s
      pkgs.kubernetes-helm
      pkgs.kustomize
    ]
    ++ lib.optional (network.cni == "cilium") pkgs.cilium-cli
    ++ lib.optional (network.cni == "calico") pkgs.calicoctl;
  };
}
