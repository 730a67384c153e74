"""The only place that names versions: one per line, each with the line that an update bot reads.

A line reads `NAME = "VERSION"  # renovate: datasource=SOURCE depName=PACKAGE`. Nothing here is "latest".
Python packages are pinned with hashes in `requirements.txt`, Go modules in `toolchain/modules/*/go.mod`; a test holds
that those files say the same as this one.
"""

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

# What builds them.
GO = "1.26.6"  # renovate: datasource=golang-version depName=go
