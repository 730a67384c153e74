"""No credential in anything that is stored in plain text: Secrets' static keys, ConfigMaps, environments, commands."""

import base64
import re
from collections.abc import Iterator
from typing import Any

from judging.credentials import decoded, find, formatted, given, known
from judging.kinds import custom, sdk
from judging.resource import Resource, pairs, strings
from judging.rule import ABSENT, CRITICAL, HIGH, Finding, Findings, rule
from pulumi_policy.proxy import UnknownValueError

from rules import charts, clouds, workloads

LOCAL = sdk("pulumi_command.local", "Command")
REMOTE = sdk("pulumi_command.remote", "Command")
LINES = ("create", "update", "delete")
MACHINES = sdk("pulumi_aws.ec2", "LaunchTemplate", "Instance", "SpotInstanceRequest", "LaunchConfiguration")
NODE_CLASS = custom("karpenter.k8s.aws/v1", "EC2NodeClass")
FUNCTION = sdk("pulumi_aws.lambda_", "Function")
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
GROUPS = (*clouds.GCP, *clouds.AZURE)
USER_DATA = (
    *("userData", "userDataBase64", "spec.userData"),
    *(f"spec.forProvider.{key}" for key in ("userData", "customData", "metadataStartupScript")),
)
METADATA = "spec.forProvider.metadata"
# Put together here so that no scanner of this repository takes it for a real one.
SAMPLE = "ghp_" + "A1b2C3d4E5f6" * 3
SAMPLE_LINE = f"export GITHUB_TOKEN={SAMPLE}"
# A TLS key, a tunnel's token, a password of the cluster's own database: that is where their readers take them from.
KEPT_IN_SECRETS = ("private key", "cloudflare tunnel token", "secret keyword", "basic auth credentials")
HIDDEN = "it would be stored and shown in plain text"


@rule(
    "secret-no-static-key",
    "No Kubernetes Secret carries a static key of a cloud, of the mesh or of the cluster",
    sdk("pulumi_kubernetes.core.v1", "Secret", "SecretPatch"),
    CRITICAL,
    cure="Let the workload get a short-lived token itself (web identity, External Secrets), or seal the value",
    reference="OWASP Kubernetes Top Ten 2022, K08",
    guards={"stringData.key": (SAMPLE, "AKIA" + "IOSFODNN7EXAMPLE"), "data.key": ("QUtJQUlPU0ZPRE5ON0VYQU1QTEU=",)},
)
def secret(it: Resource) -> Findings:
    for field in ("data", "stringData"):
        for path, key, text in strings(it.at(field), field):
            plain = decoded(text) if field == "data" else text
            kind = known(plain) or formatted(f"{key}={plain}")
            if kind and kind.lower() not in KEPT_IN_SECRETS:
                yield Finding(path, f"a credential ({kind})", "a static key never ends and is copied with its Secret")


def _plain(it: Resource, *paths: str) -> Findings:
    for start in paths:
        yield from _told(it.at(start), start)


def _told(value: Any, start: str) -> Findings:
    """The credentials in the texts below a value, by their own key or by the name that stands beside them."""
    told: set[str] = set()
    unknown: UnknownValueError | None = None
    for visit in (pairs, strings):
        try:
            for path, name, text in visit(value, start):
                if path not in told and (kind := find(name, text)):
                    told.add(path)
                    yield Finding(path, f"a credential ({kind})", HIDDEN)
        except UnknownValueError as error:  # it hides no other
            unknown = unknown or error
    if unknown:
        raise unknown


@rule(
    "config-map-no-credentials",
    "No ConfigMap carries a credential",
    sdk("pulumi_kubernetes.core.v1", "ConfigMap", "ConfigMapPatch"),
    HIGH,
    cure="Put it into a Secret that is sealed or comes from External Secrets",
    reference="OWASP Kubernetes Top Ten 2022, K08",
    guards={"data.TOKEN": (SAMPLE,), "data.password": ("hunter2-hunter2",)},
)
def config_map(it: Resource) -> Findings:
    yield from _plain(it, "data")
    for path, key, text in strings(it.at("binaryData"), "binaryData"):
        kind = find(key, decoded(text))
        if kind:
            yield Finding(path, f"a credential ({kind})", HIDDEN)


