# What the machine tells of itself: metrics on loopback, logs and metrics sent on by Alloy where the settings of a host
# file name a receiver. Nothing listens for others.
{ config, lib, ... }:
let
  cfg = config.keystone.monitoring;
  inherit (config.keystone) cluster host;
  exporter = config.services.prometheus.exporters.node;
  labels = ''{ cluster = "${cluster.name}", host = "${host.name}", role = "${host.role}" }'';
  endpoint =
    kind: name: url:
    lib.optionalString (url != null) ''
      ${kind} "${name}" {
        endpoint {
          url = "${url}"
        }
        external_labels = ${labels}
      }
    '';
in
{
  options.keystone.monitoring = {
    enable = lib.mkOption {
      type = lib.types.bool;
      default = true;
      example = false;
      description = "Whether the node exporter runs, on loopback.";
    };
    exporterPort = lib.mkOption {
      type = lib.types.port;
      default = 9101;
      example = 9200;
      description = "Port of the node exporter; 9100 stays free for one that runs in the cluster.";
    };
    lokiUrl = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = null;
      example = "http://loki.mesh.home.arpa:3100/loki/api/v1/push";
      description = "Where Alloy sends the journal; null keeps it on the machine.";
    };
    prometheusUrl = lib.mkOption {
      type = lib.types.nullOr lib.types.str;
      default = null;
      example = "http://prometheus.mesh.home.arpa:9090/api/v1/write";
      description = "Where Alloy sends the machine's metrics (remote write); null keeps them on the machine.";
    };
  };

  config = lib.mkIf cfg.enable {
    services.prometheus.exporters.node = {
      enable = true;
      listenAddress = "127.0.0.1";
      port = cfg.exporterPort;
      enabledCollectors = [
        "systemd"
        "processes"
      ]
      ++ lib.optional (host.layout == "zfs-luks") "zfs";
    };
    services.alloy = lib.mkIf (cfg.lokiUrl != null || cfg.prometheusUrl != null) {
      enable = true;
      extraFlags = [
        "--server.http.listen-addr=127.0.0.1:12345"
        "--disable-reporting"
      ];
    };
    environment.etc."alloy/config.alloy" = lib.mkIf config.services.alloy.enable {
      text =
        lib.optionalString (cfg.lokiUrl != null) ''
          loki.source.journal "host" {
            max_age       = "12h"
            relabel_rules = loki.relabel.journal.rules
            forward_to    = [loki.write.cluster.receiver]
          }
          loki.relabel "journal" {
            forward_to = []
            rule {
              source_labels = ["__journal__systemd_unit"]
              target_label  = "unit"
            }
            rule {
              source_labels = ["__journal_priority_keyword"]
              target_label  = "level"
            }
          }
        ''
        + endpoint "loki.write" "cluster" cfg.lokiUrl
        + lib.optionalString (cfg.prometheusUrl != null) ''
          prometheus.scrape "host" {
            targets    = [{ "__address__" = "127.0.0.1:${toString exporter.port}", "instance" = "${host.name}" }]
            forward_to = [prometheus.remote_write.cluster.receiver]
          }
        ''
        + endpoint "prometheus.remote_write" "cluster" cfg.prometheusUrl;
    };
  };
}
