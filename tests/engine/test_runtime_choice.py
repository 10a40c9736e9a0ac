"""Which number format `auto` takes."""

import pytest
import torch

from ram_cli.engine import resolve_runtime


def test_a_cpu_computes_in_fp32_unless_asked(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert resolve_runtime("cpu").precision == "fp32"
    assert resolve_runtime("cpu", "bf16", "torch").precision == "bf16"


@pytest.mark.parametrize(("has_bf16", "precision"), [(True, "bf16"), (False, "fp16")])
def test_a_gpu_computes_in_half_precision(monkeypatch, has_bf16, precision):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: has_bf16)
    assert resolve_runtime("cuda").precision == precision


@pytest.mark.parametrize(("count", "words"), [(1, "1 thread"), (3, "3 threads")])
def test_threads_are_counted(monkeypatch, count, words):
    monkeypatch.setattr(torch, "get_num_threads", lambda: count)
    assert resolve_runtime("cpu", "fp32", "torch").describe() == f"cpu ({words}), fp32"
