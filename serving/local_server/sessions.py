"""Loads a version into a session, by the steps of TensorFlow Serving's loader.

TensorFlow's loader in Python makes objects of all nodes, including initial values and the nodes
that save weights. That takes several times as long and blocks the interpreter, and with it the
answers of the other versions.
"""

import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow as tf
import tensorflow.compat.v1 as v1
from google.protobuf.message import DecodeError
from tensorflow.core.framework import graph_pb2
from tensorflow.core.protobuf import saved_model_pb2

from pushed_models import versions

# Collections, and a signature, that name the operation to run after the weights are restored.
_INITIALISERS = ("saved_model_main_op", "legacy_init_op")
_INITIALISER_SIGNATURE = "__saved_model_init_op"
_ASSETS = "assets"
_VARIABLES = ("VarHandleOp", "Variable", "VariableV2")


def read_meta_graph(folder: pathlib.Path) -> Any:
    """The MetaGraphDef of a version with the tag for serving.

    Raises:
      tf.errors.OpError, OSError: the file is missing or damaged, or has no such graph.
    """
    name = versions.SAVED_MODEL_FILE
    saved_model = saved_model_pb2.SavedModel()
    try:
        saved_model.ParseFromString((folder / name).read_bytes())
    except DecodeError as error:
        raise tf.errors.DataLossError(
            None, None, f"{name} is damaged or ends early"
        ) from error
    for meta_graph in saved_model.meta_graphs:
        if list(meta_graph.meta_info_def.tags) == [tf.saved_model.SERVING]:
            return meta_graph
    raise tf.errors.NotFoundError(
        None, None, f"{name} holds no graph with the tag '{tf.saved_model.SERVING}'"
    )


def signatures(meta_graph: Any) -> dict[str, Any]:
    """Name -> SignatureDef, of the signatures for requests."""
    return {
        name: signature
        for name, signature in meta_graph.signature_def.items()
        if name != _INITIALISER_SIGNATURE
    }


def answer_tensors(meta_graph: Any) -> list[str]:
    """Names of the inputs and outputs of all signatures."""
    return [
        info.name
        for signature in signatures(meta_graph).values()
        for info in (*signature.inputs.values(), *signature.outputs.values())
    ]


def fill(session: v1.Session, meta_graph: Any, folder: pathlib.Path) -> None:
    """Loads the nodes that signatures and loading need into a session with an empty graph.

    Raises:
      tf.errors.OpError, OSError, ValueError: it cannot be loaded.
    """
    saver = meta_graph.saver_def
    initialiser = next(initialisers(meta_graph), "")
    tensors = (
        *answer_tensors(meta_graph),
        saver.restore_op_name,
        saver.filename_tensor_name,
        initialiser,
    )
    graph = graph_pb2.GraphDef(
        node=needed_nodes(meta_graph, tensors),
        versions=meta_graph.graph_def.versions,
        library=meta_graph.graph_def.library,
    )
    for node in graph.node:
        # A colocation with another node, which may be left out.
        node.attr.pop("_class", None)
    with session.graph.as_default():
        v1.import_graph_def(
            graph, name="", producer_op_list=meta_graph.meta_info_def.stripped_op_list
        )
    names = {node.name for node in graph.node}
    assets = {
        asset.tensor_info.name: str(folder / _ASSETS / asset.filename)
        for asset in meta_graph.asset_file_def
        if _node(asset.tensor_info.name) in names
    }
    prefix = folder / "variables" / "variables"
    # TensorFlow loads a graph without its weights; then its answers would fail.
    if saver.restore_op_name and prefix.with_suffix(".index").is_file():
        weights = {saver.filename_tensor_name: str(prefix)}
        session.run(_node(saver.restore_op_name), weights | assets)
    elif any(node.op in _VARIABLES for node in graph.node):
        raise tf.errors.DataLossError(
            None, None, "the weights, variables/variables.index, are missing"
        )
    if initialiser:
        session.run(_node(initialiser), assets)


def needed_nodes(meta_graph: Any, tensors: Iterable[str]) -> list[Any]:
    """The nodes of the graph that `tensors` need, not copied."""
    nodes = {node.name: node for node in meta_graph.graph_def.node}
    needed: dict[str, Any] = {}
    waiting = [_node(tensor) for tensor in tensors if tensor]
    while waiting:
        name = waiting.pop()
        if name not in nodes:
            raise tf.errors.DataLossError(None, None, f"the graph has no node {name}")
        if name not in needed:
            needed[name] = nodes[name]
            waiting += map(_node, nodes[name].input)
    return list(needed.values())


def initialisers(meta_graph: Any) -> Iterator[str]:
    """Names of operations to run after the weights are restored; the first one counts."""
    signature = meta_graph.signature_def.get(_INITIALISER_SIGNATURE)
    if signature is not None:
        yield from (output.name for output in signature.outputs.values())
    for key in _INITIALISERS:
        if key in meta_graph.collection_def:
            yield from meta_graph.collection_def[key].node_list.value


def _node(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]
