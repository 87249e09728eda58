"""All nets by name."""

from trainer import lookup
from trainer.nets import (
    airbench,
    alexnet,
    cnn,
    efficientnet,
    hw_net,
    inception_resnet,
    inception_resnet_slim,
    inception_v1,
    inception_v2,
    inception_v3,
    inception_v4,
    lenet,
    mlp,
    mobilenet,
    mobilenet_v3,
    resnet,
    resnet_published,
    vgg,
)
from trainer.nets.blocks import NetSpec

NETS: dict[str, NetSpec] = {
    "airbench94": airbench.AIRBENCH_94,
    "airbench95": airbench.AIRBENCH_95,
    "alexnet": alexnet.ALEXNET,
    "alexnet_slim": alexnet.ALEXNET_SLIM,
    "cnn_3x3": cnn.CNN_3X3,
    "cnn_all_tricks": cnn.CNN_ALL_TRICKS,
    "cnn_bn": cnn.CNN_BN,
    "cnn_concat": cnn.CNN_CONCAT,
    "cnn_dropout": cnn.CNN_DROPOUT,
    "cnn_gap": cnn.CNN_GAP,
    "cnn_leaky": cnn.CNN_LEAKY,
    "cnn_sigmoid": cnn.CNN_SIGMOID,
    "efficientnet_b0": efficientnet.B0,
    "efficientnet_lite0": efficientnet.LITE_0,
    "efficientnet_lite1": efficientnet.LITE_1,
    "efficientnet_lite2": efficientnet.LITE_2,
    "efficientnet_lite3": efficientnet.LITE_3,
    "efficientnet_lite4": efficientnet.LITE_4,
    "googlenet": inception_v1.GOOGLENET,
    "googlenet_bn": inception_v1.GOOGLENET_BN,
    "hw_net": hw_net.HW_NET,
    "inception_resnet_v1": inception_resnet.INCEPTION_RESNET_V1,
    "inception_resnet_v2": inception_resnet.INCEPTION_RESNET_V2,
    "inception_resnet_v2_slim": inception_resnet_slim.INCEPTION_RESNET_V2_SLIM,
    "inception_v1_slim": inception_v1.INCEPTION_V1_SLIM,
    "inception_v2": inception_v2.INCEPTION_V2,
    "inception_v2_slim": inception_v2.INCEPTION_V2_SLIM,
    "inception_v3": inception_v3.INCEPTION_V3,
    "inception_v4": inception_v4.INCEPTION_V4,
    "inception_v4_slim": inception_v4.INCEPTION_V4_SLIM,
    "lenet": lenet.LENET,
    "lenet_5": lenet.LENET_5,
    "mlp_bn": mlp.MLP_BN,
    "mobilenet_v1": mobilenet.V1,
    "mobilenet_v1_025": mobilenet.V1_025,
    "mobilenet_v1_050": mobilenet.V1_050,
    "mobilenet_v2": mobilenet.V2,
    "mobilenet_v2_035": mobilenet.V2_035,
    "mobilenet_v2_050": mobilenet.V2_050,
    "mobilenet_v2_140": mobilenet.V2_140,
    "mobilenet_v3_large": mobilenet_v3.V3_LARGE,
    "resnet_18": resnet.RESNET_18,
    "resnet_20": resnet.RESNET_20,
    "resnet_32": resnet.RESNET_32,
    "resnet_34": resnet.RESNET_34,
    "resnet_34_mnist": resnet.RESNET_34_MNIST,
    "resnet_50": resnet.RESNET_50,
    "resnet_50_keras": resnet_published.RESNET_50_KERAS,
    "resnet_56": resnet.RESNET_56,
    "resnet_v1_50": resnet_published.RESNET_V1_50,
    "resnet_v1_101": resnet_published.RESNET_V1_101,
    "resnet_v2_50": resnet_published.RESNET_V2_50,
    "vgg_13": vgg.VGG_13,
    "vgg_13_bn": vgg.VGG_13_BN,
    "vgg_16": vgg.VGG_16,
    "vgg_19": vgg.VGG_19,
}


def find(name: str) -> NetSpec:
    """The net called `name`.

    Raises:
      ConfigError: there is none; the error names the nearest and lists all.
    """
    return lookup.find_by_name(NETS, name, "net")
