# Joining a kubeadm cluster with the secrets that k3s nodes use: the agent token carries the hash of the cluster's
# authority, with which the API is known before it is trusted, and gives the bootstrap token.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  cfg = config.keystone.kubeadm;
  inherit (config.keystone) derived host;
  inherit (config.age) secretsDir;
  secret = name: derived.secrets.${name}.path or "${secretsDir}/${name}";
  tailscale = lib.getExe config.services.tailscale.package;
in
{
  config = lib.mkIf (derived.isKubeadm && !derived.isPrimer) {
    systemd.services.keystone-kubeadm-join = {
      description = "Join the cluster";
      wantedBy = [ "multi-user.target" ];
      after = [
        "containerd.service"
        "network-online.target"
        "tailscaled.service"
      ];
      wants = [
        "containerd.service"
        "network-online.target"
      ];
      path = config.systemd.services.kubelet.path ++ [
        pkgs.curl
        pkgs.jq
        pkgs.openssl
        pkgs.yq-go
      ];
      unitConfig.ConditionPathExists = [
        "!${cfg.marker}"
        "!/var/lib/keystone/removed"
      ];
      serviceConfig = {
        # exec: waiting for the Primer must not hold up the boot or a switch
        Type = "exec";
        Restart = "on-failure";
        RestartSec = 30;
        UMask = "0077";
        RuntimeDirectory = "keystone-kubeadm";
        RuntimeDirectoryMode = "0700";
      };
      script = ''
        ${cfg.start}
        agent_token=$(cat ${secret "agent-token"})
        wanted=''${agent_token#K10}
        wanted=''${wanted%%::*}
        digest=$({ printf 'bootstrap token:'; cat ${secret "agent-token"}; } | sha256sum)
        token="''${digest:0:6}.''${digest:6:16}"
        ${lib.optionalString derived.isServer cfg.prepare}

        node=${lib.escapeShellArg (builtins.toJSON cfg.nodeRegistration)}
        deadline=$((SECONDS + ${toString cfg.waitSeconds}))
        seen="no answer yet"
        late() {
          if [ "$SECONDS" -ge "$deadline" ]; then
            echo "waited ${toString cfg.waitSeconds} s for $1; last: $seen" >&2
            exit 1
          fi
          sleep 3
        }
        ${lib.optionalString derived.isRemote ''
          until address=$(${tailscale} ip -4 2>/dev/null) && [ -n "$address" ]; do
            seen="no mesh address"
            late "the mesh"
          done
          node=$(jq -c --arg address "$address" '.kubeletExtraArgs += [{name: "node-ip", value: $address}]' <<<"$node")
        ''}

        # The answer is not trusted yet; its authority must have the hash that the token carries.
        discovery=$RUNTIME_DIRECTORY/discovery.yaml
        until curl --silent --fail --insecure --max-time 10 \
          ${derived.joinUrl}/api/v1/namespaces/kube-public/configmaps/cluster-info |
          jq -er .data.kubeconfig >"$discovery"; do
          seen="${derived.joinUrl} gives no cluster-info"
          late "the Primer's API"
        done
        found=$(yq -r '.clusters[0].cluster."certificate-authority-data"' "$discovery" | base64 -d | sha256sum | cut -d' ' -f1)
        if [ "$found" != "$wanted" ]; then
          echo "${host.name}: the API at ${derived.joinUrl} shows the authority $found, the token wants $wanted. Is another cluster answering there?" >&2
          exit 1
        fi

        jq -n --argjson node "$node" --arg file "$discovery" --rawfile token <(printf %s "$token") ${lib.optionalString derived.isServer ''--rawfile key <(printf %s "$certificate_key") ''}'{
          apiVersion: "kubeadm.k8s.io/v1beta4", kind: "JoinConfiguration", nodeRegistration: $node,
          discovery: {file: {kubeConfigPath: $file}, tlsBootstrapToken: $token}
        }${
          lib.optionalString derived.isServer ''
            + {controlPlane: {
              certificateKey: $key,
              localAPIEndpoint: {advertiseAddress: "${host.address}", bindPort: ${toString derived.apiPort}}
            }}''
        }' >"$RUNTIME_DIRECTORY/join.yaml"
        kubeadm join --config "$RUNTIME_DIRECTORY/join.yaml"
        mv ${cfg.marker}.begun ${cfg.marker}
      '';
    };
  };
}
