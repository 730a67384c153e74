# The typed facts of a stack: the only entry for values from outside. nix/lib/hosts.nix assigns them from nix/facts;
# a host file (nix/hosts/STACK-HOST.nix) may not override them, because the program knows only the facts.
{ config, lib, ... }:
let
  inherit (lib) mkOption types;
  octet = "(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])";
  ip = "${octet}(\\.${octet}){3}";
  address = types.strMatching ip // {
    description = "IPv4 address";
  };
  cidr = types.strMatching "${ip}/(3[0-2]|[12]?[0-9])" // {
    description = "IPv4 range in CIDR form";
  };
  label = types.strMatching "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?" // {
    description = "DNS label";
  };
  domain = types.strMatching "[a-z0-9]([-a-z0-9.]*[a-z0-9])?" // {
    description = "DNS name";
  };
  disk = types.strMatching "/dev/disk/by-id/[A-Za-z0-9._:+@=-]+" // {
    description = "disk by its id";
  };
  url = types.strMatching "https://[a-z0-9.-]+(:[0-9]+)?" // {
    description = "https URL of a host and a port";
  };
  guid = types.strMatching "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}" // {
    description = "GUID in lower case";
  };

  fact =
    type: example: description:
    mkOption { inherit type example description; };

  server = types.submodule {
    options = {
      name = fact label "primer" "Name of the host.";
      role = fact (types.enum [
        "primer"
        "server"
      ]) "primer" "Whether it is the Primer or another server.";
      address = fact address "192.168.1.10" "Address in its site.";
      meshName = fact domain "primer.mesh.home.arpa" "Name in the mesh.";
    };
  };
  offsite = types.submodule {
    options = {
      bucket = fact types.nonEmptyStr "home-backup-123456789012" "Name of the bucket.";
      region = fact types.nonEmptyStr "eu-central-1" "AWS region of the bucket.";
      roleArn =
        fact (types.strMatching "arn:aws[a-z-]*:iam::[0-9]{12}:role/.+")
          "arn:aws:iam::123456789012:role/keystone/home/home-backup-hosts"
          "Role that may add copies; it trusts the service account backup/hosts.";
      everyHours = fact (types.ints.between 1 12) 6 "Hours between two copies of etcd and of the mesh's database.";
      zfsDays = fact (types.enum [
        1
        7
      ]) 7 "Days between two copies of the datasets.";
      datasets = fact (types.listOf types.nonEmptyStr) [ "etcd" ] "Datasets that are sent whole, below the pool.";
      rclone = fact (types.attrsOf types.str) { RCLONE_S3_PROVIDER = "AWS"; } "rclone's settings, as its environment.";
    };
  };
  taint = types.submodule {
    options = {
      key = fact types.nonEmptyStr "dedicated" "Key of the taint.";
      value = fact types.str "ingress" "Value of the taint.";
      effect = fact (types.enum [
        "NoSchedule"
        "PreferNoSchedule"
        "NoExecute"
      ]) "NoSchedule" "What the taint does.";
    };
  };
  mintedKey = types.submodule {
    options = {
      region = fact types.str "eu-central-1" "AWS region of the parameter.";
      parameter =
        fact (types.strMatching "/[A-Za-z0-9_./-]+") "/keystone/home/pools/spot/mesh-key"
          "Name of the SSM parameter; Pulumi makes it, a unit fills it.";
      keyId =
        fact (types.strMatching "alias/[A-Za-z0-9/_-]+") "alias/keystone-home"
          "Customer key that encrypts it.";
      roleArn =
        fact (types.strMatching "arn:aws[a-z-]*:iam::[0-9]{12}:role/.+")
          "arn:aws:iam::123456789012:role/keystone/home/home-pool-keys"
          "Role that may write the parameter; it trusts the service account keystone-system/pool-keys.";
      tags = fact (types.nonEmptyListOf (types.strMatching "tag:[a-z0-9-]+")) [ "tag:pool" ] "Tags of the key in the mesh.";
      keyHours = fact (types.ints.between 13 168) 24 "How long a key is valid, in hours; a new one is made every twelve.";
    };
  };
