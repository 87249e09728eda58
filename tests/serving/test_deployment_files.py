"""The files that start TensorFlow Serving: of the right form, and of one mind."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import types

import kubernetes.client
import numpy as np
import pytest
import yaml
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from PIL import Image

from serving import client

SERVING = pathlib.Path(__file__).parents[2] / "serving"
KUBERNETES = SERVING / "kubernetes"
# Kind -> the class of the Kubernetes client that has its fields.
CLASSES = {
    "Deployment": "V1Deployment",
    "HorizontalPodAutoscaler": "V2HorizontalPodAutoscaler",
    "NetworkPolicy": "V1NetworkPolicy",
    "PersistentVolumeClaim": "V1PersistentVolumeClaim",
    "PodDisruptionBudget": "V1PodDisruptionBudget",
    "Service": "V1Service",
}
VERSIONS = {
    "Deployment": "apps/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "NetworkPolicy": "networking.k8s.io/v1",
    "PodDisruptionBudget": "policy/v1",
    "ServiceMonitor": "monitoring.coreos.com/v1",
}
# Kinds of kustomize and of the Prometheus operator, which the client does not know.
OF_OTHERS = ("Kustomization", "PrometheusRule", "ServiceMonitor")
# tensorflow/serving, tensorflow_serving/model_servers/main.cc.
FLAGS = {
    "allow_version_labels_for_unavailable_models",
    "batching_parameters_file",
    "enable_batching",
    "file_system_poll_wait_seconds",
    "grpc_channel_arguments",
    "grpc_max_threads",
    "model_config_file",
    "model_config_file_poll_wait_seconds",
    "monitoring_config_file",
    "rest_api_num_threads",
    "tensorflow_inter_op_parallelism",
    "tensorflow_intra_op_parallelism",
}
# tensorflow_serving/servables/tensorflow/session_bundle_config.proto: name, number, type.
BATCHING_PARAMETERS = (
    ("max_batch_size", 1, "Int64Value"),
    ("batch_timeout_micros", 2, "Int64Value"),
    ("max_enqueued_batches", 3, "Int64Value"),
    ("num_batch_threads", 4, "Int64Value"),
    ("thread_pool_name", 5, "StringValue"),
    ("allowed_batch_sizes", 6, "int64 repeated"),
)
# tensorflow_serving/config/monitoring_config.proto.
PROMETHEUS_CONFIG = (("enable", 1, "bool"), ("path", 2, "string"))
# The fields of an endpoint in the API reference of the Prometheus operator, v1.
ENDPOINT_FIELDS = {"interval", "path", "port", "scheme", "scrapeTimeout", "targetPort"}
# compose-spec, 05-services.md.
COMPOSE_FIELDS = {
    *(
        "cap_drop",
        "command",
        "cpus",
        "healthcheck",
        "image",
        "init",
        "logging",
        "mem_limit",
    ),
    *("pids_limit", "ports", "read_only", "restart", "security_opt", "tmpfs", "user"),
    "volumes",
}


def load(path):
    return [found for found in yaml.safe_load_all(path.read_text()) if found]


MANIFESTS = [
    pytest.param(document, id=f"{path.stem}-{document['metadata']['name']}")
    for path in sorted(KUBERNETES.rglob("*.yaml"))
    for document in load(path)
    if document["kind"] not in OF_OTHERS
]


def manifest(name):
    return load(KUBERNETES / f"{name}.yaml")[0]


@pytest.mark.parametrize("document", MANIFESTS)
def test_manifests_have_known_fields_only(document):
    api = kubernetes.client.ApiClient()
    # What is required and missing raises; what is unknown is dropped, and missed here.
    response = types.SimpleNamespace(data=json.dumps(document))
    found = api.deserialize(response, CLASSES[document["kind"]])
    assert api.sanitize_for_serialization(found) == document
    assert document["apiVersion"] == VERSIONS.get(document["kind"], "v1")


def test_an_unknown_field_would_be_found():
    document = manifest("deployment")
    document["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(AssertionError):
        test_manifests_have_known_fields_only(document)


def test_service_monitor():
    document = manifest("monitoring/service_monitor")
    assert document["apiVersion"] == VERSIONS["ServiceMonitor"]
    assert set(document["spec"]) == {"selector", "endpoints"}
    (endpoint,) = document["spec"]["endpoints"]
    assert set(endpoint) <= ENDPOINT_FIELDS
    service = manifest("service")
    assert document["spec"]["selector"]["matchLabels"] == service["metadata"]["labels"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    parameters = parse("monitoring.conf", monitoring_config())
    assert endpoint["path"] == parameters.prometheus_config.path


# Folder -> kinds of what its kustomization applies, and deletes.
KUSTOMIZATIONS = {
    "models": {"PersistentVolumeClaim"},
    "monitoring": {"PrometheusRule", "ServiceMonitor"},
    ".": {
        "Deployment",
        "HorizontalPodAutoscaler",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
    },
}


@pytest.mark.parametrize("folder", KUSTOMIZATIONS)
def test_kustomization_names_every_file(folder):
    place = KUBERNETES / folder
    (document,) = load(place / "kustomization.yaml")
    resources = [place / name for name in document["resources"]]
    generators = document.get("configMapGenerator", [])
    files = [place / name for each in generators for name in each["files"]]
    there = {path for path in place.iterdir() if path.is_file()}
    assert {*resources, *files} == there - {place / "kustomization.yaml"}
    kinds = {found["kind"] for path in resources for found in load(path)}
    assert kinds == KUSTOMIZATIONS[folder]


def test_a_change_of_the_settings_starts_new_pods():
    (document,) = load(KUBERNETES / "kustomization.yaml")
    (generator,) = document["configMapGenerator"]
    assert not generator.get("options", {}).get("disableNameSuffixHash")
    (pod,) = load(KUBERNETES / "deployment.yaml")
    volumes = pod["spec"]["template"]["spec"]["volumes"]
    (settings,) = [each["configMap"] for each in volumes if "configMap" in each]
    assert settings["name"] == generator["name"]


def test_manifests_fit_together():
    deployment = manifest("deployment")
    pod = deployment["spec"]["template"]
    labels = pod["metadata"]["labels"]
    services = load(KUBERNETES / "service.yaml")
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        manifest("disruption_budget")["spec"]["selector"]["matchLabels"],
        manifest("network_policy")["spec"]["podSelector"]["matchLabels"],
        *(service["spec"]["selector"] for service in services),
    ]
    assert all(selector == labels for selector in selectors)
    (container,) = pod["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": 8500, "rest": 8501}
    for service in services:
        for port in service["spec"]["ports"]:
            assert ports[port["targetPort"]] == port["port"]
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["path"] == "/monitoring/prometheus/metrics"
    target = manifest("autoscaler")["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == (
        deployment["kind"],
        deployment["metadata"]["name"],
    )
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    claim = volumes["models"]["persistentVolumeClaim"]["claimName"]
    assert claim == manifest("models/volume")["metadata"]["name"]


def test_containers_may_do_little():
    pod = manifest("deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod["automountServiceAccountToken"]
    assert not any("hostPath" in volume for volume in pod["volumes"])
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    assert mounts["models"]["readOnly"] and mounts["settings"]["readOnly"]
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}

    service = compose()
    assert service["read_only"] and service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(volume["read_only"] for volume in service["volumes"])
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert service["cpus"] and service["mem_limit"]


def compose():
    document = yaml.safe_load((SERVING / "docker-compose.yml").read_text())
    assert set(document) == {"name", "services"}
    (service,) = document["services"].values()
    return service


def test_compose_file():
    service = compose()
    assert set(service) - COMPOSE_FIELDS == set()
    for volume in service["volumes"]:
        source = volume["source"]
        assert source.startswith("${") or (SERVING / source).is_file()
    targets = [volume["target"] for volume in service["volumes"]]
    for flag in service["command"]:
        path = flag.partition("=")[2]
        if path.startswith("/"):
            assert any(path.startswith(target) for target in targets), flag


def test_flags_are_tensorflow_servings():
    service, (container,) = (
        compose(),
        manifest("deployment")["spec"]["template"]["spec"]["containers"],
    )
    assert service["image"] == container["image"]
    assert f"image={service['image']}\n" in (SERVING / "smoke.sh").read_text()
    flags = dict(flag.removeprefix("--").split("=", 1) for flag in container["args"])
    assert set(flags) == FLAGS
    # Pods are many, a container is one.
    del flags["grpc_channel_arguments"]
    assert flags == dict(
        flag.removeprefix("--").split("=", 1) for flag in service["command"]
    )


def message(name, fields, file=None):
    """Adds a message to `file`, a FileDescriptorProto."""
    found = file.message_type.add(name=name)
    for field_name, number, kind in fields:
        kind, _, label = kind.partition(" ")
        field = found.field.add(name=field_name, number=number, label=3 if label else 1)
        if kind[0].isupper():
            field.type = field.TYPE_MESSAGE
            is_wrapper = kind.endswith("Value")
            field.type_name = (
                f".{'google.protobuf' if is_wrapper else file.package}.{kind}"
            )
        else:
            field.type = getattr(field, f"TYPE_{kind.upper()}")


def message_type(name, **messages):
    file = descriptor_pb2.FileDescriptorProto(
        name="test.proto", package="test", syntax="proto3"
    )
    wrappers = descriptor_pb2.FileDescriptorProto()
    wrappers_pb2.DESCRIPTOR.CopyToProto(wrappers)
    file.dependency.append(wrappers.name)
    for message_name, fields in messages.items():
        message(message_name, fields, file)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(wrappers)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"test.{name}"))


def monitoring_config():
    return message_type(
        "MonitoringConfig",
        PrometheusConfig=PROMETHEUS_CONFIG,
        MonitoringConfig=(("prometheus_config", 1, "PrometheusConfig"),),
    )


def parse(file, kind):
    return text_format.Parse((KUBERNETES / file).read_text(), kind())


def test_batching_parameters():
    kind = message_type("BatchingParameters", BatchingParameters=BATCHING_PARAMETERS)
    found = parse("batching.conf", kind)
    sizes = list(found.allowed_batch_sizes)
    # What TensorFlow Serving asks of them.
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == found.max_batch_size.value
    assert found.num_batch_threads.value >= 1
    assert found.max_batch_size.value >= client.BATCH_SIZE
    threads = {
        flag.partition("=")[2]
        for flag in compose()["command"]
        if flag.partition("=")[0].endswith("_threads")
    }
    assert threads == {str(2 * found.max_batch_size.value)}
    with pytest.raises(text_format.ParseError):
        text_format.Parse("max_batch_sizes { value: 1 }", kind())


def test_monitoring_configuration():
    found = parse("monitoring.conf", monitoring_config())
    assert found.prometheus_config.enable


def test_health_check(serve_rest):
    _, *command = compose()["healthcheck"]["test"]
    model = serve_rest()

    def check(path="/monitoring/", port=model.port):
        words = [
            word.replace("$$", "$")
            .replace("127.0.0.1/8501", f"localhost/{port}")
            .replace("/monitoring/", path)
            for word in command
        ]
        return subprocess.run(words, check=False, capture_output=True).returncode

    assert check() == 0
    assert check(path="/nothing/") != 0
    assert check(port=1) != 0


SHELLS = [name for name in ("dash", "bash") if shutil.which(name)]


@pytest.mark.parametrize("shell", SHELLS)
def test_smoke_test_is_a_script(shell):
    subprocess.run([shell, "-n", SERVING / "smoke.sh"], check=True)
    assert os.access(SERVING / "smoke.sh", os.X_OK)


GREEN = {"green": 0.5, "the blue": 0.3, "red": 0.2}


@pytest.fixture
def machine(tmp_path, serve_rest):
    """Programs that stand for Docker and slimline; curl and the server are real ones."""
    model = serve_rest()
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("cat", "curl", "dirname", "grep", "mktemp", "rm", "sed"):
        (programs / name).symlink_to(shutil.which(name))
    write_program(programs / "sleep", "exit 0")
    write_program(programs / "python3", f'exec {sys.executable} "$@"')
    write_program(
        programs / "docker",
        f'echo "$*" >>{tmp_path}/docker.log\n'
        "case $1 in\n"
        "run) echo 4711 ;;\n"
        f"port) echo {model.target} ;;\n"
        "logs) echo the server says so ;;\n"
        "esac",
    )
    write_program(
        programs / "slimline",
        f'echo "$*" >>{tmp_path}/slimline.log\n'
        'case "$*" in\n'
        f'*"--server http:"*) cat {tmp_path}/rest.json ;;\n'
        f'*"--server grpc:"*) cat {tmp_path}/grpc.json ;;\n'
        f"*) cat {tmp_path}/model.json ;;\n"
        "esac",
    )
    image = tmp_path / "a b.png"
    Image.fromarray(np.full((4, 4, 3), (20, 50, 30), np.uint8)).save(image)
    for road in ("model", "rest", "grpc"):
        answer(tmp_path, road, GREEN)
    (tmp_path / "runs" / "serving").mkdir(parents=True)
    (tmp_path / "runs" / "serving" / "models.config").touch()
    return tmp_path


def write_program(path, body):
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def answer(folder, road, scores, version=9):
    """What slimline says by a road."""
    top = [{"label": label, "score": score} for label, score in scores.items()]
    document = {
        "model": str(folder / "runs" / "serving" / "colours" / str(version)),
        "predictions": [{"file": str(folder / "a b.png"), "top": top}],
    }
    (folder / f"{road}.json").write_text(json.dumps(document))


def smoke(machine, *arguments):
    """Exit code, lines of standard output, standard error."""
    done = subprocess.run(
        [shutil.which("sh"), SERVING / "smoke.sh", *arguments],
        cwd=machine,
        env={
            "PATH": str(machine / "bin"),
            "TMPDIR": str(machine),
            "SMOKE_SECONDS": "2",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.splitlines(), done.stderr


def lines(machine, program):
    path = machine / f"{program}.log"
    return path.read_text().splitlines() if path.exists() else []


def test_smoke_without_docker(machine):
    write_program(machine / "bin" / "docker", 'echo "Cannot connect" >&2; exit 1')
    code, out, err = smoke(machine)
    assert (code, out) == (77, [])
    assert err == "smoke: no Docker daemon answers, nothing was tried\n"
    (machine / "bin" / "docker").unlink()
    code, out, err = smoke(machine)
    assert (code, out) == (77, [])
    assert err == "smoke: there is no docker command, nothing was tried\n"


@pytest.mark.skipif(not shutil.which("docker"), reason="no docker command")
def test_smoke_where_the_daemon_may_be_missing(machine):
    if subprocess.run(["docker", "info"], check=False, capture_output=True).returncode:
        (machine / "bin" / "docker").unlink()
        (machine / "bin" / "docker").symlink_to(shutil.which("docker"))
        assert smoke(machine)[0] == 77


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("bin/slimline", "there is no slimline"),
        ("bin/curl", "there is no curl"),
        ("runs/serving/models.config", "slimline models promote NAME writes it"),
    ],
)
def test_smoke_says_what_is_missing(machine, missing, message):
    (machine / missing).unlink()
    code, out, err = smoke(machine)
    assert (code, out) == (2, [])
    assert message in err
    assert [line for line in lines(machine, "docker") if line != "info"] == []


def test_smoke_says_that_there_is_no_model(machine):
    code, _, err = smoke(machine, "other")
    assert code == 2
    assert err == "smoke: no models in other/serving; slimline run pushes one\n"


def test_smoke_agrees(machine):
    code, out, err = smoke(machine)
    assert (code, err) == (0, "")
    assert out[:2] == [
        "smoke: rest differs by 0.0e+00 at most, 1 images",
        "smoke: grpc differs by 0.0e+00 at most, 1 images",
    ]
    assert out[2].startswith("smoke: curl differs by ")
    assert out[3] == "smoke: colours@9 answers as the SavedModel does"
    assert all("--run latest" in line for line in lines(machine, "slimline"))
    run = next(line for line in lines(machine, "docker") if line.startswith("run "))
    assert f"source={machine}/runs/serving,target=/models,readonly" in run
    assert "--publish 127.0.0.1::8501" in run
    assert lines(machine, "docker")[-1] == "rm --force 4711"
    # Nothing is left in the folder for temporary files.
    assert not [path for path in machine.iterdir() if path.name.startswith("tmp.")]


def test_smoke_of_named_images(machine):
    code, _, err = smoke(machine, "runs", "colours", "a b.png")
    assert (code, err) == (0, "")
    asked = lines(machine, "slimline")
    assert asked[0].endswith("--model colours --top 100000 --json -- a b.png")
    assert all("--model colours@9" in line for line in asked[1:])
    assert smoke(machine, "runs", "colours")[0] == 2


@pytest.mark.parametrize("road", ["rest", "grpc", "model"])
def test_smoke_finds_a_difference(machine, road):
    answer(machine, road, {"green": 0.50002, "the blue": 0.3, "red": 0.2})
    code, out, _ = smoke(machine)
    assert code == 1
    roads = [road] if road != "model" else ["rest", "grpc", "curl"]
    for name in roads:
        assert f"smoke: {name} differs by 2.0e-05 at most, 1 images" in out
    assert lines(machine, "docker")[-1] == "rm --force 4711"


def test_smoke_finds_other_classes(machine):
    answer(machine, "grpc", {"green": 0.5, "blue": 0.3, "red": 0.2})
    code, out, _ = smoke(machine)
    assert code == 1
    assert "smoke: grpc names other classes, or answers to other images" in out


def test_smoke_of_a_server_that_does_not_load(machine):
    answer(machine, "model", GREEN, version=8)
    code, _, err = smoke(machine)
    assert code == 1
    assert "the server says so" in err
    assert "smoke: colours@8 is not available after 2 s" in err
    assert lines(machine, "docker")[-1] == "rm --force 4711"
