"""coreutils and tar, as far as an operator and the installer use them."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from twin import archives
from twin.commands import Call, Failed, program
from twin.files import write_file


def _existing(call: Call, name: str) -> Path:
    path = call.machine.resolve(name)
    if path is None or not path.exists():
        raise Failed(f"{call.argv[0]}: {name}: No such file or directory")
    return path


@program("true", "installer", "initrd", "installed")
async def true(_: Call) -> int:
    return 0


@program("exit", "installer", "initrd", "installed")
async def leave(call: Call) -> int:
    return int(call.args[0]) if call.args and call.args[0].isdecimal() else 0


@program("cat")
async def cat(call: Call) -> int:
    status = 0
    for name in call.args or ["-"]:
        if name in ("-", "/dev/stdin"):
            call.out(await call.read_all())
            continue
        path = call.machine.resolve(name)
        if path is None or not path.exists():
            call.warn(f"cat: {name}: No such file or directory")
            status = 1
        elif path.is_dir():
            call.warn(f"cat: {name}: Is a directory")
            status = 1
        else:
            call.out(path.read_bytes())
    return status


@program("readlink")
async def readlink(call: Call) -> int:
    options = [word for word in call.args if word.startswith("-")]
    status = 0
    for name in [word for word in call.args if not word.startswith("-")]:
        if options and set(options) <= {"-f", "-e", "-m", "--canonicalize"}:
            resolved = call.machine.canonical(name)
        elif not options:
            resolved = call.machine.link(name)
        else:
            raise Failed(f"readlink: invalid option -- '{options[0].lstrip('-')}'")
        if resolved is None:
            status = 1
        else:
            call.print(resolved)
    return status


@program("test")
async def test(call: Call) -> int:
    match call.args:
        case [("-e" | "-f" | "-d" | "-b" | "-s" | "-r" | "-x" | "-L" | "-h") as what, name]:
            if what in ("-L", "-h"):
                return 0 if call.machine.link(name) is not None else 1
            path = call.machine.resolve(name)
            if path is None or not path.exists():
                return 1
            if what == "-b":
                return 0 if call.machine.inventory.find(call.machine.canonical(name) or "") else 1
            fits = {"-f": path.is_file, "-d": path.is_dir, "-s": lambda: path.stat().st_size > 0}
            return 0 if fits.get(what, path.exists)() else 1
        case _:
            raise Failed("test: the twin knows test -e, -f, -d, -b, -s, -r, -x, -L with one path", 2)


@program("ls")
async def ls(call: Call) -> int:
    options = [word for word in call.args if word.startswith("-")]
    unknown = [option for option in options if set(option[1:]) - set("1aA")]
    if unknown:
        raise Failed(f"ls: invalid option -- '{unknown[0].lstrip('-')}'", 2)
    status = 0
    for name in [word for word in call.args if not word.startswith("-")] or ["/"]:
        path = call.machine.resolve(name)
        if path is None or not path.exists():
            call.warn(f"ls: cannot access '{name}': No such file or directory")
            status = 2
        elif path.is_dir():
            for entry in sorted(entry.name for entry in path.iterdir() if options or not entry.name.startswith(".")):
                call.print(entry)
        else:
            call.print(name)
    return status


@program("sync")
async def sync(_: Call) -> int:
    return 0


@program("mkdir", "installer", "installed")
async def mkdir(call: Call) -> int:
    options = [word for word in call.args if word.startswith("-")]
    for name in [word for word in call.args if not word.startswith("-")]:
        path = call.machine.place(name)
        if path.exists() and "-p" not in options:
            raise Failed(f"mkdir: cannot create directory '{name}': File exists")
        path.mkdir(parents="-p" in options, exist_ok=True)
    return 0


@program("install")
async def install(call: Call) -> int:
    """`install -D -m MODE /dev/stdin PATH`: the way to write a file without a shell."""
    words = list(call.args)
    mode, make_folders, names = 0o755, False, []
    while words:
        word = words.pop(0)
        if word == "-D":
            make_folders = True
        elif word in ("-m", "--mode") and words:
            mode = _mode(words.pop(0))
        elif word.startswith("--mode="):
            mode = _mode(word.removeprefix("--mode="))
        elif word.startswith("-m") and len(word) > 2:
            mode = _mode(word[2:])
        elif word.startswith("-") and word != "-":
            raise Failed(f"install: invalid option -- '{word.lstrip('-')}'")
        else:
            names.append(word)
    if len(names) != 2:
        raise Failed("install: the twin knows install [-D] [-m MODE] SOURCE TARGET")
    source, target = names
    content = await call.read_all() if source == "/dev/stdin" else _existing(call, source).read_bytes()
    path = call.machine.place(target)
    if not make_folders and not path.parent.is_dir():
        raise Failed(f"install: cannot create regular file '{target}': No such file or directory")
    write_file(path, content, mode)
    return 0


def _mode(text: str) -> int:
    try:
        return int(text, 8) & 0o777
    except ValueError:
        raise Failed(f"install: invalid mode '{text}'") from None


@program("cp")
async def cp(call: Call) -> int:
    """`cp [-n] SOURCE... FOLDER`, links not followed into other machines: all paths are this machine's."""
    options = {word for word in call.args if word.startswith("-")}
    names = [word for word in call.args if not word.startswith("-")]
    if options - {"-n", "-p", "--no-clobber", "--preserve"} or len(names) < 2:
        raise Failed("cp: the twin knows cp [-n] [-p] SOURCE... FOLDER")
    folder = call.machine.place(names[-1])
    for name in names[:-1]:
        source = _existing(call, name)
        target = folder / source.name if folder.is_dir() else folder
        if not (target.exists() and options & {"-n", "--no-clobber"}):
            write_file(target, source.read_bytes(), source.stat().st_mode & 0o777)
    return 0