in
{
  options.keystone = {
    stack = fact label "dev" "Name of the stack that the machine belongs to.";

    cluster = {
      name = fact label "home" "Name of the cluster.";
      domain = fact domain "home.example.org" "DNS domain of the site.";
      distribution = fact (types.enum [
        "k3s"
        "kubeadm"
      ]) "k3s" "How Kubernetes is installed.";
      podCidr = fact cidr "10.42.0.0/16" "Range of the pods' addresses.";
      serviceCidr = fact cidr "10.43.0.0/16" "Range of the services' addresses.";
      clusterDns = fact address "10.43.0.10" "Address of the cluster's DNS server, in the services' range.";
      clusterDomain = fact domain "cluster.local" "DNS domain inside the cluster.";
      api = {
        endpoint = fact url "https://192.168.1.10:6443" "URL under which people and programs reach the API.";
        sans = fact (types.listOf domain) [ "192.168.1.10" ] "Names and addresses in the API's certificate.";
      };
      secretsEncryption = fact types.bool true "Whether Secrets are encrypted in etcd.";
      auditLog = fact types.bool true "Whether the API writes an audit log.";
      issuerHost =
        fact (types.nullOr domain) "oidc.example.org"
          "Host of the service-account issuer; null without a cloud that trusts it.";
      authorizedKeys = fact (types.listOf types.nonEmptyStr) [
        "ssh-ed25519 AAAA... ada"
      ] "Public SSH keys of people.";
      storage =
        fact
          (types.listOf (
            types.enum [
              "longhorn"
              "openebs"
            ]
          ))
          [ "longhorn" ]
          "The choices of storage that need something of the machines.";
      servers = fact (types.listOf server) [ ] "The Primer first, then the other servers by name.";
    };

    network = {
      cni = fact (types.enum [
        "cilium"
        "flannel"
        "calico"
      ]) "cilium" "Network plugin.";
      encryption = fact (types.enum [
        "wireguard"
        "none"
      ]) "wireguard" "Encryption of traffic between nodes.";
      loadBalancer = fact (types.enum [
        "metallb"
        "cilium"
      ]) "cilium" "What announces the addresses of LoadBalancer services.";
      gateway = fact (types.enum [
        "traefik"
        "cilium"
        "nginx"
      ]) "cilium" "Gateway for traffic from outside.";
      gatewayAddress =
        fact (types.nullOr address) "192.168.1.200"
          "Address of the gateway in its pool, to which edges pass connections; null without a pool.";
      serviceMesh = fact (types.enum [
        "none"
        "cilium"
        "linkerd"
        "istio"
      ]) "none" "Service mesh.";
    };

    mesh = {
      serverUrl = fact url "https://mesh.example.org" "URL of the mesh's controller.";
      domain = fact domain "mesh.home.arpa" "DNS domain of the mesh.";
      prefix = fact cidr "100.64.0.0/10" "Range of the mesh's addresses.";
      tls = fact (types.enum [
        "private"
        "acmeDns"
        "file"
      ]) "private" "Where the controller's certificate comes from.";
      derp = {
        regionId = fact (types.ints.between 900 999) 900 "Number of the private relay region.";
        publicMap = fact types.bool false "Whether the public relays are used too.";
      };
    };

    gitops.engine = fact (types.enum [
      "flux"
      "argocd"
    ]) "flux" "GitOps engine, installed with the cluster.";

    host = {
      name = fact label "w1" "Name of the machine, of its Kubernetes node and of its mesh node.";
      role = fact (types.enum [
        "primer"
        "server"
        "agent"
        "edge"
      ]) "agent" "What the machine is in the cluster.";
      remote = fact types.bool false "Whether the host reaches the servers over the mesh alone.";
      address = fact address "192.168.1.21" "Address in its site.";
      mac =
        fact (types.strMatching "([0-9a-f]{2}:){5}[0-9a-f]{2}") "52:54:00:12:34:56"
          "MAC address of the card that has the address.";
      site = {
        name = fact label "home" "Name of the site.";
        cidr = fact cidr "192.168.1.0/24" "Range of the site's network.";
        gateway = fact address "192.168.1.1" "Address of the router.";
        nameservers = fact (types.nonEmptyListOf address) [ "192.168.1.1" ] "Addresses of the DNS servers.";
        addressing = fact (types.enum [
          "static"
          "dhcp-reservation"
        ]) "static" "Whether the host sets its address or gets it by a reservation.";
      };
      ssh = {
        port = fact types.port 22 "Port of the SSH server.";
        initrdPort = fact types.port 2223 "Port of the SSH server in the initrd.";
        user = fact (types.strMatching "[a-z_][a-z0-9_-]{0,30}") "root" "User to log in as.";
      };
      disk = fact disk "/dev/disk/by-id/ata-SSD_1" "Disk that holds the system.";
      diskGuid =
        fact guid "0f5d9f0e-6a1e-5d9e-8f1f-2a6b8b0d1c11"
          "GPT disk GUID that marks the installation as ours.";
      osdDisks = fact (types.listOf disk) [ "/dev/disk/by-id/ata-HDD_1" ] "Whole disks for Ceph.";
      hostId = fact (types.strMatching "[0-9a-f]{8}") "5d1f0a77" "Host id, which ZFS writes into its pool.";
      installGeneration = fact types.ints.positive 1 "Generation of the installation.";
      layout = fact (types.enum [
        "zfs-luks"
        "ext4-luks"
      ]) "zfs-luks" "File system on the encrypted disk.";
      unlock = fact (types.enum [
        "tpm2"
        "remote"
        "both"
      ]) "tpm2" "How the disk is unlocked.";
      meshName = fact domain "w1.mesh.home.arpa" "Name in the mesh.";
      meshRoutes = fact (types.listOf cidr) [
        "192.168.1.0/24"
      ] "Ranges behind the host that it announces in the mesh.";
      zone = fact label "a" "Failure domain.";
      labels = fact (types.attrsOf types.str) { disk = "ssd"; } "Labels of the Kubernetes node.";
      taints = fact (types.listOf taint) [ ] "Taints of the Kubernetes node.";
      offsite = fact (types.nullOr offsite) null "What a server copies off the site; null without a backup.";
      pools = fact (types.attrsOf mintedKey) { } "Mesh keys that the Primer mints into SSM parameters, by a name of ours.";
    };

    # What follows from the facts alone and more than one module needs.
    derived = mkOption {
      type = types.raw;
      readOnly = true;
      internal = true;
      description = "Values worked out from the facts.";
    };
  };

  config.keystone.derived =
    let
      inherit (config.keystone) cluster host mesh;
      split = builtins.match "https://([^:]+)(:([0-9]+))?";
      part = u: n: builtins.elemAt (split u) n;
      port = u: if part u 2 == null then 443 else lib.toInt (part u 2);
    in
    rec {
      isPrimer = host.role == "primer";
      isServer = host.role == "primer" || host.role == "server";
      isNode = host.role != "edge";
      isK3s = isNode && cluster.distribution == "k3s";
      isKubeadm = isNode && cluster.distribution == "kubeadm";
      # Remote means: no address of the site is usable for the cluster, the kubelet's address is the mesh's.
      isRemote = host.remote && !isServer;
      primer = builtins.head cluster.servers;
      apiPort = 6443;
      endpointHost = part cluster.api.endpoint 0;
      endpointPort = port cluster.api.endpoint;
      meshHost = part mesh.serverUrl 0;
      meshPort = port mesh.serverUrl;
      prefixLength = lib.last (lib.splitString "/" host.site.cidr);
      # Where a node joins: remote ones know the Primer by its mesh name only.
      joinUrl = "https://${if isRemote then primer.meshName else primer.address}:${toString apiPort}";
      # One value for all nodes, never the service address, which the network plugin itself provides. k3s answers on
      # this port of every node: the API server on servers, the client load balancer on agents.
      apiForPods =
        if isK3s then
          {
            host = "127.0.0.1";
            port = 6444;
          }
        else
          {
            host = endpointHost;
            port = endpointPort;
          };
      secrets = config.age.secrets;
    };
}
