# The network plugin: which one, its encryption and its packet size. k3s applies it from its manifests folder, kubeadm
# by a unit on the Primer; either way it is there before any pod can run and never depends on a pod.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.keystone.cni;
  inherit (config.keystone)
    cluster
    derived
    host
    network
    ;
  lib' = import ../lib/charts.nix { inherit pkgs; };
  encrypted = network.encryption == "wireguard";
  api = derived.apiForPods;
  overhead = {
    cilium = 50 + (if encrypted then 80 else 0); # VXLAN, and inside it WireGuard
    flannel = if encrypted then 80 else 50;
    calico = if encrypted then 80 else 50;
  };
  yaml = pkgs.formats.yaml { };
  # Istio and Linkerd put their own plugin behind Cilium's and look at service addresses themselves.
  foreignMesh = network.serviceMesh == "istio" || network.serviceMesh == "linkerd";

  # Traefik and Cilium take their routes from Gateway API objects; ingress-nginx does not.
  gatewayApi = network.gateway != "nginx";

  cilium = {
    cluster.name = cluster.name;
    kubeProxyReplacement = true;
    k8sServiceHost = api.host;
    k8sServicePort = api.port;
    routingMode = "tunnel";
    tunnelProtocol = "vxlan";
    MTU = cfg.underlayMtu;
    ipam = {
      mode = "cluster-pool";
      operator = {
        clusterPoolIPv4PodCIDRList = [ cluster.podCidr ];
        clusterPoolIPv4MaskSize = 24;
      };
    };
    encryption = {
      enabled = encrypted;
      type = "wireguard";
    };
    operator.replicas = if lib.length cluster.servers > 1 then 2 else 1;
    gatewayAPI.enabled = network.gateway == "cilium";
    l2announcements.enabled = network.loadBalancer == "cilium";
    # each announced service renews a lease; the client's own limit is too low for more than a handful
    k8sClientRateLimit = {
      qps = 20;
      burst = 40;
    };
    # Cilium's own mesh has no sidecars: services with the annotation service.cilium.io/lb-l7 are balanced request by
    # request. Its mutual authentication is deprecated since 1.20; WireGuard encrypts instead.
    loadBalancer.l7.backend = if network.serviceMesh == "cilium" then "envoy" else "disabled";
    cni.exclusive = !foreignMesh;
    socketLB.hostNamespaceOnly = foreignMesh;
    hubble = {
      relay.enabled = true;
      # A job in the cluster makes the certificates, and makes them anew: Helm would write keys into the Nix store, or
      # certificates that end after a year.
      tls.auto.method = "cronJob";
    };
    # port 9962 of the host, which the firewall leaves closed: the host's own Alloy reads it
    prometheus.enabled = true;
    rollOutCiliumPods = true;
  };

  # flannel's own file: the card's packet size would be wrong for nodes behind the mesh.
  flannelBackend =
    if encrypted then
      {
        Type = "wireguard";
        ListenPort = 51820;
        MTU = cfg.podMtu;
        PersistentKeepaliveInterval = 25;
      }
    else
      {
        Type = "vxlan";
        Port = 8472;
        MTU = cfg.podMtu;
      };
  flannelConf = pkgs.writeText "flannel-net-conf.json" (
    builtins.toJSON {
      Network = cluster.podCidr;
      EnableIPv4 = true;
      EnableIPv6 = false;
      Backend = flannelBackend;
    }
  );
  flannelChart = {
    podCidr = cluster.podCidr;
    flannel = {
      backend = lib.toLower flannelBackend.Type;
      backendPort = flannelBackend.ListenPort or flannelBackend.Port;
      mtu = cfg.podMtu;
    };
  };

  calico = pkgs.runCommand "calico-${lib'.charts.calico.version}.yaml" { nativeBuildInputs = [ pkgs.yq-go ]; } ''
    yq '
      (select(.kind == "ConfigMap" and .metadata.name == "calico-config").data.veth_mtu) = "${toString cfg.podMtu}" |
      (select(.kind == "DaemonSet" and .metadata.name == "calico-node").spec.template.spec.containers[]
        | select(.name == "calico-node").env) += [
          {"name": "CALICO_IPV4POOL_CIDR", "value": "${cluster.podCidr}"},
          {"name": "FELIX_WIREGUARDENABLED", "value": "${lib.boolToString encrypted}"},
          {"name": "FELIX_PROMETHEUSMETRICSENABLED", "value": "true"},
          {"name": "FELIX_PROMETHEUSMETRICSHOST", "value": "127.0.0.1"}
        ]
    ' ${lib'.charts.calico.source} >"$out"
    grep -q CALICO_IPV4POOL_CIDR "$out"
    cat ${calicoEndpoint} >>"$out"
  '';
  # Calico's pods read the API's address from here instead of the service address.
  calicoEndpoint = pkgs.writeText "kubernetes-services-endpoint.yaml" ''
    ---
    ${builtins.toJSON {
      apiVersion = "v1";
      kind = "ConfigMap";
      metadata = {
        name = "kubernetes-services-endpoint";
        namespace = "kube-system";
      };
      data = {
        KUBERNETES_SERVICE_HOST = api.host;
        KUBERNETES_SERVICE_PORT = toString api.port;
      };
    }}
  '';
