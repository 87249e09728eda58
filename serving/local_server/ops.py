"""Which operations a pushed graph may hold: those of classifiers and their preprocessing.

A SavedModel is a program. The list is a report on what it could do, read from the graph
without loading it; it is no sandbox. Operations that touch files, processes or the network
(ReadFile, WriteFile, PyFunc, PrintV2, InitializeTableFromTextFileV2, DecodeProtoV2, ...) are
not on it, nor is one that this list has never heard of.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from serving.local_server import sessions

_ARRAYS = """
    BatchToSpaceND Bitcast BroadcastArgs BroadcastTo Concat ConcatV2 Const DepthToSpace
    EnsureShape ExpandDims ExtractImagePatches Fill Gather GatherNd GatherV2 Identity
    IdentityN InvertPermutation LinSpace MatrixBandPart MatrixDiag MatrixDiagV3 MirrorPad
    OneHot OnesLike Pack Pad PadV2 Placeholder PlaceholderWithDefault PreventGradient Range
    Rank Reshape ReverseSequence ReverseV2 Roll ScatterNd Select SelectV2 Shape ShapeN Size
    Slice Snapshot SpaceToBatchND SpaceToDepth Split SplitV Squeeze StopGradient
    StridedSlice TensorScatterUpdate Tile Transpose Unique UniqueV2 Unpack Where ZerosLike
"""
_MATHS = """
    Abs Add AddN AddV2 All Any ApproximateEqual ArgMax ArgMin Atan2 BatchMatMul
    BatchMatMulV2 BatchMatMulV3 Bucketize Cast Ceil ClipByValue Cos Cumprod Cumsum Div
    DivNoNan Einsum Equal Erf Erfc Exp Expm1 Floor FloorDiv FloorMod Greater GreaterEqual
    HistogramFixedWidth InTopK InTopKV2 IsFinite IsInf IsNan L2Loss Less LessEqual Log Log1p
    LogicalAnd LogicalNot LogicalOr MatMul Max Maximum Mean Min Minimum Mod Mul MulNoNan Neg
    NotEqual Pow Prod Qr RealDiv Reciprocal Rint Round Rsqrt SegmentMax SegmentMean
    SegmentSum Sigmoid Sign Sin Sqrt Square SquaredDifference Sub Sum Tan Tanh TopK TopKV2
    TruncateDiv TruncateMod UnsortedSegmentMax UnsortedSegmentSum Xdivy Xlogy
"""
_LAYERS = """
    AvgPool BiasAdd BiasAddV1 Conv2D Conv2DBackpropInput Dequantize DepthwiseConv2dNative
    Dilation2D Elu FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars
    FakeQuantWithMinMaxVarsPerChannel FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3
    FusedPadConv2D FusedResizeAndPadConv2D LRN LeakyRelu LogSoftmax MaxPool MaxPoolV2
    MaxPoolWithArgmax QuantizeV2 Relu Relu6 Selu Softmax Softplus Softsign
"""
_IMAGES = """
    AdjustContrastv2 AdjustHue AdjustSaturation CropAndResize DecodeAndCropJpeg DecodeBmp
    DecodeGif DecodeImage DecodeJpeg DecodePng EncodeJpeg EncodePng ExtractJpegShape
    HSVToRGB ImageProjectiveTransformV2 ImageProjectiveTransformV3 RGBToHSV ResizeArea
    ResizeBicubic ResizeBilinear ResizeNearestNeighbor ScaleAndTranslate
"""
_STRINGS = """
    AsString DecodeBase64 DecodeRaw EncodeBase64 ParseExample ParseExampleV2
    ParseSingleExample ParseTensor ReduceJoin RegexFullMatch RegexReplace
    StaticRegexFullMatch StaticRegexReplace StringJoin StringLength StringLower StringSplit
    StringSplitV2 StringStrip StringToHashBucketFast StringToNumber StringUpper Substr
"""
# `map_fn` over the images of a batch, conditions, functions of the Transform graph.
_CONTROL = """
    Assert ControlTrigger Enter Exit If LoopCond Merge NextIteration NoOp PartitionedCall
    StatefulPartitionedCall StatelessIf StatelessWhile Switch TensorArrayCloseV3
    TensorArrayConcatV3 TensorArrayGatherV3 TensorArrayReadV3 TensorArrayScatterV3
    TensorArraySizeV3 TensorArraySplitV3 TensorArrayV3 TensorArrayWriteV3 TensorListElementShape
    TensorListFromTensor TensorListGather TensorListGetItem TensorListLength
    TensorListReserve TensorListResize TensorListScatterV2 TensorListSetItem
    TensorListStack While
