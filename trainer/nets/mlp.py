"""The fully connected net on which the batch-norm paper shows what batch norm does."""

from trainer.nets.blocks import Defaults, Dense, Flatten, NetSpec, WeightInit

MLP_BN = NetSpec(
    "mlp_bn",
    family="mlp",
    image_size_px=28,
    channels=1,
    num_classes=10,
    # 784 * 100 + 2 * 100 * 100 weights, gamma and beta of 3 * 100 units, and the head.
    parameters=100_010,
    reference="Ioffe and Szegedy, arXiv:1502.03167, section 4.1",
    # The paper says "small random Gaussian values".
    defaults=Defaults(WeightInit("truncated_normal", 0.1), activation="sigmoid"),
    blocks=(
        Flatten(name="flatten"),  # 784
        Dense(100, name="fc1"),
        Dense(100, name="fc2"),
        Dense(100, name="fc3"),
    ),
)
