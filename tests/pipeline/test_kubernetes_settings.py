import pytest

from pipeline import kubernetes_settings
from pipeline.kubernetes_settings import KubernetesSettings
from schema.errors import ConfigError


@pytest.fixture
def spec() -> dict:
    return {
        "deploymentSpec": {
            "executors": {
                "ingest_executor": {"container": {"image": "x"}},
                "train_executor": {"container": {"image": "x"}},
            }
        }
    }


def resources(spec: dict, component: str) -> dict:
    container = spec["deploymentSpec"]["executors"][f"{component}_executor"][
        "container"
    ]
    return container.get("resources", {})


def test_resources_of_single_components(spec: dict) -> None:
    settings = KubernetesSettings(
        cpu={"train": "4", "ingest": "500m"}, memory={"train": "8Gi"}, gpus=2
    )
    kubernetes_settings.set_resources(spec, settings)
    assert resources(spec, "ingest") == {
        "resourceCpuRequest": "500m",
        "resourceCpuLimit": "500m",
    }
    assert resources(spec, "train") == {
        "resourceCpuRequest": "4",
        "resourceCpuLimit": "4",
        "resourceMemoryRequest": "8Gi",
        "resourceMemoryLimit": "8Gi",
        "accelerator": {
            "resourceType": "nvidia.com/gpu",
            "resourceCount": "2",
            "type": "nvidia.com/gpu",
            "count": "2",
        },
    }


def test_nothing_asked_changes_nothing(spec: dict) -> None:
    kubernetes_settings.set_resources(spec, KubernetesSettings())
    assert resources(spec, "train") == {}
    assert kubernetes_settings.platform_spec(spec, KubernetesSettings()) == {}


def test_volumes_are_mounted_everywhere(spec: dict) -> None:
    settings = KubernetesSettings(volumes={"/slimline": "images"})
    platform = kubernetes_settings.platform_spec(spec, settings)
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    mount = {
        "mountPath": "/slimline",
        "constant": "images",
        "pvcNameParameter": {"runtimeValue": {"constant": "images"}},
    }
    assert executors == {
        "ingest_executor": {"pvcMount": [mount]},
        "train_executor": {"pvcMount": [mount]},
    }


@pytest.mark.parametrize(
    "settings, words",
    [
        (KubernetesSettings(cpu={"training": "4"}), "no component 'training'"),
        (KubernetesSettings(cpu={"train": "four"}), "cpu of 'train'"),
        (KubernetesSettings(memory={"train": "8 GB"}), "memory of 'train'"),
    ],
)
def test_mistakes_are_sentences(
    spec: dict, settings: KubernetesSettings, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        kubernetes_settings.set_resources(spec, settings)
