"""The only place that names versions: one per line, each with the line that an update bot reads.

A line reads `NAME = "VERSION"  # renovate: datasource=SOURCE depName=PACKAGE`. Nothing here is "latest".
Python packages are pinned with hashes in `requirements.txt`, Go modules in `toolchain/modules/*/go.mod`; a test holds
that those files say the same as this one.
"""

# fmt: off
# One line each, however long.

# The engine and the SDKs that the program is written on.
PULUMI = "3.259.0"  # renovate: datasource=go depName=github.com/pulumi/pulumi/pkg/v3
PULUMI_LANGUAGE_PYTHON = "3.187.0"  # renovate: datasource=go depName=github.com/pulumi/pulumi/sdk/v3
PULUMI_KUBERNETES = "4.25.0"  # renovate: datasource=pypi depName=pulumi-kubernetes
PULUMI_COMMAND = "1.2.1"  # renovate: datasource=pypi depName=pulumi-command
PULUMI_POLICY = "1.21.0"  # renovate: datasource=pypi depName=pulumi-policy

# The cluster.
KUBERNETES = "1.36.2"  # renovate: datasource=go depName=k8s.io/kubernetes
ETCD = "3.7.1"  # renovate: datasource=go depName=go.etcd.io/etcd/server/v3
KWOK = "0.8.0"  # renovate: datasource=go depName=sigs.k8s.io/kwok

# The mesh.
HEADSCALE = "0.29.2"  # renovate: datasource=go depName=github.com/juanfont/headscale
TAILSCALE = "1.102.3"  # renovate: datasource=go depName=tailscale.com

# What checks the workflows.
ACTIONLINT = "1.7.12"  # renovate: datasource=go depName=github.com/rhysd/actionlint

# What checks alert rules, routes and the configurations of Alloy. Go numbers Prometheus 3.13.0 as 0.313.0.
PROMTOOL = "0.313.0"  # renovate: datasource=go depName=github.com/prometheus/prometheus
AMTOOL = "0.32.0"  # renovate: datasource=go depName=github.com/prometheus/alertmanager
ALLOY_SYNTAX = "0.1.0"  # renovate: datasource=go depName=github.com/grafana/alloy/syntax

# Where the names of metrics in dashboards and alerts are proven (toolchain/modules/metrics).
LOKI_METRICS = "3.7.6"  # renovate: datasource=go depName=github.com/grafana/loki/v3
BLACKBOX_METRICS = "0.28.0"  # renovate: datasource=go depName=github.com/prometheus/blackbox_exporter
NODE_METRICS = "1.11.1"  # renovate: datasource=go depName=github.com/prometheus/node_exporter
KUBE_STATE_METRICS = "2.18.0"  # renovate: datasource=go depName=k8s.io/kube-state-metrics/v2

# What copies off the site, for the tests of it; machines take theirs from nixpkgs, jobs from RCLONE_IMAGE.
RCLONE = "1.75.1"  # renovate: datasource=go depName=github.com/rclone/rclone
AGE = "1.3.2"  # renovate: datasource=go depName=filippo.io/age

# What builds them.
GO = "1.26.6"  # renovate: datasource=golang-version depName=go

