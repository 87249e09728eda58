#!/bin/sh
# Asks TensorFlow Serving, started by Docker, what the SavedModel itself is asked, too.
#
#   serving/smoke.sh [ROOT [MODEL IMAGE...]]
#
# ROOT is the folder of the runs (runs), MODEL one of its pushed models, as NAME or
# NAME@VERSION. Without MODEL and images they are those of the newest run and its samples.
# Four roads must give the same scores within 1e-5: slimline predict, the same with --server
# by REST and by gRPC, and plain curl, which needs the images to be JPEG or PNG.
#
# Exit code: 0 they agree; 1 they do not, or the server did not start; 2 something that this
# needs is missing; 77 no Docker daemon answers, nothing was tried.
#
# SMOKE_SECONDS (120) is how long the server may take to load, PYTHON (python3) compares.
set -eu

image=tensorflow/serving:2.16.1
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
root=${1:-runs}
seconds=${SMOKE_SECONDS:-120}
python=${PYTHON:-python3}
container=
work=

fail() {
    code=$1
    shift
    printf 'smoke: %s\n' "$*" >&2
    exit "$code"
}

clean_up() {
    [ -z "$container" ] || docker rm --force "$container" >/dev/null 2>&1 || :
    [ -z "$work" ] || rm -rf -- "$work"
}

# Where a port of the container is on this machine, as 127.0.0.1:49153.
published() {
    docker port "$container" "$1/tcp" | sed -n 1p
}

command -v docker >/dev/null 2>&1 || fail 77 'there is no docker command, nothing was tried'
docker info >/dev/null 2>&1 || fail 77 'no Docker daemon answers, nothing was tried'
for program in curl slimline "$python"; do
    command -v "$program" >/dev/null 2>&1 || fail 2 "there is no $program"
done
serving=$(CDPATH='' cd -- "$root/serving" 2>/dev/null && pwd) ||
    fail 2 "no models in $root/serving; slimline run pushes one"
[ -f "$serving/models.config" ] ||
    fail 2 "no $serving/models.config; slimline models promote NAME writes it"
[ $# -ne 2 ] || fail 2 'give images with the model'

trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
work=$(mktemp -d)

if [ $# -gt 2 ]; then
    model=$2
    shift 2
    slimline predict --root "$root" --model "$model" --top 100000 --json -- "$@" >"$work/model.json"
else
    slimline predict --root "$root" --run latest --top 100000 --json >"$work/model.json"
    set --
fi
# The name and version that were asked, and the request of curl.
"$python" - "$work" <<'PYTHON'
import base64, json, pathlib, sys

work = pathlib.Path(sys.argv[1])
answer = json.loads((work / "model.json").read_text(encoding="utf-8"))
files = [found["file"] for found in answer["predictions"]]
images = [base64.b64encode(pathlib.Path(file).read_bytes()).decode() for file in files]
name, version = pathlib.PurePath(answer["model"]).parts[-2:]
(work / "name").write_text(name)
(work / "version").write_text(version)
(work / "request.json").write_text(
    json.dumps(
        {
            "signature_name": "predict_images",
            "instances": [{"b64": image} for image in images],
        }
    )
)
PYTHON
name=$(cat "$work/name")
version=$(cat "$work/version")

container=$(
    docker run --detach --user 65534:65534 --read-only --tmpfs /tmp \
        --cap-drop ALL --security-opt no-new-privileges \
        --publish 127.0.0.1::8500 --publish 127.0.0.1::8501 \
        --mount "type=bind,source=$serving,target=/models,readonly" \
        --mount "type=bind,source=$here/kubernetes/batching.conf,target=/etc/batching.conf,readonly" \
        "$image" \
        --model_config_file=/models/models.config \
        --allow_version_labels_for_unavailable_models=true \
        --enable_batching=true --batching_parameters_file=/etc/batching.conf
) || fail 1 "docker run $image failed"
rest=http://$(published 8501)
grpc=grpc://$(published 8500)

waited=0
until curl --fail --silent "$rest/v1/models/$name/versions/$version" | grep -q '"AVAILABLE"'; do
    if [ "$waited" -ge "$seconds" ]; then
        docker logs --tail 15 "$container" >&2 || :
        fail 1 "$name@$version is not available after $seconds s"
    fi
    waited=$((waited + 1))
    sleep 1
done

for road in rest grpc; do
    server=$rest
    [ "$road" = rest ] || server=$grpc
    if [ $# -gt 0 ]; then
        slimline predict --server "$server" --model "$name@$version" --top 100000 --json -- "$@" >"$work/$road.json"
    else
        slimline predict --root "$root" --run latest --server "$server" --top 100000 --json >"$work/$road.json"
    fi
done
curl --fail --silent --show-error --data "@$work/request.json" \
    "$rest/v1/models/$name/versions/$version:predict" >"$work/curl.json"

"$python" - "$work" <<'PYTHON'
import json, pathlib, sys

TOLERANCE = 1e-5


def read(road):
    return json.loads((pathlib.Path(sys.argv[1]) / f"{road}.json").read_text())["predictions"]


def by_label(road):
    if road == "curl":
        return [dict(zip(row["classes"], row["scores"])) for row in read(road)]
    return [{one["label"]: one["score"] for one in row["top"]} for row in read(road)]


expected = by_label("model")
is_equal = True
for road in ("rest", "grpc", "curl"):
    found = by_label(road)
    if [set(row) for row in found] != [set(row) for row in expected]:
        print(f"smoke: {road} names other classes, or answers to other images")
        is_equal = False
        continue
    largest = max(
        abs(row[label] - score)
        for row, scores in zip(found, expected)
        for label, score in scores.items()
    )
    print(f"smoke: {road} differs by {largest:.1e} at most, {len(found)} images")
    is_equal = is_equal and largest <= TOLERANCE
sys.exit(not is_equal)
PYTHON
printf 'smoke: %s@%s answers as the SavedModel does\n' "$name" "$version"
