import json
import os
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from launch.launcher import Job
from launch.launchers import kubernetes
from launch.submitted import ENDED, HALT, in_queue, submitted
from launch.yaml_text import document, documents
from pipeline.elsewhere import launcher_from

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden" / "kubernetes.yaml"
VERSIONS = ("1.29", "1.31", kubernetes_validate.latest_version())


def config(**values: Any) -> kubernetes.Config:
    return kubernetes.Config(**{"image": "loglinear:1", "volumes": {"/data": "training"}, **values})


def job(directory: Path = Path("/data/runs/x"), **values: Any) -> Job:
    environment = {"PYTHONPATH": f"{directory}/code/0123456789abcdef.zip", "PYTHONSAFEPATH": "1"}
    argv = ("train", f"{directory}/logs/train.yaml")
    return Job(
        **{"name": "train", "argv": argv, "directory": directory, "environment": environment, **values}
    )


def pod_of(script: str) -> dict[str, Any]:
    _, work = yaml.safe_load_all(script)
    return dict(work["spec"]["template"]["spec"])


def test_the_shipped_file_makes_the_golden_manifest() -> None:
    """If the change is wanted: write what is printed here over the golden file, and read the difference."""
    script = launcher_from(ROOT / "configs" / "launch" / "kubernetes.yaml").script(job())

    assert script.replace(str(Path.cwd()), "/home/me") == GOLDEN.read_text()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("alone", [False, True])
def test_the_cluster_takes_every_manifest_in_strict_mode(version: str, alone: bool) -> None:
    every = config(
        nodes=3,
        processes=2,
        gpus=1,
        secrets={"WANDB_API_KEY": "wandb/api-key"},
        environment={"ODD": 'yes: "no"\n\t# \u2028é', "ANSWER": "yes", "NUMBER": "1e3"},
        namespace="research",
        node_selector={"pool": "true"},
        tolerations=("nvidia.com/gpu",),
        volumes={"/data": "a", "/scratch": "b", "/data/again": "a"},
    )

    script = every.build().script(job(alone=alone))

    for resource in yaml.safe_load_all(script):
        kubernetes_validate.validate(resource, version, strict=True)
    values = {one["name"]: one.get("value") for one in pod_of(script)["containers"][0]["env"]}
    assert values["ODD"] == 'yes: "no"\n\t# \u2028é'
    assert (values["ANSWER"], values["NUMBER"]) == ("yes", "1e3")


def test_a_wrong_manifest_would_be_noticed() -> None:
    _, work = yaml.safe_load_all(config().build().script(job()))
    work["spec"]["backoffLimitPerIndexes"] = 3

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(work, VERSIONS[-1], strict=True)


