"""What published nets share: the images they expect; of tf-slim's, batch norm and names."""

from trainer.config import PreprocessingConfig
from trainer.nets.blocks import HE_NORMAL, Defaults
from trainer.nets.published import IMAGENET, Source, fixed

# Means of red, green and blue over ImageNet's pixels.
MEANS = (123.68, 116.779, 103.939)
# A crop of 7/8 of the shorter side, as in the evaluations of all of them.
MEANS_224 = fixed(256, 224, MEANS, (1.0,), "bilinear")
IMAGENET_224 = fixed(256, 224, *IMAGENET, "bilinear")
ONES_224 = PreprocessingConfig(256, 224, standardise="minus_one_to_one")
ONES_299 = PreprocessingConfig(342, 299, standardise="minus_one_to_one")

# The Inception nets: the next convolution can scale, so batch norm has no factors.
INCEPTION = Defaults(HE_NORMAL, norm_decay=0.9997, norm_epsilon=0.001, norm_scale=False)


def inception_source(
    scope: str,
    images: PreprocessingConfig,
    rules: tuple[tuple[str, str], ...] = (),
) -> Source:
    """Names as `InceptionV3/Mixed_5b/Branch_1/Conv2d_0a_1x1/weights`.

    In their order they are the layers of the table, once `rules` have brought the scopes
    out of order to their place; scopes of branches and layers may bear any number.
    """
    return Source(
        "slim",
        "tf-slim",
        ((rf"^{scope}/Logits/[^/]+/", "logits/"), *rules),
        images,
        ignored=(rf"^{scope}/AuxLogits/",),
        ordered=f"{scope}/.*",
    )