# The charts of the catalogue (`keystone/charts/`). CNI and GitOps engine are pinned by hash in nix/lib/charts.json.
ACK_EC2_CHART = "1.20.0"  # renovate: datasource=docker depName=public.ecr.aws/aws-controllers-k8s/ec2-chart
ACK_EKS_CHART = "1.20.0"  # renovate: datasource=docker depName=public.ecr.aws/aws-controllers-k8s/eks-chart
ACK_IAM_CHART = "1.8.1"  # renovate: datasource=docker depName=public.ecr.aws/aws-controllers-k8s/iam-chart
ACK_RDS_CHART = "1.11.1"  # renovate: datasource=docker depName=public.ecr.aws/aws-controllers-k8s/rds-chart
ACK_S3_CHART = "1.10.0"  # renovate: datasource=docker depName=public.ecr.aws/aws-controllers-k8s/s3-chart
ALLOY_CHART = "1.11.1"  # renovate: datasource=helm depName=alloy registryUrl=https://grafana.github.io/helm-charts
CERT_MANAGER_CHART = "1.21.1"  # renovate: datasource=docker depName=quay.io/jetstack/charts/cert-manager
CEPH_CSI_CHART = "1.0.4"  # renovate: datasource=github-releases depName=ceph/ceph-csi-operator
CLOUD_PROVIDER_AWS = "1.35.0"  # renovate: datasource=github-tags depName=kubernetes/cloud-provider-aws
CLOUD_PROVIDER_AWS_CHART = "0.0.11"  # renovate: datasource=helm depName=aws-cloud-controller-manager registryUrl=https://kubernetes.github.io/cloud-provider-aws
CLUSTER_AUTOSCALER = "1.36.1"  # renovate: datasource=docker depName=registry.k8s.io/autoscaling/cluster-autoscaler
CLUSTER_AUTOSCALER_CHART = "9.59.0"  # renovate: datasource=helm depName=cluster-autoscaler registryUrl=https://kubernetes.github.io/autoscaler
CROSSPLANE_CHART = "2.3.4"  # renovate: datasource=helm depName=crossplane registryUrl=https://charts.crossplane.io/stable
CROSSPLANE_AWS = "2.6.0"  # renovate: datasource=github-releases depName=crossplane-contrib/provider-upjet-aws
CROSSPLANE_AZURE = "2.5.2"  # renovate: datasource=github-releases depName=crossplane-contrib/provider-upjet-azure
CROSSPLANE_GCP = "2.5.1"  # renovate: datasource=github-releases depName=crossplane-contrib/provider-upjet-gcp
EBS_CSI_CHART = "2.64.0"  # renovate: datasource=helm depName=aws-ebs-csi-driver registryUrl=https://kubernetes-sigs.github.io/aws-ebs-csi-driver
EFS_CSI_CHART = "4.4.1"  # renovate: datasource=helm depName=aws-efs-csi-driver registryUrl=https://kubernetes-sigs.github.io/aws-efs-csi-driver
EXTERNAL_DNS_CHART = "1.21.1"  # renovate: datasource=helm depName=external-dns registryUrl=https://kubernetes-sigs.github.io/external-dns
INGRESS_NGINX_CHART = "4.15.1"  # renovate: datasource=github-tags depName=kubernetes/ingress-nginx
ISTIO_CHART = "1.30.3"  # renovate: datasource=github-releases depName=istio/istio
KARPENTER_CHART = "1.14.1"  # renovate: datasource=docker depName=public.ecr.aws/karpenter/karpenter
KUBE_PROMETHEUS_CHART = "88.5.3"  # renovate: datasource=helm depName=kube-prometheus-stack registryUrl=https://prometheus-community.github.io/helm-charts
KUBELET_CSR_APPROVER_CHART = "1.2.14"  # renovate: datasource=helm depName=kubelet-csr-approver registryUrl=https://postfinance.github.io/kubelet-csr-approver
LINKERD_CHART = "2026.8.3"  # renovate: datasource=helm depName=linkerd-crds registryUrl=https://helm.linkerd.io/edge
LOCAL_PATH_CHART = "0.0.37"  # renovate: datasource=github-tags depName=containeroo/helm-charts
LOKI_CHART = "18.11.0"  # renovate: datasource=docker depName=ghcr.io/grafana-community/helm-charts/loki
LONGHORN_CHART = "1.12.1"  # renovate: datasource=helm depName=longhorn registryUrl=https://charts.longhorn.io
METALLB_CHART = "0.16.1"  # renovate: datasource=helm depName=metallb registryUrl=https://metallb.github.io/metallb
METRICS_SERVER_CHART = "3.13.1"  # renovate: datasource=helm depName=metrics-server registryUrl=https://kubernetes-sigs.github.io/metrics-server
NODE_TERMINATION_HANDLER_CHART = "0.27.6"  # renovate: datasource=docker depName=public.ecr.aws/aws-ec2/helm/aws-node-termination-handler
OPENEBS_CHART = "4.5.1"  # renovate: datasource=helm depName=openebs registryUrl=https://openebs.github.io/openebs
POD_IDENTITY_WEBHOOK_CHART = "2.6.5"  # renovate: datasource=docker depName=ghcr.io/jkroepke/helm-charts/amazon-eks-pod-identity-webhook
PROXMOX_CSI_CHART = "0.5.9"  # renovate: datasource=docker depName=ghcr.io/sergelogvinov/charts/proxmox-csi-plugin
ROOK_CHART = "1.20.6"  # renovate: datasource=helm depName=rook-ceph registryUrl=https://charts.rook.io/release
TRAEFIK_CHART = "41.3.0"  # renovate: datasource=helm depName=traefik registryUrl=https://traefik.github.io/charts
VPA_CHART = "0.11.0"  # renovate: datasource=helm depName=vertical-pod-autoscaler registryUrl=https://kubernetes.github.io/autoscaler
BUSYBOX_IMAGE = "1.37.0@sha256:bdf57e528e45e4433820e045b29b4597825a1c9e38353532d90a01445013f82e"  # renovate: datasource=docker depName=docker.io/library/busybox
CLOUDFLARED_IMAGE = "2026.8.2@sha256:0aa26e284f05e6c77ae375b8c9c11d9eb6a448fb7bcd8d40f31cb6176189eb38"  # renovate: datasource=docker depName=docker.io/cloudflare/cloudflared
RCLONE_IMAGE = "1.75.1@sha256:45401ad7410db1d67ffdb58e19059ad20b0d8e0285a60e38bbec55cc1019c7a5"  # renovate: datasource=docker depName=docker.io/rclone/rclone
CEPH_IMAGE = "20.2.4"  # renovate: datasource=docker depName=quay.io/ceph/ceph

