from pathlib import Path

import pytest

from pipeline import doctor


def test_this_machine_is_examined_and_every_trouble_has_a_remedy(tmp_path: Path) -> None:
    findings = doctor.examine(tmp_path)

    names = {finding.name for finding in findings}
    assert {
        "python",
        "C++ compiler",
        "Python headers",
        "CUDA",
        "memory",
        "disk",
        "torchrun",
        "deepspeed nodes",
        "wandb key",
        "Slurm",
    } <= names
    assert all(finding.remedy for finding in findings if finding.status != doctor.OK)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_compiler_makes_the_machine_unfit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    findings = {finding.name: finding for finding in doctor.examine(tmp_path)}

    assert findings["C++ compiler"].status == doctor.MISSING
    assert "install g++" in findings["C++ compiler"].remedy
    assert not doctor.healthy(list(findings.values()))


def test_a_stale_build_lock_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "py311_cpu" / "op" / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    monkeypatch.setattr(doctor, "LOCK_SECONDS", -1)

    found = next(finding for finding in doctor.examine(tmp_path) if finding.name == "extension locks")

    assert f"rm {lock}" in found.remedy


def test_a_key_in_the_environment_is_seen_but_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "planted-secret")

    assert "planted-secret" not in str(doctor.examine(tmp_path))
