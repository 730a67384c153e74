# What every k3s node has: its name and address, labels and taints, the kubelet's settings, the registries.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.keystone.k3s;
  inherit (config.keystone)
    cni
    derived
    host
    kubernetes
    ;
  yaml = pkgs.formats.yaml { };
  # Plain `kubectl` over SSH: the administrator's on servers, the kubelet's on agents.
  kubectl = pkgs.writeShellScriptBin "kubectl" ''
    if [ -z "''${KUBECONFIG:-}" ]; then
      for file in /etc/rancher/k3s/k3s.yaml /var/lib/rancher/k3s/agent/kubelet.kubeconfig; do
        if [ -r "$file" ]; then
          export KUBECONFIG="$file"
          break
        fi
      done
    fi
    exec ${config.services.k3s.package}/bin/k3s kubectl "$@"
  '';
in
{
  options.keystone.k3s = {
    registryMirrors = lib.mkOption {
      type = lib.types.attrsOf (lib.types.listOf lib.types.str);
      default = { };
      example = {
        "docker.io" = [ "https://mirror.example.org" ];
      };
      description = "Endpoints to ask before a registry itself, by the registry's name.";
    };
    embeddedRegistry = lib.mkOption {
      type = lib.types.bool;
      default = false;
      example = true;
      description = "Whether nodes fetch images from each other first (k3s' embedded mirror; port 5001 between nodes).";
    };
    airgapImages = lib.mkOption {
      type = lib.types.bool;
      default = false;
      example = true;
      description = "Whether k3s' own images come with the system, for machines without internet.";
    };
    shutdownSeconds = lib.mkOption {
      type = lib.types.ints.between 10 600;
      default = 90;
      example = 180;
      description = "How long pods may take to end before the machine goes down, in seconds.";
    };
  };

  config = lib.mkIf derived.isK3s {
    assertions = [
      {
        assertion = derived.isRemote -> config.services.k3s.nodeIP == null;
        message = "${host.name}: services.k3s.nodeIP is set on a remote agent, but its address comes from the mesh. Remove services.k3s.nodeIP.";
      }
    ];

    # A host that was taken out of the cluster stays out when it reboots; `keystone.hosts` makes and removes the file.
    systemd.services.k3s.unitConfig.ConditionPathExists = [ "!/var/lib/keystone/removed" ];

    services.k3s = {
      enable = true;
      role = if derived.isServer then "server" else "agent";
      nodeName = host.name;
      nodeIP = if derived.isRemote then null else host.address;
      nodeLabel = lib.mapAttrsToList (k: v: "${k}=${v}") (
        host.labels // { "topology.kubernetes.io/zone" = host.zone; }
      );
      nodeTaint = map (t: "${t.key}=${t.value}:${t.effect}") host.taints;
      images = lib.optional cfg.airgapImages config.services.k3s.package.airgap-images;
      extraKubeletConfig = kubernetes.kubelet;
      gracefulNodeShutdown = {
        enable = true;
        shutdownGracePeriod = "${toString cfg.shutdownSeconds}s";
        shutdownGracePeriodCriticalPods = "${toString (cfg.shutdownSeconds / 3)}s";
      };
      extraFlags =
        lib.optional config.keystone.disk.zfs.snapshotter "--snapshotter=zfs"
        ++ lib.optional (kubernetes.resolvConf != null) "--resolv-conf=${kubernetes.resolvConf}"
        ++ lib.optional (cni.flannelConf != null) "--flannel-conf=${cni.flannelConf}"
        ++ lib.optional (cni.flannelConf != null && derived.isRemote) "--flannel-iface=${config.services.tailscale.interfaceName}";
    };
    systemd.services.k3s = {
      # systemd's own limit: Ceph's daemons walk through all descriptors that they might have, and need hours for a million
      serviceConfig.LimitNOFILE = lib.mkForce null;
      path = lib.optional config.keystone.disk.zfs.snapshotter pkgs.zfs;
    };
    # systemd allows five seconds unless told; the kubelet asks for its own time.
    services.logind.settings.Login.InhibitDelayMaxSec = cfg.shutdownSeconds;

    environment.etc."rancher/k3s/registries.yaml" = lib.mkIf (cfg.registryMirrors != { } || cfg.embeddedRegistry) {
      source = yaml.generate "registries.yaml" {
        mirrors =
          lib.optionalAttrs cfg.embeddedRegistry { "*" = { }; }
          // lib.mapAttrs (_: endpoint: { inherit endpoint; }) cfg.registryMirrors;
      };
    };
    environment.systemPackages = [ (lib.hiPrio kubectl) ];
  };
}