"""
# With the initial values, which stay in the graph beside the weights that replace them.
_VARIABLES = """
    Assign AssignVariableOp DisableCopyOnRead HashTable HashTableV2 InitializeTable
    InitializeTableV2 IsVariableInitialized LookupTableFind LookupTableFindV2
    LookupTableImport LookupTableImportV2 LookupTableSize LookupTableSizeV2
    RandomStandardNormal RandomUniform RandomUniformInt ReadVariableOp ResourceGather
    StatelessRandomGetAlg StatelessRandomGetKeyCounter StatelessRandomNormal
    StatelessRandomNormalV2 StatelessRandomUniform StatelessRandomUniformV2
    StatelessTruncatedNormal StatelessTruncatedNormalV2 TruncatedNormal VarHandleOp
    VarIsInitializedOp Variable VariableShape VariableV2
"""
# Every SavedModel has them, for its weights. Where an answer needs one, it writes or reads
# other files.
_SAVING = frozenset({"MergeV2Checkpoints", "SaveV2"})
_SAVER = _SAVING | {"RestoreV2", "ShardedFilename"}
_VARIABLE_HOLDERS = frozenset({"VarHandleOp", "Variable", "VariableV2"})

ALLOWED = _SAVER.union(
    *(
        group.split()
        for group in (
            _ARRAYS,
            _MATHS,
            _LAYERS,
            _IMAGES,
            _STRINGS,
            _CONTROL,
            _VARIABLES,
        )
    )
)


def problems(meta_graph: Any) -> list[str]:
    """Why the graph of a MetaGraphDef is refused, a sentence each.

    Args:
      meta_graph: the proto, as in saved_model.pb.
    """
    graph = meta_graph.graph_def
    unknown = sorted(_all_operations(graph) - ALLOWED)
    sentences = [
        f"the graph holds the operation {name}, which no classifier needs"
        for name in unknown
    ]
    answers = [
        output.name
        for signature in meta_graph.signature_def.values()
        for output in signature.outputs.values()
    ]
    sentences += [
        f"the graph runs {name} to answer or to be loaded"
        for name in sorted(
            _reached(graph, [*answers, *sessions.initialisers(meta_graph)]) & _SAVER
        )
    ]
    restore = meta_graph.saver_def.restore_op_name
    sentences += [
        f"the graph runs {name} to restore its weights"
        for name in sorted(_reached(graph, [restore] if restore else []) & _SAVING)
    ]
    return sentences


def has_variables(meta_graph: Any) -> bool:
    """Whether the graph needs files with weights."""
    return bool(_all_operations(meta_graph.graph_def) & _VARIABLE_HOLDERS)


def _all_operations(graph: Any) -> set[str]:
    """Kinds of all operations, those inside of functions too."""
    functions = {function.signature.name for function in graph.library.function}
    found = {node.op for node in graph.node}
    for function in graph.library.function:
        found.update(node.op for node in function.node_def)
    # A function can be called by its own name.
    return found - functions


def _reached(graph: Any, tensors: Iterable[str]) -> set[str]:
    """Kinds of the operations that run for `tensors`; of a function called, all."""
    nodes = {node.name: node for node in graph.node}
    functions = {
        function.signature.name: function for function in graph.library.function
    }
    found: set[str] = set()
    seen: set[str] = set()
    waiting = [nodes[name] for name in map(_node_name, tensors) if name in nodes]
    while waiting:
        node = waiting.pop()
        found.add(node.op)
        # Only nodes of the graph itself have inputs there; those of a function are all run.
        inputs = [_node_name(tensor) for tensor in node.input]
        for name in inputs:
            if name in nodes and name not in seen:
                seen.add(name)
                waiting.append(nodes[name])
        for name in _called(node):
            if name in functions and f"function {name}" not in seen:
                seen.add(f"function {name}")
                waiting.extend(_without_inputs(functions[name].node_def))
    return found


def _without_inputs(definitions: Iterable[Any]) -> Iterator[Any]:
    """Nodes of a function: their inputs name each other, not nodes of the graph."""
    for definition in definitions:
        copy = type(definition)()
        copy.CopyFrom(definition)
        del copy.input[:]
        yield copy


def _called(node: Any) -> Iterator[str]:
    """Functions that a node names: as its kind, or in an attribute."""
    yield node.op
    for attribute in node.attr.values():
        if attribute.HasField("func"):
            yield attribute.func.name
        yield from (function.name for function in attribute.list.func)


def _node_name(tensor: str) -> str:
    return tensor.removeprefix("^").partition(":")[0]
