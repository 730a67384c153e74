{ lib, ... }: { options.keystone.edge.ports = lib.mkOption { type = lib.types.listOf lib.types.port; default = [ 443 ]; }; }
