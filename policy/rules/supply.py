"""Where things come from: charts, sources and images are pinned and fetched safely, providers are our own."""

import re
from typing import Any

from judging.kinds import ANY, custom, sdk
from judging.resource import Resource, is_map, is_true, strings
from judging.rule import ABSENT, CRITICAL, HIGH, MEDIUM, Finding, Findings, rule, show

from rules import charts, workloads

EXACT = re.compile(r"^v?\d+\.\d+\.\d+(?:[-+][0-9A-Za-z.+-]+)?$")
DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
MOVING = ("latest", "stable", "edge", "nightly", "main", "master", "dev")
ROLLING = ("latest-", "stable-", "edge-", "nightly-")
TAGS = ("tag", "imageTag")
TAG = re.compile(r":[\w][\w.-]*$")
SOURCES = custom("source.toolkit.fluxcd.io/v1", "HelmRepository", "OCIRepository", "GitRepository")
OCI = custom("source.toolkit.fluxcd.io/v1", "OCIRepository")
REMOTE = sdk("pulumi_command.remote", "Command", "CopyToRemote", "CopyFile")
LOCAL = sdk("pulumi_command.local", "Command")
LINES = ("create", "update", "delete")
# How ssh is told to take any key, or a key that nobody compared.
UNCHECKED = re.compile(
    r"(?i)StrictHostKeyChecking[= ]+[\"']?(?:no|off|accept-new)\b|UserKnownHostsFile[= ]+[\"']?/dev/null"
    r"|\bssh-keyscan\b[^\n;&|]*>"
)
CREDENTIALED = ("aws", "kubernetes", "cloudflare")
# Packages whose providers reach nothing but what their resources name.
HARMLESS = ("pulumi", "keystone", "command", "random", "tls", "std", "time")
# Components of the Kubernetes SDK: they have no provider, and what they make is judged one by one with its own.
GROUPS = (
    *sdk("pulumi_kubernetes.yaml.v2", "ConfigFile", "ConfigGroup"),
    *sdk("pulumi_kubernetes.kustomize.v2", "Directory"),
    *charts.RENDERED,
    "kubernetes:yaml:ConfigFile",
    "kubernetes:yaml:ConfigGroup",
    "kubernetes:kustomize:Directory",
)
# As the engine calls the providers that it makes itself.
AMBIENT = re.compile(r"default(_[\d_]+)?$")
AMI_OWNERS = ("427812963091", "self")


@rule(
    "chart-pinned",
    "A chart has one exact version",
    charts.CHARTS,
    HIGH,
    cure="Take the version from versions.py",
    reference="OWASP Kubernetes Top Ten 2022, K02",
    guards={
        "spec.chart.spec.version": ("*", "^1.0.0", "1.x", "latest", ABSENT),
        "spec.source.targetRevision": ("HEAD", "1.*", ABSENT),
        "version": ("latest", ABSENT),
    },
)
def chart(it: Resource) -> Findings:
    if it.kind in charts.FLUX and it.at("spec.chartRef"):
        return  # its source is pinned, by a rule of its own
    if it.kind in charts.ARGO and not it.at("spec.source.chart"):
        return  # no chart: a folder of the user's own repository
    if not it.kind.startswith("kubernetes:helm.sh") or it.at("version") is not None or not _local(it.at("chart")):
        version = charts.version(it)
        if not isinstance(version, str) or not EXACT.match(version):
            yield Finding("version", show(version), "it must be one exact version")


@rule(
    "chart-values-seen",
    "All values of a chart lie where the other rules see them",
    charts.CHARTS,
    CRITICAL,
    cure="Give one source, and the values in values (Argo CD: spec.source.helm.valuesObject), each secret one by a "
    "Secret and its targetPath (Flux: valuesFrom)",
    reference="OWASP Top 10 2021, A05",
    guards={
        "spec.sources": ([{"repoURL": "http://charts.example.org", "chart": "x", "targetRevision": "*"}],),
        "spec.source.helm.values": ("replicas: 2",),
        "spec.source.helm.parameters": ([{"name": "replicas", "value": "2"}],),
        "spec.source.helm.fileParameters": ([{"name": "config", "path": "files/x"}],),
        "spec.source.helm.valueFiles": (["values-site.yaml"],),
        "spec.chart.spec.valuesFiles": (["values-site.yaml"],),
        "spec.valuesFrom": ([{"kind": "ConfigMap", "name": "x"}], [{"kind": "Secret", "name": "x"}]),
        "valueYamlFiles": ([{"path": "values.yaml"}],),
    },
)
def values_seen(it: Resource) -> Findings:
    for path in charts.UNSEEN:
        if it.at(path):
            yield Finding(path, "set", "no rule reads what stands there")
    for path, one in it.each("spec.valuesFrom"):
        if one.get("kind") != "Secret" or not one.get("targetPath"):
            yield Finding(path, "not one value of a Secret", "no rule reads what stands there")