@rule(
    "environment-no-credentials",
    "No container and no function gets a credential as a plain environment variable, argument or probe",
    (*workloads.WORKLOADS, *FUNCTION),
    HIGH,
    cure="Mount it as a file from a Secret",
    reference="CIS Kubernetes 1.8, 5.4.1",
    guards={
        "spec.template.spec.containers.0.env.0": ({"name": "API_TOKEN", "value": SAMPLE},),
        "spec.template.spec.containers.0.args": (
            [f"--token={SAMPLE}"],
            ["--password=hunter2-hunter2"],
            ["--password", "hunter2-hunter2"],
        ),
        "spec.containers.0.env.0": ({"name": "API_TOKEN", "value": SAMPLE},),
        "environment.variables.API_TOKEN": (SAMPLE,),
    },
)
def environment(it: Resource) -> Findings:
    if it.kind in FUNCTION:
        yield from _plain(it, "environment.variables")
    for path, container in workloads.containers(it):
        for field in ("env", *PROBES, "lifecycle"):
            yield from _told(container.get(field), f"{path}.{field}")
        for field in ("command", "args"):
            yield from _words(container.get(field), f"{path}.{field}")


def _words(value: Any, start: str) -> Findings:
    """The credentials in the words of a command line."""
    before, line, found = "", [], False
    for place, _, text in strings(value, start):
        # An option's value may be the next word.
        kind = given(text) or (given(f"{before} {text}") if before.startswith("-") else "")
        if kind:
            found = True
            yield Finding(place, f"a credential ({kind})", HIDDEN)
        before = text
        line.append(text)
    if not found and (kind := given(" ".join(line))):
        yield Finding(start, f"a credential ({kind})", HIDDEN)


@rule(
    "user-data-no-credentials",
    "No machine's user data carries a credential",
    (*MACHINES, *NODE_CLASS, *GROUPS),
    CRITICAL,
    cure="Let the machine read it from its cloud's store of secrets, with its own identity",
    reference="OWASP Top 10 2021, A07",
    guards={
        "userData": (SAMPLE_LINE,),
        "spec.userData": (SAMPLE_LINE,),
        "spec.forProvider.userData": (SAMPLE_LINE,),
        "spec.forProvider.metadata.user-data": (SAMPLE_LINE,),
    },
)
def user_data(it: Resource) -> Findings:
    for path, text in _user_data(it):
        kind = given(decoded(text)) or given(text)
        if kind:
            yield Finding(path, f"with a credential ({kind})", "whoever may describe the machine reads it")


def _user_data(it: Resource) -> Iterator[tuple[str, str]]:
    """What a machine is told when it starts: (path, text)."""
    yield from ((path, value) for path in USER_DATA if isinstance(value := it.at(path), str))
    yield from ((path, text) for path, _, text in strings(it.at(METADATA), METADATA))


@rule(
    "command-no-credentials",
    "No command line and no command's environment carries a credential",
    (*LOCAL, *REMOTE),
    CRITICAL,
    cure="Give it by stdin, as a secret",
    reference="OWASP Top 10 2021, A07",
    guards={
        "create": (f"login --token {SAMPLE}", "login --password hunter2-hunter2"),
        "update": (f"login --token {SAMPLE}",),
        "environment.API_TOKEN": (SAMPLE,),
    },
)
def command(it: Resource) -> Findings:
    for key in LINES:
        value = it.at(key)
        kind = given(value) if isinstance(value, str) else ""
        if kind:
            yield Finding(
                key, f"with a credential ({kind})", "command lines are stored, logged and seen by every process"
            )
    yield from _plain(it, "environment")


@rule(
    "command-input-hidden",
    "A command whose standard input is a secret does not print its results into the log",
    LOCAL,
    HIGH,
    cure='Set logging to "stderr" or "none"',
    reference="OWASP Top 10 2021, A09",
    guards={"logging": ("stdout", "stdoutAndStderr", ABSENT)},
)
def command_log(it: Resource) -> Findings:
    if it.at("stdin") is not None and it.at("logging") not in ("stderr", "none"):
        yield Finding("logging", str(it.at("logging") or "not set"), "results of a secret input may be secret")