@program("rm")
async def rm(call: Call) -> int:
    options = {word for word in call.args if word.startswith("-")}
    if options - {"-f"}:
        raise Failed("rm: the twin knows rm [-f] FILE...")
    for name in [word for word in call.args if not word.startswith("-")]:
        path = call.machine.place(name)
        if not path.exists() and "-f" not in options:
            raise Failed(f"rm: cannot remove '{name}': No such file or directory")
        path.unlink(missing_ok=True)
    return 0


@program("chown")
async def chown(call: Call) -> int:
    """Checks that the paths exist; on the twin every file belongs to the one user that runs it."""
    names = [word for word in call.args if not word.startswith("-")]
    if len(names) < 2:
        raise Failed("chown: missing operand")
    for name in names[1:]:
        _existing(call, name)
    return 0


@program("tar")
async def tar(call: Call) -> int:
    """`tar -C FOLDER -x[p]f -`: unpack standard input."""
    words = list(call.args)
    folder = "/"
    extract = False
    while words:
        word = words.pop(0)
        if word in ("-C", "--directory") and words:
            folder = words.pop(0)
        elif word in ("-xf-", "-xpf-"):
            extract = True
        elif word in ("-xf", "-xpf") and words[:1] == ["-"]:
            extract = bool(words.pop(0))
        elif word != "--no-same-owner":
            raise Failed(f"tar: the twin does not know '{word}'; it knows tar -C FOLDER -xpf - [--no-same-owner]", 2)
    if not extract:
        raise Failed("tar: You must specify one of the '-Acdtrux', '--delete' or '--test-label' options", 2)
    target = call.machine.place(folder)
    if not target.is_dir():
        raise Failed(f"tar: {folder}: Cannot open: No such file or directory", 2)
    try:
        with tarfile.open(fileobj=io.BytesIO(await call.read_all())) as archive:
            archives.unpack(archive, target)
    except tarfile.TarError as error:
        raise Failed(f"tar: {error}", 2) from None
    return 0