# The Go modules whose definitions of custom resources the catalogue is proven against (toolchain/modules/crds). Where
# one is older than its chart, keystone/charts/newer.py lists what we use and it lacks.
ARGO_CD_CRDS = "3.3.0"  # renovate: datasource=go depName=github.com/argoproj/argo-cd/v3
CERT_MANAGER_CRDS = "1.20.0"  # renovate: datasource=go depName=github.com/cert-manager/cert-manager
CILIUM_CRDS = "1.20.0"  # renovate: datasource=go depName=github.com/cilium/cilium
FLUX_HELM_CRDS = "1.4.0"  # renovate: datasource=go depName=github.com/fluxcd/helm-controller
FLUX_KUSTOMIZE_CRDS = "1.6.0"  # renovate: datasource=go depName=github.com/fluxcd/kustomize-controller
FLUX_SOURCE_CRDS = "1.7.0"  # renovate: datasource=go depName=github.com/fluxcd/source-controller
LONGHORN_CRDS = "1.9.0"  # renovate: datasource=go depName=github.com/longhorn/longhorn-manager
PROMETHEUS_CRDS = "0.85.0"  # renovate: datasource=go depName=github.com/prometheus-operator/prometheus-operator
ROOK_CRDS = "1.18.8"  # renovate: datasource=go depName=github.com/rook/rook
METALLB_CRDS = "0.15.2"  # renovate: datasource=go depName=go.universe.tf/metallb
EXTERNAL_DNS_CRDS = "0.20.0"  # renovate: datasource=go depName=sigs.k8s.io/external-dns
GATEWAY_API_CRDS = "1.5.0"  # renovate: datasource=go depName=sigs.k8s.io/gateway-api
KARPENTER_CRDS = "1.8.0"  # renovate: datasource=go depName=sigs.k8s.io/karpenter