def test_a_pod_has_longer_to_end_than_its_processes_and_75_is_no_failure() -> None:
    _, work = yaml.safe_load_all(config(grace_seconds=500).build().script(job()))

    assert work["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > 500
    first = work["spec"]["podFailurePolicy"]["rules"][0]
    assert (first["action"], first["onExitCodes"]["values"]) == ("Ignore", [75])
    assert work["spec"]["template"]["spec"]["restartPolicy"] == "Never"


def test_a_stage_of_one_process_gets_one_pod_with_one_share() -> None:
    launcher = config(nodes=2, processes=8, gpus=1, cpus=4, memory="10Gi").build()

    script = launcher.script(job(name="evaluate", alone=True))

    _, work = yaml.safe_load_all(script)
    container = pod_of(script)["containers"][0]
    assert (work["spec"]["completions"], work["spec"]["parallelism"]) == (1, 1)
    assert container["resources"] == {
        "requests": {"cpu": 4, "memory": "10Gi"},
        "limits": {"memory": "10Gi", "nvidia.com/gpu": 1},
    }
    assert "--threads=4" in container["args"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"nodes": 0}, r"nodes \(0\) must be at least 1"),
        ({"user": 0}, r"user \(0\) must be at least 1"),
        ({"memory": "32 GB"}, r"memory \(32 GB\) must be a number of Mi or Gi"),
        ({"volumes": {}}, "name a claim for the path"),
        ({"volumes": {"data": "a"}}, "data must be an absolute path"),
        ({"secrets": {"WANDB_API_KEY": "0123456789abcdef"}}, "WANDB_API_KEY must be SECRET/KEY"),
        ({"environment": {"WANDB_API_KEY": "planted"}}, "WANDB_API_KEY would stand in the cluster's records"),
    ],
)
def test_what_could_not_run_is_refused_and_no_value_is_told(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        config(**values)
    assert "planted" not in str(refused.value) and "0123456789abcdef" not in str(refused.value)


def test_names_are_short_different_and_the_same_again() -> None:
    directories = [Path("/data/a/x"), Path("/data/b/x"), Path("/data/" + "Very_long." * 30)]

    names = [kubernetes.job_name(job(directory)) for directory in directories]

    assert len(set(names)) == 3
    assert names == [kubernetes.job_name(job(directory)) for directory in directories]
    for name in names:
        assert len(f"{name}-9999") <= 63
        kubernetes_validate.validate(
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}}, VERSIONS[-1], strict=True
        )


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kubectl that notes what it is asked, and answers with what stands in `answer`."""
    command = tmp_path / "bin" / "kubectl"
    command.parent.mkdir()
    answer = tmp_path / "answer"
    answer.touch()
    command.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n'
        f'if [ "$1" = get ]; then cat {answer}; fi\n'
        f"test ! -e {tmp_path}/refuses || {{ echo no >&2; exit 1; }}\n"
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_a_job_is_submitted_followed_and_stopped(cluster: Path) -> None:
    directory = cluster / "runs" / "x"
    launcher = config(volumes={str(cluster): "a"}, namespace="research", nodes=2).build()
    asked = job(directory)
    name = kubernetes.job_name(asked)
    (asked.folder).mkdir(parents=True)
    (asked.folder / ENDED).write_text("{}")
    (asked.folder / HALT).touch()

    submission = launcher.submit(asked)

    manifest = asked.folder / "job.yaml"
    assert manifest.read_text() == launcher.script(asked)
    assert (cluster / "asked").read_text().splitlines() == [
        f"delete job,service {name} --namespace=research --ignore-not-found --wait",
        f"apply --filename {manifest}",
    ]
    assert submission.id == f"research/{name}"
    assert not (asked.folder / ENDED).exists() and not (asked.folder / HALT).exists()

    status: dict[str, Any] = {"ready": 1, "failed": 2}
    (cluster / "answer").write_text(json.dumps({"spec": {"completions": 2}, "status": status}))
    (found,) = submitted(directory)
    state = found.state()
    assert state is not None and not state.waits
    assert state.words == "1 of 2 pods at work, 2 have failed so far"
    assert in_queue(asked) is not None

    found.ask()
    assert (asked.folder / HALT).exists()
    status |= {"conditions": [{"type": "Failed", "status": "True"}]}
    (cluster / "answer").write_text(json.dumps({"spec": {"completions": 2}, "status": status}))
    assert found.state() is None


def test_a_job_outside_of_the_volumes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"runs/x: is on none of the volumes \(/data\); put `out` on one"):
        config().build().submit(job(tmp_path / "runs" / "x"))


def test_what_kubectl_says_of_a_refusal_is_told(cluster: Path) -> None:
    (cluster / "refuses").touch()

    with pytest.raises(ValueError, match=r"kubectl delete .*: no"):
        config(volumes={str(cluster): "a"}).build().submit(job(cluster / "x"))


text = st.text(st.characters(codec="utf-8"), max_size=12)
trees = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), text),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(text, trees, min_size=1, max_size=3))
def test_what_is_written_as_yaml_is_read_as_it_was(value: dict[str, Any]) -> None:
    assert list(yaml.safe_load_all(documents([value, value]))) == [value, value]


@pytest.mark.parametrize(
    "text", ["yes", "No", "null", "~", "1", "1e3", "0x1", "-", "a: b", "# a", "", "=", "."]
)
def test_text_that_yaml_would_take_for_something_else_is_quoted(text: str) -> None:
    assert yaml.safe_load(document({"key": text})) == {"key": text}


def test_the_yaml_is_what_people_write() -> None:
    assert document({"a": {"b": [1, {"c": "d e", "f": []}], "g": None}}) == (
        'a:\n  b:\n  - 1\n  - c: "d e"\n    f: []\n  g: null\n'
    )
