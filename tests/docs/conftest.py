"""The shell blocks of the documents."""

import dataclasses
import pathlib
import re
import shlex

import pytest

PROJECT = pathlib.Path(__file__).parents[2]
DOCUMENTS = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md")])
BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+) -->\n)?^```(?:sh|bash|shell|console)\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


@dataclasses.dataclass(frozen=True)
class Block:
    """A shell block.

    Attributes:
      document: path below the project.
      line: number of its first line in the document.
      text: its lines.
      reason: why it is not run, or empty.
    """

    document: str
    line: int
    text: str
    reason: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"

    def commands(self, program: str) -> list[list[str]]:
        """Arguments of each call of `program`."""
        lines = [shlex.split(line, comments=True) for line in self.text.splitlines()]
        return [words[1:] for words in lines if words and words[0] == program]


def _blocks() -> list[Block]:
    found = []
    for path in DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        name = str(path.relative_to(PROJECT))
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start("text")) + 1
            found.append(Block(name, line, match["text"], match["reason"] or ""))
    return found


BLOCKS = _blocks()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with `block` or `page` is one for each block, or each page of blocks."""
    if "block" in metafunc.fixturenames:
        metafunc.parametrize("block", BLOCKS, ids=str)
    if "page" in metafunc.fixturenames:
        pages = dict.fromkeys(block.document for block in BLOCKS if not block.reason)
        metafunc.parametrize("page", pages)
    if "document" in metafunc.fixturenames:
        ids = [str(path.relative_to(PROJECT)) for path in DOCUMENTS]
        metafunc.parametrize("document", DOCUMENTS, ids=ids)


@pytest.fixture
def blocks() -> list[Block]:
    """All shell blocks of the documents, in order."""
    return BLOCKS
