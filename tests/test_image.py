"""The project's image: what goes in, and its environment built from the Dockerfile's steps."""

import dataclasses
import importlib.util
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

PROJECT = pathlib.Path(__file__).parents[1]
STEPS = "scripts/image_environment.sh"
INSTALL_SECONDS = 600
# Here only what is imported is compiled, when it is: that is quicker and leaves less to delete.
BYTECODE = {"UV_COMPILE_BYTECODE": "0"}


@dataclasses.dataclass(frozen=True)
class Instruction:
    """A line of the Dockerfile: its word, and the rest."""

    word: str
    text: str


def stages() -> list[list[Instruction]]:
    """Instructions of each stage, from its FROM on."""
    text = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", "")
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    found: list[list[Instruction]] = []
    for word, rest in lines:
        if word == "FROM":
            found.append([])
        if found:
            found[-1].append(Instruction(word, " ".join(rest.split())))
    return found


def is_ignored(path: str) -> bool:
    """Whether .dockerignore keeps `path` out: the last pattern that fits it decides."""
    ignored = False
    for line in (PROJECT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = "".join(
            {"**/": "(?:.*/)?", "*": "[^/]*"}.get(piece) or re.escape(piece)
            for piece in re.split(r"(\*\*/|\*)", line.removeprefix("!"))
        )
        # A pattern that fits a folder fits what is in it.
        if re.fullmatch(f"{pattern}(?:/.*)?", path):
            ignored = not line.startswith("!")
    return ignored


def context(source: str = ".") -> Iterator[str]:
    """Files at or below `source` that Docker is sent, relative to the project."""
    top = PROJECT / source
    if top.is_file():
        yield from () if is_ignored(source) else (source,)
        return
    kept = {"scripts", *package_names()} if source == "." else {source}
    for path in sorted(top.iterdir()):
        if path.is_file() and not is_ignored(path.name):
            yield path.name
    for folder in sorted(kept):
        for path in sorted((PROJECT / folder).rglob("*")):
            name = path.relative_to(PROJECT).as_posix()
            if path.is_file() and not is_ignored(name):
                yield name


def package_names() -> list[str]:
    return sorted(path.parent.name for path in PROJECT.glob("*/__init__.py"))


def test_what_docker_is_sent() -> None:
    files = set(context())
    assert {name.split("/")[0] for name in files if "/" in name} == {
        "scripts",
        *package_names(),
    }
    for package in package_names():
        for path in (PROJECT / package).rglob("*.py"):
            assert path.relative_to(PROJECT).as_posix() in files
    needed = {"setup.py", "pyproject.toml", "README.md", "requirements.lock", STEPS}
    needed |= {"schema/digits/schema.pbtxt", "schema/digits/labels.txt"}
    assert needed <= files
    assert any(name.startswith("report/templates/") for name in files)
    assert not any("__pycache__" in name or name.endswith(".pyc") for name in files)


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        ".venv/bin/python",
        ".venv-peers/bin/python",
        ".mypy_cache/3.11/x.json",
        "runs/metadata.sqlite",
        "tests/conftest.py",
        "benchmarks/train_step.py",
        "docs/cli.md",
        "slimline.egg-info/PKG-INFO",
        "build/lib/schema/features.py",
        "schema/__pycache__/features.cpython-311.pyc",
        "trainer/nets/__pycache__/vgg.cpython-311.pyc",
        "pipeline/.env",
        "scripts/another.sh",
        "secrets.txt",
    ],
)
def test_what_docker_is_not_sent(path: str) -> None:
    assert is_ignored(path)


def test_sources_of_the_copies_are_sent() -> None:
    build, final = stages()
    copies = [line.text for line in build if line.word == "COPY"]
    assert copies[-1] == ". ."
    for text in copies[:-1]:
        *sources, _ = text.split()
        for source in sources:
            assert list(context(source)) == [source]
    assert [line.text for line in final if line.word == "COPY"] == [
        "--from=build /opt/slimline /opt/slimline",
        "--from=build /app /app",
    ]


