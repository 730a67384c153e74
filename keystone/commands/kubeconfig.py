"""`keystone kubeconfig`: prints the administrator's kubeconfig, merges it into yours, or signs a new one."""

import datetime
import os
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from keystone.commands.options import Stack
from keystone.commands.verify import context_of
from keystone.engine.process import quick
from keystone.errors import KeystoneError, of_yaml
from keystone.files import write_file
from keystone.hosts import kubeconfig as files

MergeOption = Annotated[
    bool, typer.Option("--merge", help="Put it into your own kubeconfig and make it the current one.")
]
RenewOption = Annotated[
    bool, typer.Option("--renew", help="Sign a new client certificate; needs no API and no Primer.")
]
LISTS = ("clusters", "users", "contexts")


def kubeconfig(stack: Stack = "dev", merge: MergeOption = False, renew: RenewOption = False) -> None:
    """Print the kubeconfig, or merge it into yours."""
    text = _renewed(stack) if renew else _output(stack)
    if not merge:
        print(text, end="" if text.endswith("\n") else "\n")
        return
    file = Path(os.environ.get("KUBECONFIG", "").partition(os.pathsep)[0] or Path.home() / ".kube" / "config")
    name = merge_into(file, text)
    print(f"{file}: context {name}")


def _renewed(stack: str) -> str:
    return files.renewed(context_of(stack), datetime.datetime.now(datetime.UTC))


def _output(stack: str) -> str:
    text = quick(["stack", "output", "kubeconfig", "--show-secrets", "--stack", stack], Path())
    if files.ends(text) < datetime.datetime.now(datetime.UTC):
        raise KeystoneError("kubeconfig", f"its certificate ended on {files.ends(text):%Y-%m-%d}", "Pass --renew")
    return text


def merge_into(file: Path, text: str) -> str:
    """Put the cluster, user and context of a kubeconfig into a file, over those of the same name. Returns the name.

    Raises KeystoneError when the file is no kubeconfig; it is replaced in one step and readable by its owner alone.
    """
    ours = yaml.safe_load(text)
    merged = _existing(file)
    name: str = ours["current-context"]
    for key in LISTS:
        others = [entry for entry in merged.get(key) or [] if entry.get("name") != name]
        merged[key] = [*others, *ours[key]]
    merged["current-context"] = name
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_file(file, yaml.safe_dump(merged, sort_keys=False).encode(), 0o600)
    return name


def _existing(file: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(file.read_text())
    except FileNotFoundError:
        document = None
    except yaml.YAMLError as fault:
        raise of_yaml(str(file), fault) from None
    if document is None:
        return {"apiVersion": "v1", "kind": "Config"}
    entries = [document.get(key) or [] for key in LISTS] if isinstance(document, dict) else [None]
    if not all(isinstance(each, list) and all(isinstance(entry, dict) for entry in each) for each in entries):
        raise KeystoneError(str(file), "is not a kubeconfig", "Mend or move it")
    return document
