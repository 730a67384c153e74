# k3s on agents: they hold the agent token alone, with which no server can be added.
{ config, lib, ... }:
let
  inherit (config.keystone) derived;
in
{
  config = lib.mkIf (derived.isK3s && !derived.isServer) {
    services.k3s = {
      serverAddr = derived.joinUrl;
      tokenFile = derived.secrets.agent-token.path or "/run/agenix/agent-token";
    };
  };
}
