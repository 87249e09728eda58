"""What a graph may hold is known before it is loaded."""

import pytest
import tensorflow as tf

from serving.local_server import ops, sessions


@pytest.fixture(scope="module")
def pushed(write_model, tmp_path_factory):
    return sessions.read_meta_graph(write_model(tmp_path_factory.mktemp("model"), 1))


@pytest.fixture
def meta_graph(pushed):
    copy = type(pushed)()
    copy.CopyFrom(pushed)
    return copy


def test_every_name_on_the_list_is_an_operation():
    assert [name for name in ops.ALLOWED if not hasattr(tf.raw_ops, name)] == []


def test_what_touches_the_machine_is_not_on_the_list():
    for name in [
        "ReadFile",
        "WriteFile",
        "MatchingFiles",
        "PyFunc",
        "PyFuncStateless",
        "EagerPyFunc",
        "Print",
        "PrintV2",
        "DebugIdentityV2",
        "InitializeTableFromTextFileV2",
        "DecodeProtoV2",
        "Restore",
        "Save",
        "ReaderReadV2",
        "TFRecordDataset",
        "IteratorGetNext",
        "Send",
        "Recv",
        "RemoteCall",
        "XlaLaunch",
        "SaveSlices",
        "LoadAndRemapMatrix",
        "FixedUnigramCandidateSampler",
        "Placeholders",
        "ImmutableConst",
        "GenerateVocabRemapping",
        "DatasetFromGraph",
        "CollectiveGatherV2",
        "TPUPartitionedCall",
        "Restore",
        "RestoreV2",
        "SaveV2",
        "MergeV2Checkpoints",
    ]:
        assert name not in ops.ALLOWED


def test_a_pushed_graph_has_no_problem(meta_graph):
    assert ops.problems(meta_graph) == []


def test_an_operation_of_the_future_is_named(meta_graph):
    next(
        node for node in meta_graph.graph_def.node if node.op == "Softmax"
    ).op = "SoftmaxV9"
    (problem,) = ops.problems(meta_graph)
    assert "runs SoftmaxV9 to answer" in problem


def test_functions_are_looked_into(meta_graph):
    for function in meta_graph.graph_def.library.function:
        function.node_def.add(name="spy", op="ReadFile")
    assert ops.problems(meta_graph)[0] == (
        "the graph runs ReadFile to answer, which operations.txt does not list"
    )


def test_a_call_of_a_function_by_its_name_is_no_unknown_operation(meta_graph):
    name = meta_graph.graph_def.library.function[0].signature.name
    meta_graph.graph_def.node.add(name="call", op=name)
    answer_node(meta_graph).input.append("^call")
    assert ops.problems(meta_graph) == []


def answer_node(meta_graph):
    output = meta_graph.signature_def["predict_images"].outputs["probabilities"].name
    (node,) = (
        node
        for node in meta_graph.graph_def.node
        if node.name == output.partition(":")[0]
    )
    return node


@pytest.mark.parametrize("kind", ["SaveV2", "RestoreV2", "MergeV2Checkpoints"])
def test_an_answer_must_not_save_or_restore(meta_graph, kind):
    answer_node(meta_graph).input.append("^spy")
    meta_graph.graph_def.node.add(name="spy", op=kind)
    (problem,) = ops.problems(meta_graph)
    assert f"runs {kind} to answer" in problem


def test_nor_inside_of_a_function(meta_graph):
    answer_node(meta_graph).input.append("^call")
    meta_graph.graph_def.library.function.add().signature.name = "spy"
    meta_graph.graph_def.library.function[-1].node_def.add(name="x", op="SaveV2")
    call = meta_graph.graph_def.node.add(name="call", op="StatefulPartitionedCall")
    assert ops.problems(meta_graph) == []
    call.attr["f"].func.name = "spy"
    (problem,) = ops.problems(meta_graph)
    assert "runs SaveV2 to answer" in problem


def test_nor_when_it_is_loaded(meta_graph):
    meta_graph.graph_def.node.add(name="spy", op="SaveV2")
    (initialiser,) = sessions.initialisers(meta_graph)
    (node,) = (one for one in meta_graph.graph_def.node if one.name == initialiser)
    node.input.append("^spy")
    (problem,) = ops.problems(meta_graph)
    assert "runs SaveV2 to be loaded" in problem


def test_restoring_the_weights_must_not_save(meta_graph):
    restore = meta_graph.saver_def.restore_op_name
    (node,) = (one for one in meta_graph.graph_def.node if one.name == restore)
    node.input.append("^spy")
    meta_graph.graph_def.node.add(name="spy", op="SaveV2")
    (problem,) = ops.problems(meta_graph)
    assert "runs SaveV2 to restore its weights" in problem


def test_what_is_never_run_may_be_anything(meta_graph):
    meta_graph.graph_def.node.add(name="spy", op="WriteFile")
    assert ops.problems(meta_graph) == []
