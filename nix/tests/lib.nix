# What the virtual machines share: facts for a small cluster on the test's own network, and identities made for it.
{ inputs, pkgs }:
let
  inherit (pkgs) lib;
  cluster = {
    stack = "vm";
    cluster = {
      name = "vm";
      domain = "example.test";
      distribution = "k3s";
      podCidr = "10.42.0.0/16";
      serviceCidr = "10.43.0.0/16";
      clusterDns = "10.43.0.10";
      clusterDomain = "cluster.local";
      api = {
        endpoint = "https://192.168.1.1:6443";
        sans = [ "192.168.1.1" ];
      };
      secretsEncryption = true;
      auditLog = true;
      issuerHost = null;
      storage = [ ];
      authorizedKeys = [ snakeoil.snakeOilEd25519PublicKey ];
    };
    network = {
      # k3s' own plugin: its images come with the system, and the test's network has no way out
      cni = "flannel";
      encryption = "wireguard";
      loadBalancer = "metallb";
      gateway = "traefik";
      gatewayAddress = null;
      serviceMesh = "none";
    };
    mesh = {
      serverUrl = "https://192.168.1.1:8443";
      domain = "mesh.internal";
      prefix = "100.64.0.0/10";
      tls = "private";
      derp = {
        regionId = 900;
        publicMap = false;
      };
    };
    gitops.engine = "flux";
  };
  host =
    number: name: role: more:
    {
      inherit name role;
      remote = false;
      address = "192.168.1.${toString number}";
      mac = "52:54:00:12:01:0${toString number}";
      site = {
        name = "lan";
        cidr = "192.168.1.0/24";
        gateway = "192.168.1.254";
        nameservers = [ "192.168.1.254" ];
        addressing = "static";
      };
      ssh = {
        port = 22;
        initrdPort = 2223;
        user = "root";
      };
      disk = "/dev/disk/by-id/virtio-${name}";
      diskGuid = "00000000-0000-5000-8000-00000000000${toString number}";
      osdDisks = [ ];
      hostId = "0000000${toString number}";
      installGeneration = 1;
      layout = "ext4-luks";
      unlock = "remote";
      meshName = "${name}.mesh.internal";
      meshRoutes = [ ];
      pools = { };
      zone = "a";
      labels = { };
      taints = [ ];
    }
    // more;
  snakeoil = import "${inputs.nixpkgs}/nixos/tests/ssh-keys.nix" pkgs;

  # Keys of one test run: made in the build, worth nothing, never those of a stack.
  identities = pkgs.runCommand "test-identities" { nativeBuildInputs = [ pkgs.openssl ]; } ''
    mkdir -p "$out"
    cd "$out"
    authority() {
      openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
      openssl req -x509 -new -key "$1.key" -sha256 -days 3650 -subj "/CN=$1" -out "$1.crt" \
        -addext basicConstraints=critical,CA:true -addext keyUsage=critical,keyCertSign,digitalSignature,keyEncipherment
    }
    for name in client-ca server-ca request-header-ca etcd--peer-ca etcd--server-ca mesh-ca; do
      authority "$name"
    done
    openssl ecparam -name prime256v1 -genkey -noout -out service.key
    openssl ecparam -name prime256v1 -genkey -noout -out mesh-tls-key
    openssl req -new -key mesh-tls-key -subj /CN=192.168.1.1 |
      openssl x509 -req -CA mesh-ca.crt -CAkey mesh-ca.key -days 825 -sha256 -out mesh-tls.crt \
        -extfile <(printf 'subjectAltName=IP:192.168.1.1,IP:10.0.2.2,IP:127.0.0.1\nextendedKeyUsage=serverAuth')
    printf 'privkey:%s' "$(openssl rand -hex 32)" >headscale-noise-key
    printf 'privkey:%s' "$(openssl rand -hex 32)" >headscale-derp-key
    hash=$(sha256sum server-ca.crt | cut -d' ' -f1)
    printf 'K10%s::server:%s' "$hash" "$(openssl rand -hex 32)" >server-token
    printf 'K10%s::node:%s' "$hash" "$(openssl rand -hex 32)" >agent-token
  '';

  # A pod's image without a registry: a program that answers on a port.
  podImage = pkgs.dockerTools.buildImage {
    name = "keystone-hello";
    tag = "1";
    copyToRoot = pkgs.buildEnv {
      name = "hello";
      paths = [ pkgs.busybox ];
      pathsToLink = [ "/bin" ];
    };
    config.Cmd = [
      "/bin/sh"
      "-c"
      "mkdir -p /www && hostname >/www/index.html && exec httpd -f -p 8080 -h /www"
    ];
  };
in
{
  inherit
    host
    identities
    podImage
    snakeoil
    ;

  # Size of a virtual machine in MiB; not the usual 1024 or 2048, with which some QEMU builds hang.
  size = memorySize: {
    virtualisation = {
      inherit memorySize;
      cores = 2;
      diskSize = 8192;
    };
  };

  # One machine of the test: `hosts` are all of them, as `host` gives them.
  node = hosts: facts: {
    imports = [
      inputs.agenix.nixosModules.default
      ../modules/node.nix
    ];
    keystone = lib.recursiveUpdate cluster {
      host = facts;
      cluster.servers = map (h: { inherit (h) name role address meshName; }) (
        lib.filter (h: h.role == "primer" || h.role == "server") hosts
      );
      mesh.client.authorityFile = "${identities}/mesh-ca.crt";
      # nothing outside the test answers
      gitops.enable = false;
      adminTools.enable = false;
      k3s.airgapImages = true;
      monitoring.enable = false;
    };
    age.identityPaths = [ "/etc/ssh/ssh_host_ed25519_key" ];
    services.k3s.images = [ podImage ];
    # Test keys lie in the store, so a link takes the place of agenix.
    systemd.tmpfiles.settings."05-identities" = lib.listToAttrs (
      map
        (name: {
          name = "/run/agenix/${name}";
          value.C = {
            argument = "${identities}/${name}";
            mode = "0400";
            user = if lib.hasPrefix "mesh-tls" name || lib.hasPrefix "headscale" name then "headscale" else "root";
          };
        })
        (
          [ "agent-token" ]
          ++ lib.optional (facts.role != "agent") "server-token"
          ++ lib.optionals (facts.role == "primer") (
            lib.concatMap
              (ca: [
                "${ca}.crt"
                "${ca}.key"
              ])
              [
                "client-ca"
                "server-ca"
                "request-header-ca"
                "etcd--peer-ca"
                "etcd--server-ca"
              ]
            ++ [
              "service.key"
              "headscale-noise-key"
              "headscale-derp-key"
              "mesh-tls.crt"
              "mesh-tls-key"
            ]
          )
        )
    );
  };
}