@rule(
    "chart-told",
    "A chart is brought by what tells its version and its values",
    charts.RENDERED,
    HIGH,
    cure="Take kubernetes.helm.v3.Release, or a release of the GitOps engine",
    reference="OWASP Kubernetes Top Ten 2022, K02",
)
def told(it: Resource) -> Findings:
    yield Finding("the resource", it.kind.removeprefix("kubernetes:"), "its version and its values are told to nobody")


def _local(chart_name: Any) -> bool:
    return isinstance(chart_name, str) and chart_name.startswith(("./", "/"))


@rule(
    "source-pinned",
    "An OCI source has one exact tag or digest",
    OCI,
    HIGH,
    cure="Set ref.digest, or ref.tag to one exact version",
    reference="OWASP Kubernetes Top Ten 2022, K02",
    guards={"spec.ref.tag": ("latest", "1", ABSENT), "spec.ref": ({"semver": ">=1.0.0"}, ABSENT)},
)
def source(it: Resource) -> Findings:
    tag, digest = it.at("spec.ref.tag"), it.at("spec.ref.digest")
    if isinstance(digest, str) and DIGEST.search(f"@{digest}"):
        return
    if not isinstance(tag, str) or not EXACT.match(tag):
        yield Finding("spec.ref", show(tag), "it must have a digest or an exact tag")


@rule(
    "source-over-tls",
    "Charts and manifests are fetched over TLS or SSH",
    SOURCES,
    HIGH,
    cure="Use an https, oci or ssh URL, and leave insecure out",
    reference="OWASP Top 10 2021, A08",
    guards={"spec.url": ("http://charts.example.org",), "spec.insecure": (True,)},
)
def source_tls(it: Resource) -> Findings:
    url = it.at("spec.url")
    if not isinstance(url, str) or not url.startswith(("https://", "oci://", "ssh://", "git@")):
        yield Finding("spec.url", show(url), "it must begin with https://, oci:// or ssh://")
    if is_true(it.at("spec.insecure")):
        yield Finding("spec.insecure", "true", "what is fetched could be exchanged on the way")


@rule(
    "helm-repository-over-tls",
    "Charts that Pulumi or Argo CD fetches come over TLS",
    (*charts.ARGO, *charts.HELM),
    HIGH,
    cure="Use an https, oci or ssh URL",
    reference="OWASP Top 10 2021, A08",
    guards={
        "spec.source.repoURL": ("http://charts.example.org",),
        "repositoryOpts.repo": ("http://charts.example.org",),
    },
)
def helm_tls(it: Resource) -> Findings:
    for path in ("spec.source.repoURL", "repositoryOpts.repo"):
        url = it.at(path)
        if isinstance(url, str) and url.startswith(("http://", "git://", "ftp://")):
            yield Finding(path, url, "what is fetched could be exchanged on the way")


@rule(
    "image-pinned",
    "Images that we name are pinned by digest",
    workloads.WORKLOADS,
    HIGH,
    cure="Add @sha256:... to the image's name, from versions.py",
    reference="OWASP Kubernetes Top Ten 2022, K02",
    guards={
        "spec.template.spec.containers.0.image": ("nginx", "nginx:1.27.0", "ghcr.io/x/y:latest"),
        "spec.containers.0.image": ("nginx:1.27.0",),
    },
)
def image(it: Resource) -> Findings:
    for path, container in workloads.containers(it):
        name = container.get("image")
        if name is None and (it.kind.endswith("Patch") or it.kind in workloads.RUNTIMES):
            continue  # it leaves the image alone
        if not isinstance(name, str) or not DIGEST.search(name):
            yield Finding(f"{path}.image", show(name), "it must end with a digest")


@rule(
    "chart-image-pinned",
    "No chart's values choose an image that changes under its name",
    charts.CHARTS,
    HIGH,
    cure="Leave the tag to the chart's version, or name one exact tag or a digest",
    reference="OWASP Kubernetes Top Ten 2022, K02",
    guards={
        "spec.values.image.tag": ("latest", "main", "nightly"),
        "spec.values.image": ("nginx:latest",),
    },
)
def chart_image(it: Resource) -> Findings:
    path, values = charts.values(it)
    for place, key, text in strings(values, path):
        if (key in TAGS and _moves(text)) or (key == "image" and _moves(text.rpartition(":")[2])):
            yield Finding(place, text, "what runs there would change without a change here")


def _moves(tag: str) -> bool:
    """Whether a tag names the newest of a kind, such as latest or latest-alpine."""
    return tag in MOVING or (tag.startswith(ROLLING) and "@" not in tag)


