# The system of an EC2 pool's nodes: one image for all. What differs comes from instance metadata (version 2) and from
# SSM, read with the instance's own profile.
#
# User data, lines of WORD=VALUE without a secret (keystone/pools.py writes it; Karpenter's machines see no tags):
#   keystone-parameters   prefix of the SSM parameters: PREFIX/mesh-key and PREFIX/agent-token
#   keystone-labels       labels of the node, KEY=VALUE separated by commas
#   keystone-taints       taints of the node, KEY=VALUE:EFFECT separated by commas
{
  config,
  lib,
  modulesPath,
  pkgs,
  ...
}:
let
  inherit (config.keystone) mesh network;
  tailscale = lib.getExe config.services.tailscale.package;
  token = "/run/keystone/agent-token";
  folder = "/etc/rancher/k3s/config.yaml.d";
  # keeps pods away until the network plugin is there
  startupTaint = lib.optionalString (
    network.cni == "cilium"
  ) "node.cilium.io/agent-not-ready=true:NoExecute";
in
{
  config = {
    ec2.efi = true;
    system.build.poolImage = import "${modulesPath}/../lib/make-disk-image.nix" {
      inherit config lib pkgs;
      name = "keystone-pool-node";
      format = "raw"; # what `aws ec2 import-snapshot` takes
      diskSize = "auto";
      additionalSpace = "2G";
      partitionTableType = "efi";
    };

    # An image has no identity: name, address and keys are made at the first boot.
    networking.hostName = lib.mkForce "";
    services.k3s = {
      nodeName = lib.mkForce null;
      nodeLabel = lib.mkForce [ ];
      tokenFile = lib.mkForce token;
    };
    environment.etc."keystone/install.json".enable = false;
    services.openssh.enable = lib.mkForce false; # nodes are replaced, not repaired
    networking.firewall.allowedTCPPorts = lib.mkForce [ ];
    networking.useDHCP = lib.mkForce true;
    networking.useNetworkd = true;

    systemd.services.keystone-pool-join = {
      description = "Join mesh and cluster with what metadata and SSM say";
      wantedBy = [ "multi-user.target" ];
      before = [ "keystone-mesh-address.service" ];
      after = [
        "network-online.target"
        "tailscaled.service"
      ];
      wants = [ "network-online.target" ];
      path = [
        pkgs.awscli2
        pkgs.curl
        pkgs.gnused
        pkgs.jq
      ];
      serviceConfig = {
        Type = "exec";
        RemainAfterExit = true;
        # A machine that ends leaves the mesh at once; Headscale would forget its ephemeral node half an hour later.
        ExecStop = "-${tailscale} logout";
        Restart = "on-failure";
        RestartSec = 10;
        UMask = "0077";
      };
      script = ''
        session=$(curl --silent --fail --max-time 5 --retry 10 --retry-connrefused --request PUT \
          --header "X-aws-ec2-metadata-token-ttl-seconds: 300" http://169.254.169.254/latest/api/token)
        metadata() {
          curl --silent --fail --max-time 5 --header @<(printf 'X-aws-ec2-metadata-token: %s' "$session") \
            "http://169.254.169.254/latest/$1"
        }
        told() {
          printf '%s\n' "$told" | sed -n "s/^keystone-$1=//p"
        }
        parameter() {
          aws ssm get-parameter --with-decryption --output text --query Parameter.Value --name "$prefix/$1"
        }
        instance=$(metadata meta-data/instance-id)
        zone=$(metadata meta-data/placement/availability-zone)
        AWS_REGION=$(metadata meta-data/placement/region)
        told=$(metadata user-data)
        prefix=$(told parameters)
        labels=$(told labels)
        taints=$(told taints)
        export AWS_REGION

        mkdir -p ${dirOf token} ${folder}
        parameter agent-token >${token}.new
        mv ${token}.new ${token}
        jq -n --arg name "$instance" --arg zone "$zone" --arg region "$AWS_REGION" --arg labels "$labels" --arg taints "$taints" '{
          "node-name": $name,
          "node-label": (($labels | split(",")) + ["topology.kubernetes.io/region=" + $region, "topology.kubernetes.io/zone=" + $zone]),
          "node-taint": (($taints | split(",")) + (${builtins.toJSON startupTaint} | split(","))),
          "kubelet-arg": ["provider-id=aws:///" + $zone + "/" + $instance]
        }' >${folder}/40-instance.yaml

        if [ "$(${tailscale} status --json --peers=false | jq -r .BackendState)" != Running ]; then
          parameter mesh-key | ${tailscale} up --reset --timeout 120s --auth-key file:/dev/stdin \
            --login-server ${mesh.serverUrl} --hostname "$instance" --accept-routes
        fi
      '';
    };
    systemd.services.keystone-mesh-address.after = [ "keystone-pool-join.service" ];
  };
}
