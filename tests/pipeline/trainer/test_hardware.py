"""What is recognised of a machine: GPUs by their drivers' names, memory within control groups."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
import torch

from pipeline.trainer.gpus import GPUS, recognised
from pipeline.trainer.hardware import _left_in_control_groups, available_memory_bytes, peak

GIB = 2**30

DRIVERS_NAMES = [
    ("NVIDIA A100-SXM4-40GB", 42_298e6, "A100-40GB"),
    ("NVIDIA A100 80GB PCIe", 85_100e6, "A100-80GB"),
    ("NVIDIA H100 80GB HBM3", 85_000e6, "H100"),
    ("NVIDIA H100 PCIe", 85_000e6, "H100-PCIe"),
    ("NVIDIA H100 NVL", 100_000e6, "H100-NVL"),
    ("NVIDIA H200", 150_700e6, "H200"),
    ("NVIDIA B200", 192_000e6, "B200"),
    ("NVIDIA L40S", 48_300e6, "L40S"),
    ("NVIDIA GeForce RTX 4090", 25_300e6, "RTX-4090"),
    ("Tesla V100-SXM2-16GB", 16_900e6, None),
    ("NVIDIA L40", 48_300e6, None),
]


@pytest.mark.parametrize(("driver", "memory", "name"), DRIVERS_NAMES)
def test_a_gpu_is_recognised_by_its_drivers_name(driver, memory, name):
    assert recognised(driver, int(memory)) == name


def test_peaks_are_dense_and_a_matrix_product_gains_by_tensor_cores():
    assert all(gpu.fp32 < gpu.bf16 < 2.5e15 for gpu in GPUS.values())
    assert GPUS["H100"].bf16 == 989e12


def test_a_cpus_peak_names_what_was_measured():
    found = peak(torch.device("cpu"), "fp32")

    assert found is not None
    assert found.flops > 1e8
    assert found.name.startswith("measured fp32 768x768 matrix product")


def test_what_is_free_is_at_most_what_the_machine_has():
    assert 0 < available_memory_bytes(torch.device("cpu")) <= psutil.virtual_memory().total


def group(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def test_a_limit_around_a_control_group_counts_and_page_cache_does_not(tmp_path):
    own = tmp_path / "own"
    own.write_text("0::/slurm/job_7\n")
    root = tmp_path / "fs"
    group(
        root / "slurm/job_7", {"memory.max": "max", "memory.current": "7", "memory.stat": "inactive_file 3"}
    )
    outer = {
        "memory.max": f"{8 * GIB}",
        "memory.current": f"{5 * GIB}",
        "memory.stat": f"inactive_file {GIB}",
    }
    group(root / "slurm", outer)

    assert _left_in_control_groups(root, own) == [4 * GIB]


def test_the_first_version_of_control_groups_is_read_too(tmp_path):
    own = tmp_path / "own"
    own.write_text("5:cpu:/elsewhere\n4:memory:/job\n")
    files = {
        "memory.limit_in_bytes": f"{6 * GIB}",
        "memory.usage_in_bytes": f"{2 * GIB}",
        "memory.stat": "total_inactive_file 0",
    }
    group(tmp_path / "fs/memory/job", files)

    assert _left_in_control_groups(tmp_path / "fs", own) == [4 * GIB]


def test_without_control_groups_nothing_limits(tmp_path):
    assert _left_in_control_groups(tmp_path, tmp_path / "absent") == []
