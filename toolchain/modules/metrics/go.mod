// Sources of the metrics that dashboards and alerts name. Nothing is built: each module is downloaded on its own and
// proven by go.sum, so their dependencies do not matter here.
module keystone/toolchain/metrics

go 1.26.0

require (
	github.com/grafana/loki/v3 v3.7.6
	github.com/prometheus/blackbox_exporter v0.28.0
	github.com/prometheus/node_exporter v1.11.1
	k8s.io/kube-state-metrics/v2 v2.18.0
)