def test_the_image_that_is_left() -> None:
    build, final = stages()
    assert build[0].text == "${PYTHON_IMAGE} AS build"
    assert final[0].text == "${PYTHON_IMAGE}"
    text = (PROJECT / "Dockerfile").read_text(encoding="utf-8")
    assert "\nARG PYTHON_IMAGE=python:3.11-slim-bookworm\n" in text
    assert any(line.text.startswith("UV_COMPILE_BYTECODE=1 ") for line in build)
    words = {line.word: line.text for line in final}
    environment = dict(pair.split("=", 1) for pair in shlex.split(words["ENV"]))
    # `python` of a compiled command is that of the environment.
    assert environment["PATH"] == "/opt/slimline/bin:${PATH}"
    assert words["USER"].split(":")[0].isdecimal()
    assert words["USER"] != "0:0"
    assert words["WORKDIR"] == environment["HOME"]
    assert words["ENTRYPOINT"] == '["slimline"]'
    assert "org.opencontainers.image.version" in words["LABEL"]
    assert [line.text.split()[0] for line in final if line.word == "RUN"] == ["useradd"]


def make_image(
    folder: pathlib.Path, script: str | None
) -> tuple[subprocess.CompletedProcess, list[str]]:
    """Runs `make image` with a program in place of Docker; also what that was called with."""
    program, log = folder / "docker", folder / "log"
    if script is not None:
        program.write_text(f'#!/bin/sh\necho "$@" >> {log}\n{script}\n')
        program.chmod(0o755)
    # As the first make, also where the tests were started by one.
    inherited = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
    result = subprocess.run(
        ["make", "--no-print-directory", "image", f"DOCKER={program}"],
        cwd=PROJECT,
        env={
            name: value for name, value in os.environ.items() if name not in inherited
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return result, log.read_text().splitlines() if log.exists() else []


def test_make_image(tmp_path: pathlib.Path) -> None:
    result, calls = make_image(tmp_path, "exit 0")
    assert result.returncode == 0, result.stderr
    assert calls[0] == "version"
    words = calls[1].split()
    assert (words[0], words[-1]) == ("build", ".")
    assert "--tag slimline:0.1.0 --build-arg VERSION=0.1.0" in calls[1]
    assert re.search(r" --build-arg SOURCE_DATE_EPOCH=\d* ", calls[1])


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (None, "error: an image needs '{program}', which is not on this machine"),
        (
            "exit 1",
            "error: '{program}' reaches no daemon that could build an image;"
            " start one, or build where one runs",
        ),
    ],
)
def test_make_image_without_docker(
    tmp_path: pathlib.Path, script: str | None, sentence: str
) -> None:
    result, calls = make_image(tmp_path, script)
    assert result.returncode == 2
    assert calls in ([], ["version"])
    said = result.stderr.splitlines()
    assert said[0] == sentence.format(program=tmp_path / "docker")
    # The other line is make's own.
    assert [line for line in said[1:] if not line.startswith("make: ***")] == []


@dataclasses.dataclass(frozen=True)
class Built:
    """The environment: /opt/slimline and /app of the image, below a scratch folder."""

    python: pathlib.Path
    app: pathlib.Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """Runs the build stage here, its absolute paths below a scratch folder."""
    root = tmp_path_factory.mktemp("image")
    inherited = ("PYTHON", "VIRTUAL_ENV", "UV_")
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(inherited)
    }
    folder = root
    for line in stages()[0][1:]:
        match line.word:
            case "ENV":
                pairs = (pair.split("=", 1) for pair in shlex.split(line.text))
                environment |= dict(pairs) | BYTECODE
            case "WORKDIR":
                folder = _below(root, line.text)
                folder.mkdir(parents=True)
            case "COPY":
                *sources, target = line.text.split()
                _copy(sources, folder / target)
            case "RUN" if STEPS in line.text:
                _run(line.text.replace(" /", f" {root}/"), folder, environment)
            case "RUN":
                assert line.text.startswith("apt-get "), line.text
            case word:
                pytest.fail(f"the test does not know {word}")
    yield Built(root / "opt" / "slimline" / "bin" / "python", folder)
    shutil.rmtree(root)


