"""The operations that a served graph may run: those that only compute.

A SavedModel is a program. `operations.txt` lists the operations that it may run, and this check
reads the graph without loading it; it is no sandbox. The list lacks unknown operations and those
that touch files, processes or the network (ReadFile, WriteFile, PyFunc, PrintV2, ImmutableConst,
InitializeTableFromTextFileV2, DecodeProtoV2, DatasetFromGraph, ...).
"""

import pathlib
from collections.abc import Iterator
from typing import Any

from serving.local_server import sessions

ALLOWED = frozenset(
    pathlib.Path(__file__).with_name("operations.txt").read_text("ascii").split()
)
# Allowed only to restore weights: as a part of an answer it could read other files.
RESTORE = "RestoreV2"


def problems(meta_graph: Any) -> list[str]:
    """Why the graph of a MetaGraphDef is refused, a sentence each.

    Nodes that neither an answer nor loading needs are not loaded, and may be anything.
    """
    restore = meta_graph.saver_def.restore_op_name
    return [
        f"the graph runs {operation} to {purpose}, which operations.txt does not list"
        for purpose, tensors, allowed in (
            ("answer", sessions.answer_tensors(meta_graph), ALLOWED),
            ("be loaded", [*sessions.initialisers(meta_graph)], ALLOWED),
            ("restore its weights", [restore], ALLOWED | {RESTORE}),
        )
        for operation in sorted(_operations(meta_graph, tensors) - allowed)
    ]


def _operations(meta_graph: Any, tensors: list[str]) -> set[str]:
    """Kinds of all operations that run for `tensors`, including those in functions."""
    library = meta_graph.graph_def.library.function
    functions = {one.signature.name: one for one in library}
    kinds: set[str] = set()
    called: set[str] = set()
    waiting = sessions.needed_nodes(meta_graph, tensors)
    while waiting:
        node = waiting.pop()
        kinds.add(node.op)
        for name in {*_called(node)} & functions.keys() - called:
            called.add(name)
            waiting.extend(functions[name].node_def)
    # A function can be called by its own name.
    return kinds - functions.keys()


def _called(node: Any) -> Iterator[str]:
    """Functions that a node names, as its kind or in an attribute."""
    yield node.op
    for attribute in node.attr.values():
        if attribute.HasField("func"):
            yield attribute.func.name
        yield from (function.name for function in attribute.list.func)