@rule(
    "operand-image-pinned",
    "An operator's image in a custom resource has an exact tag or a digest",
    (
        *custom("ceph.rook.io/v1", "CephCluster"),
        *custom("vault.banzaicloud.com/v1alpha1", "Vault"),
        *custom("pkg.crossplane.io/v1", "Provider", "Configuration", "Function"),
    ),
    HIGH,
    cure="Take the image's version from versions.py",
    reference="OWASP Kubernetes Top Ten 2022, K02",
    guards={
        "spec.cephVersion.image": ("quay.io/ceph/ceph", "quay.io/ceph/ceph:latest"),
        "spec.image": ("hashicorp/vault",),
        "spec.package": ("xpkg.crossplane.io/upbound/provider-aws-s3", "xpkg.crossplane.io/x/y:latest"),
    },
)
def operand(it: Resource) -> Findings:
    for path in ("spec.cephVersion.image", "spec.image", "spec.bankVaultsImage", "spec.package"):
        name = it.at(path)
        if isinstance(name, str) and not DIGEST.search(name) and (not TAG.search(name) or name.endswith(":latest")):
            yield Finding(path, name, "it must have an exact tag or a digest")


@rule(
    "host-key-pinned",
    "A command on another machine checks that machine's host key",
    (*REMOTE, *LOCAL),
    CRITICAL,
    cure="Set host_key in the connection, and in its proxy; give ssh a UserKnownHostsFile with the key, and "
    "StrictHostKeyChecking=yes",
    reference="OWASP Top 10 2021, A08",
    guards={
        "connection.hostKey": ("", ABSENT),
        "connection.proxy": ({"host": "203.0.113.9"},),
        "create": ("ssh -o StrictHostKeyChecking=no root@192.168.7.31 reboot",),
        "delete": ("scp -oUserKnownHostsFile=/dev/null x root@192.168.7.31:",),
    },
)
def host_key(it: Resource) -> Findings:
    for path in LINES:
        line = it.at(path)
        if isinstance(line, str) and (found := UNCHECKED.search(line)):
            yield Finding(path, f"with {found[0].strip()}", "whoever answers would get the command and its input")
    if it.kind in LOCAL:
        return
    for path in ("connection", "connection.proxy"):
        if (path == "connection" or is_map(it.at(path))) and not it.at(f"{path}.hostKey"):
            yield Finding(f"{path}.hostKey", "not set", "whoever answers would get the command and its input")


@rule(
    "image-of-known-owner",
    "Machines start from images of ours or of the NixOS project",
    custom("karpenter.k8s.aws/v1", "EC2NodeClass"),
    HIGH,
    cure=f"Give every amiSelectorTerms an owner of {' or '.join(AMI_OWNERS)}, or an id",
    reference="OWASP Top 10 2021, A08",
    guards={"spec.amiSelectorTerms.0.owner": ("123456789012", ABSENT), "spec.amiSelectorTerms": ([], ABSENT)},
)
def ami(it: Resource) -> Findings:
    count = 0
    for path, one in it.each("spec.amiSelectorTerms"):
        count += 1
        if not one.get("id") and one.get("owner") not in AMI_OWNERS:
            yield Finding(f"{path}.owner", show(one.get("owner")), "anybody may publish an image of that name")
    if not count:
        yield Finding("spec.amiSelectorTerms", "empty", "it must name the images")


@rule(
    "no-default-provider",
    "Every resource of a cloud or the cluster uses a provider that the program made",
    (ANY,),
    HIGH,
    cure="Pass a provider of providers.py by providers=[...]",
    reference="OWASP Top 10 2021, A05",
)
def own_provider(it: Resource) -> Findings:
    package = it.kind.partition(":")[0]
    if it.kind.startswith("pulumi:providers:"):
        package, provider = it.kind.rpartition(":")[2], it.name
    else:
        provider = it.provider
    # Only a component has none: those of other packages are the user's own.
    missing = not provider and package in CREDENTIALED and it.kind not in GROUPS
    ambient = missing or (package not in HARMLESS and bool(AMBIENT.match(provider)))
    if ambient:
        yield Finding("the provider", it.provider or it.name, "it takes whatever account the environment has")


@rule(
    "ami-not-shared",
    "No image and no snapshot is given to others",
    sdk("pulumi_aws.ec2", "AmiLaunchPermission", "SnapshotCreateVolumePermission"),
    MEDIUM,
    cure="Remove it, or write an exception that names the account",
    reference="OWASP Top 10 2021, A01",
)
def not_shared(it: Resource) -> Findings:
    yield Finding("the resource", it.kind.rpartition(":")[2], "disks may hold secrets")


RULES = (
    chart,
    values_seen,
    told,
    source,
    source_tls,
    helm_tls,
    image,
    chart_image,
    operand,
    host_key,
    ami,
    own_provider,
    not_shared,
)
