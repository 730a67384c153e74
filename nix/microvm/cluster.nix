# A cluster of small virtual machines with internet, for trying charts and images: `nix run .#cluster`. Each machine
# has QEMU's user network, where only the host (10.0.2.2) can be reached; so the machines meet over the mesh's relay.
{ inputs, pkgs }:
let
  inherit (inputs.nixpkgs) lib;
  lib' = import ../tests/lib.nix { inherit inputs pkgs; };
  apiPort = 16443;
  meshPort = 18080;
  workers = [
    "w1"
    "w2"
    "w3"
  ];
  facts =
    number: name: role:
    lib'.host number name role {
      remote = role == "agent";
      address = "10.0.2.15";
      site = {
        name = "qemu";
        cidr = "10.0.2.0/24";
        gateway = "10.0.2.2";
        nameservers = [ "10.0.2.3" ];
        addressing = "dhcp-reservation";
      };
    };
  hosts = [ (facts 1 "primer" "primer") ] ++ lib.imap1 (n: name: facts (n + 1) name "agent") workers;

  common = host: {
    imports = [
      inputs.microvm.nixosModules.microvm
      (lib'.node hosts host)
    ];
    nixpkgs.hostPlatform = "x86_64-linux";
    keystone = {
      mesh.serverUrl = lib.mkForce "https://10.0.2.2:${toString meshPort}";
      cluster.api = {
        endpoint = lib.mkForce "https://127.0.0.1:${toString apiPort}";
        sans = lib.mkForce [
          "127.0.0.1"
          "10.0.2.2"
        ];
      };
    };
    networking.useNetworkd = true;
    systemd.network.networks."10-qemu" = {
      matchConfig.Type = "ether";
      networkConfig.DHCP = "ipv4";
    };
    microvm = {
      hypervisor = "qemu";
      vcpu = 2;
      mem = if host.role == "primer" then 3072 else 1536;
      interfaces = [
        {
          type = "user";
          id = "qemu";
          inherit (host) mac;
        }
      ];
      shares = [
        {
          proto = "9p";
          tag = "ro-store";
          source = "/nix/store";
          mountPoint = "/nix/.ro-store";
        }
        {
          # where the Primer leaves the key for joining
          proto = "9p";
          tag = "exchange";
          source = "exchange";
          mountPoint = "/exchange";
        }
      ];
      volumes = [
        {
          image = "${host.name}.img";
          mountPoint = "/var";
          size = 8192;
        }
      ];
    };
    systemd.services.join-mesh = {
      description = "Join the mesh with the key that the Primer leaves";
      wantedBy = [ "multi-user.target" ];
      after = [ "tailscaled.service" ];
      path = [ pkgs.tailscale ];
      serviceConfig = {
        Type = "exec";
        Restart = "on-failure";
        RestartSec = 5;
      };
      script = ''
        test -s /exchange/mesh-key
        tailscale up --timeout 60s --auth-key file:/exchange/mesh-key --accept-dns \
          --login-server https://10.0.2.2:${toString meshPort}
      '';
    };
  };

  primer = {
    services.headscale.port = lib.mkForce 8080;
    networking.firewall.allowedTCPPorts = [ 8080 ];
    microvm.forwardPorts = [
      {
        from = "host";
        host.address = "127.0.0.1";
        host.port = apiPort;
        guest.port = 6443;
      }
      {
        from = "host";
        host.address = "127.0.0.1";
        host.port = meshPort;
        guest.port = 8080;
      }
    ];
    systemd.services.leave-key = {
      description = "Let everybody reach everybody, and leave a key for joining";
      wantedBy = [ "multi-user.target" ];
      after = [ "headscale.service" ];
      path = [
        pkgs.headscale
        pkgs.jq
      ];
      serviceConfig = {
        Type = "exec";
        Restart = "on-failure";
        RestartSec = 5;
      };
      script = ''
        printf '%s' '{"tagOwners": {"tag:node": []}, "acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}' >/run/policy.json
        headscale policy set --file /run/policy.json
        headscale preauthkeys create --reusable --expiration 24h --tags tag:node --output json | jq -er .key >/exchange/.key
        mv /exchange/.key /exchange/mesh-key
        cp /etc/rancher/k3s/k3s.yaml /exchange/.kubeconfig
        sed -i 's/:6443/:${toString apiPort}/' /exchange/.kubeconfig
        mv /exchange/.kubeconfig /exchange/kubeconfig
      '';
    };
  };

  machine =
    host:
    lib.nixosSystem {
      modules = [ (common host) ] ++ lib.optional (host.role == "primer") primer;
    };
  machines = map (host: {
    inherit (host) name;
    runner = (machine host).config.microvm.declaredRunner;
  }) hosts;
in
{
  inherit machines;

  run = pkgs.writeShellApplication {
    name = "keystone-cluster";
    text = ''
      # Starts the Primer and its workers; ends them when it is interrupted. --workers N takes fewer than three.
      workers=3
      if [ "''${1:-}" = --workers ]; then
        workers=''${2:?--workers wants a number from 0 to 3}
      fi
      case $workers in
        [0-3]) ;;
        *) echo "--workers: $workers is not a number from 0 to 3" >&2; exit 2 ;;
      esac

      # a fresh folder each time: disks of an earlier run have misled before
      state=$(mktemp -d)
      mkdir "$state/exchange"
      cd "$state"
      started=()
      finish() {
        for pid in "''${started[@]}"; do
          kill "$pid" 2>/dev/null || true
        done
        wait
        rm -rf "$state"
      }
      trap finish EXIT
      trap exit INT TERM

      start() {
        "$2/bin/microvm-run" >"$1.log" 2>&1 &
        started+=("$!")
      }
      left=$((workers + 1))
      ${lib.concatMapStrings (m: ''
        if [ "$left" -gt 0 ]; then
          start ${m.name} ${m.runner}
          left=$((left - 1))
        fi
      '') machines}

      echo "logs: $state/*.log"
      for second in $(seq 600); do
        if [ -s exchange/kubeconfig ]; then
          echo "the cluster is up after $second s"
          echo "  Kubernetes: https://127.0.0.1:${toString apiPort}, KUBECONFIG=$state/exchange/kubeconfig"
          echo "  mesh:       https://127.0.0.1:${toString meshPort}"
          echo "Ctrl-C ends it."
          wait "''${started[0]}"
          exit
        fi
        sleep 1
      done
      echo "no cluster after 600 s; the Primer's last lines:" >&2
      tail -n 20 primer.log >&2
      exit 1
    '';
  };
}
