# gVisor as a second runtime: pods with runtimeClassName gvisor see a kernel of their own.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.keystone.gvisor;
  inherit (config.keystone) derived host;
  table = ''"io.containerd.runsc.v1"'';
in
{
  options.keystone.gvisor.enable = lib.mkOption {
    type = lib.types.bool;
    default = false;
    example = true;
    description = "Whether containerd offers gVisor's runtime, and servers the RuntimeClass gvisor.";
  };

  config = lib.mkIf cfg.enable {
    assertions = [
      {
        assertion = derived.isNode;
        message = "${host.name}: keystone.gvisor.enable is for Kubernetes nodes, but the host is an edge. Switch it off.";
      }
    ];
    services.k3s = lib.mkIf derived.isK3s {
      containerdConfigTemplate = ''
        {{ template "base" . }}

        [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runsc]
          runtime_type = ${table}
      '';
      manifests.gvisor = lib.mkIf derived.isServer {
        content = {
          apiVersion = "node.k8s.io/v1";
          kind = "RuntimeClass";
          metadata.name = "gvisor";
          handler = "runsc";
        };
      };
    };
    systemd.services.k3s.path = lib.mkIf derived.isK3s [ pkgs.gvisor ];
    virtualisation.containerd.settings = lib.mkIf derived.isKubeadm {
      plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runsc.runtime_type = "io.containerd.runsc.v1";
    };
    systemd.services.containerd.path = lib.mkIf derived.isKubeadm [ pkgs.gvisor ];
    environment.systemPackages = [ pkgs.gvisor ];
  };
}
