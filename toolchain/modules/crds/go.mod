// Sources of the definitions of custom resources (and of charts' value schemas) that the twin reads. Nothing is built:
// each module is downloaded on its own and proven by go.sum, so their dependencies do not matter here.
module keystone/toolchain/crds

go 1.26.0

require (
	github.com/argoproj/argo-cd/v3 v3.3.0
	github.com/cert-manager/cert-manager v1.20.0
	github.com/cilium/cilium v1.20.0
	github.com/fluxcd/helm-controller v1.4.0
	github.com/fluxcd/kustomize-controller v1.6.0
	github.com/fluxcd/source-controller v1.7.0
	github.com/longhorn/longhorn-manager v1.9.0
	github.com/prometheus-operator/prometheus-operator v0.85.0
	github.com/rook/rook v1.18.8
	go.universe.tf/metallb v0.15.2
	sigs.k8s.io/external-dns v0.20.0
	sigs.k8s.io/gateway-api v1.5.0
	sigs.k8s.io/karpenter v1.8.0
)
