"""A version in a session, by the steps of TensorFlow Serving's loader.

Python's own loader would make objects of all nodes, initial values and the saver's writing
half among them. That takes several times as long, and the interpreter stands still meanwhile:
so would the answers of the other versions.
"""

import pathlib
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
import tensorflow.compat.v1 as v1
from tensorflow.core.protobuf import saved_model_pb2

from schema import versions

# Collections, and a signature, that name what is to be run after the weights are there.
_INITIALISERS = ("saved_model_main_op", "legacy_init_op")
_INITIALISER_SIGNATURE = "__saved_model_init_op"


def read_meta_graph(folder: pathlib.Path) -> Any:
    """The MetaGraphDef of a version that is for serving.

    Raises:
      OSError, DecodeError: the file is missing or damaged.
      LookupError: no graph in it is for serving.
    """
    saved_model = saved_model_pb2.SavedModel()
    saved_model.ParseFromString((folder / versions.SAVED_MODEL_FILE).read_bytes())
    for meta_graph in saved_model.meta_graphs:
        if list(meta_graph.meta_info_def.tags) == [tf.saved_model.SERVING]:
            return meta_graph
    raise LookupError(
        f"{versions.SAVED_MODEL_FILE} holds no graph with the tag"
        f" '{tf.saved_model.SERVING}'"
    )


def fill(session: v1.Session, meta_graph: Any, folder: pathlib.Path) -> None:
    """Brings a version into a session with an empty graph: graph, weights, tables.

    Args:
      session: its graph takes what signatures and loading need, the rest is left out.
      meta_graph: of the version.
      folder: of the version.

    Raises:
      tf.errors.OpError, ValueError: it cannot be loaded.
    """
    saver = meta_graph.saver_def
    initialiser = next(initialisers(meta_graph), "")
    needed = {
        _node(name)
        for name in (
            *_tensors(meta_graph),
            saver.restore_op_name,
            saver.filename_tensor_name,
            initialiser,
        )
        if name
    }
    with session.graph.as_default():
        graph = v1.graph_util.extract_sub_graph(meta_graph.graph_def, sorted(needed))
        for node in graph.node:
            # Wishes to stand beside another node, which may be left out.
            node.attr.pop("_class", None)
        v1.import_graph_def(
            graph, name="", producer_op_list=meta_graph.meta_info_def.stripped_op_list
        )
    assets = {
        asset.tensor_info.name: str(folder / "assets" / asset.filename)
        for asset in meta_graph.asset_file_def
        if _node(asset.tensor_info.name) in {node.name for node in graph.node}
    }
    if saver.restore_op_name:
        weights = {saver.filename_tensor_name: str(folder / "variables" / "variables")}
        session.run(_node(saver.restore_op_name), weights | assets)
    if initialiser:
        session.run(_node(initialiser), assets)


def initialisers(meta_graph: Any) -> Iterator[str]:
    """Names of the operation that is run after the weights are there, if any."""
    signature = meta_graph.signature_def.get(_INITIALISER_SIGNATURE)
    if signature is not None:
        yield from (output.name for output in signature.outputs.values())
    for key in _INITIALISERS:
        if key in meta_graph.collection_def:
            yield from meta_graph.collection_def[key].node_list.value


def _tensors(meta_graph: Any) -> Iterator[str]:
    for name, signature in meta_graph.signature_def.items():
        if name != _INITIALISER_SIGNATURE:
            for info in (*signature.inputs.values(), *signature.outputs.values()):
                yield info.name


def _node(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]