@rule(
    "chart-no-credentials",
    "No chart's values carry a credential",
    charts.CHARTS,
    CRITICAL,
    cure="Name an existing Secret in the values",
    reference="OWASP Kubernetes Top Ten 2022, K08",
    guards={
        "spec.values.apiToken": (SAMPLE,),
        "spec.values.adminPassword": ("hunter2-hunter2",),
        "spec.values.config": (base64.b64encode(SAMPLE_LINE.encode()).decode(),),
    },
)
def chart(it: Resource) -> Findings:
    path, values = charts.values(it)
    yield from _told(values, path)
    for place, _, text in strings(values, path):
        # Some take their configuration, user data among it, as base64.
        kind = known(decoded(text)) if decoded(text) != text else ""
        if kind:
            yield Finding(place, f"a credential ({kind})", HIDDEN)


# With the aliases of the command.
_MINTS = re.compile(r"(?:\bpreauthkeys?|\bheadscale\b[^\n;&|]*\s(?:authkey|pre))\s+(?:create|new|c)\b[^\n;&|]*")
_CONTINUED = re.compile(r"\\\n")


@rule(
    "mesh-key-short-lived",
    "Mesh keys are single use, or ephemeral with an expiry of at most a day",
    (*LOCAL, *REMOTE, *workloads.WORKLOADS, *MACHINES, *NODE_CLASS, *GROUPS),
    HIGH,
    cure="Leave --reusable out, or add --ephemeral and --expiration 24h or less",
    reference="OWASP Top 10 2021, A07",
    guards={
        "create": (
            "headscale preauthkeys create --user 1 --reusable --expiration 24h",
            "headscale preauthkeys create --user 1 --reusable --ephemeral",
            "headscale preauthkeys create --user 1 --reusable --ephemeral=false --expiration 24h",
            "headscale preauthkeys create --user 1 --expiration 8760h",
        )
    },
)
def mesh_key(it: Resource) -> Findings:
    texts = [*((path, value) for path in LINES if isinstance(value := it.at(path), str)), *_user_data(it)]
    if it.kind in workloads.WORKLOADS:
        texts = [
            (place, " ".join(text for field in ("command", "args") for _, _, text in strings(container.get(field))))
            for place, container in workloads.containers(it)
        ]
    for path, text in texts:
        for found in _MINTS.findall(_CONTINUED.sub(" ", decoded(text))):
            hours = _hours(found)
            if _flag(found, "reusable") and (not _flag(found, "ephemeral") or hours is None):
                yield Finding(path, "a reusable mesh key", "such a key must be ephemeral and expire")
            if hours is not None and hours > 24:
                yield Finding(path, f"a mesh key of {hours:g} h", "at most 24 h")


def _flag(line: str, name: str) -> bool:
    """Whether a switch is on: named, and not turned off by =false. The last one counts."""
    values = re.findall(rf"(?<!\S)--{name}(?:=(\S*))?(?!\S)", line)
    return bool(values) and values[-1].strip("'\"").lower() in ("", "1", "t", "true")


def _hours(line: str) -> float | None:
    """How long a key lasts, as the command reads it: 24h, 1d12h. None where it does not say so."""
    found = re.search(r"(?<!\S)(?:--expiration|-e)(?:=|\s+|(?=\d))[\"']?((?:\d+(?:ms|[smhdwy]))+)", line)
    units = {"ms": 1 / 3.6e6, "s": 1 / 3600, "m": 1 / 60, "h": 1.0, "d": 24.0, "w": 168.0, "y": 8760.0}
    parts = re.findall(r"(\d+)(ms|[smhdwy])", found[1]) if found else []
    return sum(float(number) * units[unit] for number, unit in parts) if parts else None


RULES = (secret, config_map, environment, user_data, command, command_log, chart, mesh_key)
