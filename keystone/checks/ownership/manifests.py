"""Manifests from files: YAML with several documents, JSON, lists; each with its place as FILE:LINE."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from keystone.checks.findings import Finding
from keystone.checks.ownership.objects import is_object

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BREAK = re.compile(r"^---(?:[ \t].*)?$", re.MULTILINE)
_SOURCE = re.compile(r"^# Source: ([^/\s]+)/", re.MULTILINE)
SUFFIXES = (".yaml", ".yml", ".json")
KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_NO_MANIFESTS = {*KUSTOMIZATIONS, "Chart.yaml", "values.yaml"}
_IGNORED = {".git", ".venv", ".twin", "node_modules", "__pycache__", ".terraform"}


@dataclass(frozen=True)
class Manifest:
    """One object as a file has it. `chart` is set where Helm printed it."""

    document: Mapping[str, Any]
    place: str
    chart: str = ""

    def with_document(self, document: Mapping[str, Any]) -> "Manifest":
        return replace(self, document=document)


class Reader:
    """Reads files once, names them relative to a folder, and collects those that cannot be read."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.faults: set[Finding] = set()
        self._files: dict[Path, list[Manifest]] = {}

    def name(self, path: Path) -> str:
        """A path as findings show it."""
        path = path.resolve()
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)

    def folders(self, folder: Path) -> list[Path]:
        """The folders in a folder that may hold manifests; no charts' templates, which are no YAML."""
        chart = (folder / "Chart.yaml").exists()
        inner = (path for path in sorted(folder.iterdir()) if path.is_dir() and not path.is_symlink())
        return [path for path in inner if path.name not in _IGNORED and not (chart and path.name == "templates")]

    def all_folders(self, folder: Path) -> Iterator[Path]:
        """The folders below a folder."""
        for inner in self.folders(folder):
            yield inner
            yield from self.all_folders(inner)

    def files(self, folder: Path, *, recursive: bool = True) -> Iterator[Path]:
        """The files in a folder that may hold manifests; with `recursive`, below it."""
        for path in sorted(folder.iterdir()):
            if path.is_file() and not path.is_symlink() and path.suffix in SUFFIXES and path.name not in _NO_MANIFESTS:
                yield path
        for inner in self.folders(folder) if recursive else ():
            yield from self.files(inner)

    def documents(self, path: Path) -> Iterator[tuple[Any, int, str]]:
        """The documents of a file with the lines they begin in and their texts; a broken file is a fault."""
        try:
            text = path.read_text(encoding="utf-8")
            if path.suffix == ".json":
                yield json.loads(text), 1, ""
                return
            starts = [0, *(found.end() for found in _BREAK.finditer(text))]
            ends = [*(found.start() for found in _BREAK.finditer(text)), len(text)]
            for start, end in zip(starts, ends, strict=True):
                part = text[start:end]
                first = start + len(part) - len(part.lstrip())
                yield yaml.load(part, _LOADER), text.count("\n", 0, first) + 1, part
        except (OSError, ValueError, yaml.YAMLError) as error:
            problem = str(getattr(error, "problem", None) or getattr(error, "strerror", None) or type(error).__name__)
            self.faults.add(
                Finding("unreadable", self.name(path), f"is not sound YAML or JSON: {problem}", "Correct it")
            )

    def manifests(self, path: Path) -> list[Manifest]:
        """The objects of one file."""
        if path not in self._files:
            found = []
            for document, line, text in self.documents(path):
                source = _SOURCE.search(text)
                place = f"{self.name(path)}:{line}"
                found += [Manifest(one, place, source[1] if source else "") for one in objects(document)]
            self._files[path] = found
        return self._files[path]

    def below(self, paths: Iterable[Path]) -> Iterator[Manifest]:
        """The objects of files and of all files below folders."""
        for path in paths:
            for file in self.files(path) if path.is_dir() else [path]:
                yield from self.manifests(file)


def objects(document: Any) -> Iterator[Mapping[str, Any]]:
    """The objects in a document: itself, or the items of a list."""
    if isinstance(document, list):
        for item in document:
            yield from objects(item)
    elif isinstance(document, Mapping) and str(document.get("kind", "")).endswith("List") and "items" in document:
        yield from objects(document["items"] or [])
    elif is_object(document):
        yield document
