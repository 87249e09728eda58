import pytest
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from common.errors import ConfigError
from pipeline.kubeflow import kubernetes_settings
from pipeline.kubeflow.kubernetes_settings import KubernetesSettings


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


def test_resources_of_all_components_but_those_with_their_own(spec: dict) -> None:
    settings = KubernetesSettings(cpu={"train": "4", "all": "1"}, memory={"all": "2Gi"})
    kubernetes_settings.set_resources(spec, settings)
    limits = {
        name: (found["resourceCpuLimit"], found["resourceMemoryLimit"])
        for name in ("ingest", "train")
        for found in [resources(spec, name)]
    }
    assert limits == {"ingest": ("1", "2Gi"), "train": ("4", "2Gi")}


def test_nodes_and_secrets_of_the_pods(spec: dict) -> None:
    settings = kubernetes_settings.from_text(
        tolerations=["nvidia.com/gpu=present:NoSchedule", "spot"],
        node_selectors=["disk=ssd", "train:cloud.example.com/pool=gpu"],
        pull_secrets=["regcred"],
    )
    platform = kubernetes_settings.platform_spec(spec, settings)
    json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for found in executors.values():
        assert found["tolerations"] == [
            {
                "key": "nvidia.com/gpu",
                "operator": "Equal",
                "value": "present",
                "effect": "NoSchedule",
            },
            {"key": "spot", "operator": "Exists"},
        ]
        (secret,) = found["imagePullSecret"]
        assert secret["secretName"] == "regcred"
        assert secret["secretNameParameter"]["runtimeValue"] == {"constant": "regcred"}
        assert "fieldPathAsEnv" not in found  # without volumes there is no ledger
    labels = {
        name: found["nodeSelector"]["labels"] for name, found in executors.items()
    }
    assert labels == {
        "ingest_executor": {"disk": "ssd"},
        "train_executor": {"cloud.example.com/pool": "gpu"},
    }


def test_a_selector_of_one_component_leaves_the_others_alone(spec: dict) -> None:
    settings = KubernetesSettings(node_selectors={"train": {"pool": "gpu"}})
    platform = kubernetes_settings.platform_spec(spec, settings)
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert executors == {
        "train_executor": {"nodeSelector": {"labels": {"pool": "gpu"}}}
    }
    unknown = KubernetesSettings(node_selectors={"tune": {"pool": "gpu"}})
    with pytest.raises(ConfigError, match="no component 'tune'"):
        kubernetes_settings.platform_spec(spec, unknown)


def test_every_task_is_tried_again() -> None:
    spec: dict = {"root": {"dag": {"tasks": {"ingest": {}, "train": {}}}}}
    kubernetes_settings.set_retries(spec, KubernetesSettings())
    assert spec["root"]["dag"]["tasks"] == {"ingest": {}, "train": {}}
    kubernetes_settings.set_retries(spec, KubernetesSettings(retries=2))
    for task in spec["root"]["dag"]["tasks"].values():
        json_format.ParseDict(task, pipeline_spec_pb2.PipelineTaskSpec())
        assert task["retryPolicy"]["maxRetryCount"] == 2


def test_nothing_asked_changes_nothing(spec: dict) -> None:
    kubernetes_settings.set_resources(spec, KubernetesSettings())
    assert resources(spec, "train") == {}
    assert kubernetes_settings.platform_spec(spec, KubernetesSettings()) == {}


def test_volumes_are_mounted_everywhere_and_pods_know_their_run(spec: dict) -> None:
    settings = KubernetesSettings(volumes={"/slimline": "images"})
    platform = kubernetes_settings.platform_spec(spec, settings)
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    mount = {
        "mountPath": "/slimline",
        "constant": "images",
        "pvcNameParameter": {"runtimeValue": {"constant": "images"}},
    }
    run_id = {
        "name": "SLIMLINE_KUBEFLOW_RUN_ID",
        "fieldPath": "metadata.labels['pipeline/runid']",
    }
    assert executors == {
        label: {"pvcMount": [mount], "fieldPathAsEnv": [run_id]}
        for label in ("ingest_executor", "train_executor")
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


def test_settings_as_they_are_typed() -> None:
    settings = kubernetes_settings.from_text(
        volumes=["slimline:/slimline/", "nas.images-1:/mnt/images"],
        cpu=["train=4", "ingest=500m"],
        memory=["train=8Gi"],
        gpus=1,
    )
    assert settings == KubernetesSettings(
        volumes={"/slimline": "slimline", "/mnt/images": "nas.images-1"},
        cpu={"train": "4", "ingest": "500m"},
        memory={"train": "8Gi"},
        gpus=1,
    )
    assert kubernetes_settings.from_text() == KubernetesSettings()
    assert settings.mounts("/mnt/images") and settings.mounts("/slimline/serving/x")
    assert not settings.mounts("/slimline2") and not settings.mounts("/mnt")


@pytest.mark.parametrize(
    ("arguments", "message", "found"),
    [
        ({"volumes": ["slimline"]}, "--volume takes the name of", "slimline"),
        ({"volumes": ["a:relative"]}, "--volume takes the name of", "a:relative"),
        ({"volumes": ["a:/"]}, "--volume takes the name of", "a:/"),
        ({"volumes": ["A_b:/x"]}, "--volume takes the name of", "A_b:/x"),
        ({"volumes": ["a:/x:ro"]}, "--volume takes the name of", "a:/x:ro"),
        ({"volumes": ["a:/x", "b:/x/"]}, "--volume is given twice for /x", "a and b"),
        ({"cpu": ["4"]}, "--cpu takes a component and a quantity", "4"),
        ({"memory": ["=8Gi"]}, "--memory takes a component and a quantity", "=8Gi"),
        ({"tolerations": ["gpu:Never"]}, "--toleration takes a taint", "gpu:Never"),
        ({"node_selectors": ["pool"]}, "--node-selector takes a label", "pool"),
        (
            {"node_selectors": ["train:pool=a", "train:pool=b"]},
            "--node-selector is given twice for train:pool",
            "a and b",
        ),
        ({"pull_secrets": ["a b"]}, "--pull-secret takes the name", "a b"),
        (
            {"memory": ["train=8Gi", "train=9Gi"]},
            "--memory is given twice for train",
            "8Gi and 9Gi",
        ),
    ],
)
def test_settings_that_are_typed_wrong(
    arguments: dict, message: str, found: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        kubernetes_settings.from_text(**arguments)
    assert caught.value.found == found


def test_folders_on_no_volume() -> None:
    def spec(data: str, version: str = "2.1.0") -> dict:
        parameters = {"data": data, "serving_folder": "/slimline/serving/x"}
        defaults = {name: {"defaultValue": path} for name, path in parameters.items()}
        return {
            "schemaVersion": version,
            "root": {"inputDefinitions": {"parameters": defaults}},
        }

    settings = KubernetesSettings(volumes={"/slimline": "slimline"})
    assert kubernetes_settings.unmounted(spec("/slimline/images"), settings) == []
    assert kubernetes_settings.unmounted(spec("gs://bucket/images"), settings) == []
    assert kubernetes_settings.unmounted(spec("/images"), settings) == [
        "no --volume mounts /images, the folder of the images"
    ]
    bare = KubernetesSettings()
    assert len(kubernetes_settings.unmounted(spec("/images"), bare)) == 2
    # Vertex mounts buckets by itself.
    assert kubernetes_settings.unmounted(spec("/gcs/b", "2.0.0"), bare) == []