in
{
  options.keystone.cni = {
    underlayMtu = lib.mkOption {
      type = lib.types.ints.between 1280 9216;
      default = 1280;
      example = 1500;
      description = ''
        Largest packet between nodes, in bytes. 1280 is the mesh's: a remote agent or a pool's node is reached through
        it. Clusters whose nodes all share one network may raise it to that network's.
      '';
    };
    podMtu = lib.mkOption {
      type = lib.types.ints.positive;
      default = cfg.underlayMtu - overhead.${network.cni};
      defaultText = lib.literalMD "underlayMtu less the plugin's headers";
      readOnly = true;
      description = "Largest packet of a pod, worked out from the plugin's headers and its encryption.";
    };
    kubeProxy = lib.mkOption {
      type = lib.types.bool;
      default = network.cni != "cilium";
      defaultText = lib.literalExpression ''network.cni != "cilium"'';
      readOnly = true;
      description = "Whether kube-proxy runs; Cilium replaces it.";
    };
    values = lib.mkOption {
      inherit (yaml) type;
      default = { };
      example = {
        hubble.ui.enabled = true;
      };
      description = "Further values of Cilium's chart, merged over those worked out from the facts.";
    };
    flannelConf = lib.mkOption {
      type = lib.types.nullOr lib.types.path;
      default = if network.cni == "flannel" then flannelConf else null;
      defaultText = lib.literalMD "a file with backend, port and packet size";
      readOnly = true;
      description = "flannel's network configuration, for k3s' built-in flannel.";
    };
    manifests = lib.mkOption {
      type = lib.types.listOf lib.types.path;
      readOnly = true;
      description = "The plugin as plain manifests: all of it for kubeadm, for k3s what is not a chart.";
    };
  };

  config = {
    assertions = [
      {
        assertion = network.cni == "cilium" || network.loadBalancer != "cilium";
        message = "${host.name}: keystone.network.loadBalancer is cilium, but keystone.network.cni is ${network.cni}. Take metallb, or cilium for both.";
      }
      {
        assertion = network.cni == "cilium" || network.gateway != "cilium";
        message = "${host.name}: keystone.network.gateway is cilium, but keystone.network.cni is ${network.cni}. Take traefik, or cilium for both.";
      }
      {
        assertion = network.cni == "cilium" || network.serviceMesh != "cilium";
        message = "${host.name}: keystone.network.serviceMesh is cilium, but keystone.network.cni is ${network.cni}. Take another service mesh, or cilium for both.";
      }
      {
        assertion = lib.stringLength cluster.name <= 32 || network.cni != "cilium";
        message = "${host.name}: keystone.cluster.name ${cluster.name} is longer than the 32 characters that Cilium takes. Shorten it or take another keystone.network.cni.";
      }
    ];

    keystone.cni.manifests =
      lib.optional gatewayApi lib'.gatewayApi
      ++ {
        cilium = lib.optional derived.isKubeadm (
          lib'.template "cilium" (lib.recursiveUpdate cilium cfg.values)
        );
        flannel = lib.optional derived.isKubeadm (lib'.template "flannel" flannelChart);
        calico = [ calico ];
      }
      .${network.cni};

    services.k3s = lib.mkIf (derived.isK3s && derived.isServer) {
      autoDeployCharts = lib.mkIf (network.cni == "cilium") {
        cilium = {
          name = "cilium";
          inherit (lib'.charts.cilium) repo version hash;
          package = lib'.charts.cilium.source;
          targetNamespace = lib'.charts.cilium.namespace;
          values = lib.recursiveUpdate cilium cfg.values;
          # The job runs on the host's network, before there is any other.
          extraFieldDefinitions.spec = {
            bootstrap = true;
            failurePolicy = "abort";
          };
        };
      };
      manifests =
        # first by name: Cilium's operator looks once for these definitions when it starts
        lib.optionalAttrs gatewayApi { "00-gateway-api".source = lib'.gatewayApi; }
        // lib.optionalAttrs (network.cni == "calico") { calico.source = calico; };
    };

    boot.kernelModules = lib.mkIf derived.isNode (
      [
        "br_netfilter"
        "overlay"
        "vxlan"
      ]
      ++ lib.optional encrypted "wireguard"
    );
    # Plugins put their binaries and configuration here.
    systemd.tmpfiles.settings."10-cni" = lib.mkIf derived.isNode {
      "/opt/cni/bin".d.mode = "0755";
      "/etc/cni/net.d".d.mode = "0755";
    };
  };
}
