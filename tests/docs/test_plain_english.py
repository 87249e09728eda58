"""Public texts hold none of the phrases in phrases.txt: documents, messages and docstrings."""

import ast
import pathlib
import re

import pytest

PROJECT = pathlib.Path(__file__).parents[2]
# Of each line: the phrase, and what to write instead.
PHRASES = [
    line.split("\t")
    for line in pathlib.Path(__file__).with_name("phrases.txt").read_text().splitlines()
    if not line.startswith("#")
]
PACKAGES = sorted(path.parent for path in PROJECT.glob("*/__init__.py"))
TEMPLATES = (".html", ".js", ".txt", ".yaml", ".yml", ".sh")


def texts_of_code(path: pathlib.Path) -> str:
    """All strings of a module, docstrings and parts of f-strings included, a ¶ between them."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return "\n¶\n".join(
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def public_texts() -> dict[str, str]:
    """Path below the project -> its text for people."""
    files = [*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md")]
    files += [PROJECT / "benchmarks" / "README.md"]
    texts = {}
    for package in PACKAGES:
        for path in package.rglob("*"):
            if path.suffix == ".py":
                texts[str(path.relative_to(PROJECT))] = texts_of_code(path)
            elif path.suffix in TEMPLATES:
                files.append(path)
    for path in files:
        text = path.read_text(encoding="utf-8")
        texts[str(path.relative_to(PROJECT))] = text
    return texts


@pytest.fixture(scope="module")
def joined() -> dict[str, str]:
    """The texts with single spaces, as phrases run over ends of lines."""
    return {name: " ".join(text.split()) for name, text in public_texts().items()}


@pytest.mark.parametrize(("phrase", "better"), PHRASES)
def test_no_public_text_has_the_phrase(joined, phrase: str, better: str) -> None:
    found = [
        f"{name}: …{text[max(0, match.start() - 40) : match.end() + 40]}…"
        for name, text in joined.items()
        for match in re.finditer(phrase, text)
    ]
    assert not found, f"write: {better}\n" + "\n".join(found)


def test_strings_of_code_are_seen(tmp_path) -> None:
    module = tmp_path / "module.py"
    module.write_text('"""Doc."""\nx = f"a {1} b" "c"  # not this\n')
    text = texts_of_code(module)
    assert "Doc." in text and "a " in text and " bc" in text
    assert "not this" not in text


def test_see_base_class_has_a_base_class() -> None:
    folders = [*PACKAGES, PROJECT / "benchmarks"]
    sources = {
        path: path.read_text(encoding="utf-8")
        for folder in folders
        for path in folder.rglob("*.py")
    }
    using = {path: text for path, text in sources.items() if "See base class" in text}
    assert using
    for path, text in using.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef) and not node.bases:
                for method in node.body:
                    is_function = isinstance(method, ast.FunctionDef)
                    docstring = ast.get_docstring(method) if is_function else ""
                    assert "See base class" not in (docstring or ""), (
                        f"{path}: {node.name} has no base class"
                    )