def _below(root: pathlib.Path, path: str) -> pathlib.Path:
    return root / path.removeprefix("/")


def _copy(sources: list[str], target: pathlib.Path) -> None:
    for source in sources:
        for name in context(source):
            # What is named alone goes into the folder under its last name.
            place = target / (name if source == "." else pathlib.Path(name).name)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, place)


def _run(command: str, folder: pathlib.Path, environment: dict[str, str]) -> None:
    result = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    if result.returncode and re.search(
        "dns|timed out|failed to fetch|connection", result.stderr, re.IGNORECASE
    ):
        pytest.skip(f"the package index cannot be reached: {result.stderr[-300:]}")
    assert result.returncode == 0, result.stderr


def ask(built: Built, folder: pathlib.Path, *arguments: str) -> str:
    """Output of the environment's Python, called as in a container."""
    result = subprocess.run(
        [str(built.python), *arguments],
        cwd=folder,
        env={"PATH": os.defpath, "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.timeout(INSTALL_SECONDS + 100)
def test_the_environment_runs_components(built: Built, tmp_path: pathlib.Path) -> None:
    installed = ask(
        built,
        tmp_path,
        "-c",
        "import importlib.metadata as m, re\n"
        "for found in m.distributions():\n"
        "    name = re.sub('[-_.]+', '-', found.name).lower()\n"
        "    print(f'{name}=={found.version}')\n"
        "import pipeline, schema; print(pipeline.__file__, schema.__file__)",
    ).splitlines()
    lock = (PROJECT / "requirements.lock").read_text(encoding="utf-8")
    locked = re.findall(r"^([a-z0-9.-]+)(?:\[.*\])?(==[^ ]+) ", lock, re.MULTILINE)
    assert len(locked) > 100
    pinned = {re.sub("[-_.]+", "-", name) + version for name, version in locked}
    assert {*installed[:-1]} - pinned == {"slimline==0.1.0"}
    assert installed[-1].split() == [
        str(built.app / package / "__init__.py") for package in ("pipeline", "schema")
    ]
    # Compiled when it was installed: the image's user may not write there.
    assert list((built.app / "pipeline" / "__pycache__").glob("dag.*.pyc"))

    help_text = ask(built, tmp_path, "-m", "pipeline.kubeflow.entrypoint", "--help")
    assert "--json_serialized_invocation_args" in help_text
    spec = tmp_path / "spec.yaml"
    ask(
        built,
        tmp_path,
        str(built.python.with_name("slimline")),
        *("kubeflow", "compile", "digits_resnet_20", "--tiny", "--image", "x"),
        *("--data", "/slimline/images", "--output", str(spec), "-q"),
    )
    schema = run_contract(built, spec, tmp_path)
    assert "image/encoded" in (schema / "schema.pbtxt").read_text(encoding="utf-8")


def run_contract(
    built: Built, path: pathlib.Path, folder: pathlib.Path
) -> pathlib.Path:
    """Runs the first component of the compiled pipeline alone; gives its artifact."""
    backend = _backend()
    spec = backend.load(path)
    for name in [*spec.root.dag.tasks]:
        if name != "contract":
            del spec.root.dag.tasks[name]
    server = backend.Backend(folder / "backend", python=str(built.python))
    run = server.run(spec, environment={"PYTHONDONTWRITEBYTECODE": ""})
    assert run.order == ["contract"]
    return run.artifacts["contract", "schema"]


def _backend() -> ModuleType:
    path = PROJECT / "tests" / "kubeflow" / "backend.py"
    spec = importlib.util.spec_from_file_location("image_backend", path)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
