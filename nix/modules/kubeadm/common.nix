# A kubeadm node: containerd, the kubelet that kubeadm drives, and what both look for on the PATH. NixOS has no module
# for kubeadm; /etc/kubernetes and /var/lib/kubelet stay writable and are kubeadm's own.
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
    derived
    disk
    host
    k3s
    kubernetes
    ;
  tools = [
    pkgs.conntrack-tools
    pkgs.cri-tools
    pkgs.ethtool
    pkgs.iproute2
    pkgs.iptables
    pkgs.socat
    pkgs.util-linux
    cfg.package
  ];
  kubectl = pkgs.writeShellScriptBin "kubectl" ''
    if [ -z "''${KUBECONFIG:-}" ]; then
      for file in /etc/kubernetes/admin.conf /etc/kubernetes/kubelet.conf; do
        if [ -r "$file" ]; then
          export KUBECONFIG="$file"
          break
        fi
      done
    fi
    exec ${cfg.package}/bin/kubectl "$@"
  '';
in
{
  options.keystone.kubeadm = {
    package = lib.mkOption {
      type = lib.types.package;
      default = pkgs.kubernetes;
      defaultText = lib.literalExpression "pkgs.kubernetes";
      example = lib.literalExpression "pkgs.callPackage ./kubernetes.nix { }";
      description = "Package with kubeadm, kubelet and kubectl.";
    };
    marker = lib.mkOption {
      type = lib.types.str;
      default = "/var/lib/keystone/kubeadm-done";
      readOnly = true;
      description = "File that says that this node is part of the cluster.";
    };
    start = lib.mkOption {
      type = lib.types.lines;
      internal = true;
      readOnly = true;
      description = "Shell text with which initialising and joining begin: only a run of ours that was interrupted is reset.";
    };
    documents = lib.mkOption {
      type = lib.types.listOf (lib.types.attrsOf lib.types.anything);
      internal = true;
      default = [ ];
      description = "Documents of kubeadm's configuration that hold no secret.";
    };
    nodeRegistration = lib.mkOption {
      type = lib.types.attrsOf lib.types.anything;
      internal = true;
      readOnly = true;
      description = "How the node registers: name, labels, taints, address.";
    };
    waitSeconds = lib.mkOption {
      type = lib.types.ints.positive;
      default = 1800;
      example = 3600;
      description = "How long joining waits for the Primer's API, in seconds.";
    };
  };

  config = lib.mkIf derived.isKubeadm {
    virtualisation.containerd = {
      enable = true;
      settings = {
        version = lib.mkForce 3; # containerd 2
        plugins."io.containerd.cri.v1.images" = {
          snapshotter = if disk.zfs.snapshotter then "zfs" else "overlayfs";
        };
        plugins."io.containerd.cri.v1.runtime" = {
          containerd.runtimes.runc = {
            runtime_type = "io.containerd.runc.v2";
            options.SystemdCgroup = true;
          };
          cni = {
            # flannel brings its own plugin alone, and calls others
            bin_dirs = [
              "/opt/cni/bin"
              "${pkgs.cni-plugins}/bin"
            ];
            conf_dir = "/etc/cni/net.d";
          };
        };
      };
    };
    systemd.services.containerd.serviceConfig.LimitNOFILE = lib.mkForce null; # as in k3s/common.nix
    systemd.services.containerd.path = lib.optional disk.zfs.snapshotter pkgs.zfs;

    systemd.services.kubelet = {
      description = "Kubernetes' agent of this node";
      # the name under which the deployer starts and stops Kubernetes, whatever runs it
      aliases = [ "k3s.service" ];
      wantedBy = [ "multi-user.target" ];
      after = [
        "containerd.service"
        "network-online.target"
      ];
      wants = [
        "containerd.service"
        "network-online.target"
      ];
      path = tools;
      # kubeadm writes this file; before that there is nothing to run
      unitConfig.ConditionPathExists = [
        "/var/lib/kubelet/config.yaml"
        "!/var/lib/keystone/removed"
      ];
      serviceConfig = {
        Restart = "always";
        RestartSec = 10;
        KillMode = "process";
        Delegate = true;
        EnvironmentFile = "-/var/lib/kubelet/kubeadm-flags.env";
        ExecStart = lib.concatStringsSep " " [
          "${cfg.package}/bin/kubelet"
          "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf"
          "--kubeconfig=/etc/kubernetes/kubelet.conf"
          "--config=/var/lib/kubelet/config.yaml"
          "$KUBELET_KUBEADM_ARGS"
        ];
      };
    };

    keystone.kubeadm = {
      # Resetting erases etcd. A node that has files of kubeadm, but neither mark of ours, is somebody's cluster.
      start = ''
        if [ -e ${cfg.marker}.begun ]; then
          kubeadm reset --force --cri-socket ${cfg.nodeRegistration.criSocket}
        elif [ -e /etc/kubernetes/kubelet.conf ]; then
          echo "${host.name}: /etc/kubernetes/kubelet.conf exists, but ${cfg.marker} does not: this node belongs to a cluster already. If it is this one, touch ${cfg.marker}; else run kubeadm reset." >&2
          exit 1
        fi
        touch ${cfg.marker}.begun
      '';
      nodeRegistration = {
        inherit (host) name taints;
        criSocket = "unix:///run/containerd/containerd.sock";
        kubeletExtraArgs = [
          {
            name = "node-labels";
            value = lib.concatStringsSep "," (
              lib.mapAttrsToList (k: v: "${k}=${v}") (host.labels // { "topology.kubernetes.io/zone" = host.zone; })
            );
          }
        ]
        ++ lib.optional (!derived.isRemote) {
          name = "node-ip";
          value = host.address;
        };
      };
      documents = [
        (
          kubernetes.kubelet
          // {
            apiVersion = "kubelet.config.k8s.io/v1beta1";
            kind = "KubeletConfiguration";
            cgroupDriver = "systemd";
            clusterDNS = [ cluster.clusterDns ];
            inherit (cluster) clusterDomain;
            rotateCertificates = true;
            # Else each kubelet signs its own certificate, and nothing that reads its metrics can tell it from another.
            serverTLSBootstrap = true;
            resolvConf = kubernetes.resolvConf;
            shutdownGracePeriod = "${toString k3s.shutdownSeconds}s";
            shutdownGracePeriodCriticalPods = "${toString (k3s.shutdownSeconds / 3)}s";
          }
        )
      ];
    };

    boot.kernel.sysctl = {
      "net.bridge.bridge-nf-call-iptables" = 1;
      "net.ipv4.ip_forward" = 1;
    };
    services.logind.settings.Login.InhibitDelayMaxSec = k3s.shutdownSeconds;
    environment.etc."crictl.yaml".text = "runtime-endpoint: ${cfg.nodeRegistration.criSocket}\n";
    environment.systemPackages = tools ++ [ (lib.hiPrio kubectl) ];
    systemd.tmpfiles.settings."10-kubeadm" = {
      "/etc/kubernetes".d.mode = "0700";
      "/etc/kubernetes/manifests".d.mode = "0700";
      "/var/lib/keystone".d.mode = "0700";
    };
  };
}
