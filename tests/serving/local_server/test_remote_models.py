"""slimline serve over models in an object store: it follows what others push there."""

import requests

from components.model_pusher import publishing
from pipeline.runs import remote_roots
from pushed_models import models
from storage import mirror


def test_versions_of_other_machines_are_taken_up(
    serve_process, warm_forks, write_model, bucket, new_machine, tmp_path
) -> None:
    uri = f"{bucket.uri}/team"
    model = write_model(tmp_path / "colours", 1)
    root = remote_roots.local(uri)
    first = publishing.publish(model, root / "serving" / "colours")
    new_machine()
    with serve_process.serving(
        uri, "--poll-seconds", "0.1", forks=warm_forks
    ) as served:
        (listed,) = served.events[-1]["models"]
        assert (listed["name"], listed["answers"]) == ("colours", first)
        new_machine()
        root = remote_roots.local(uri)
        second = publishing.publish(model, root / "serving" / "colours")
        served.wait_for("log", f"colours version {second} answers")
        models.find(root, "colours").rollback()
        served.wait_for("log", f"colours version {second} is unloaded")
        url = f"{served.url}/v1/models/colours"
        states = {
            entry["version"]: entry["state"]
            for entry in requests.get(url, timeout=10).json()["model_version_status"]
        }
        assert states[str(first)] == "AVAILABLE"
        assert served.stop() == 0
    assert mirror.shown(str(root / "serving")) == f"{uri}/serving"
