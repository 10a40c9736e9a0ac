import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ram_cli.engine.optimiser import build_optimiser
from ram_cli.engine.schedule import SCHEDULES, build_schedule
from ram_cli.errors import ConfigError

GOLDEN = Path(__file__).parents[1] / "golden"
PUBLISHED = json.loads((GOLDEN / "raml_schedules.json").read_text(encoding="utf-8"))
SCALES = {"gem": [1, 10, 1], "gemmp": [1, 100, 1], "spoc": [1, 1]}


def start(optimiser, schedule, scales, total, per_epoch, lr=1e-3, **options):
    groups = [{"params": [nn.Parameter(torch.ones(1))], "lr_scale": s} for s in scales]
    built = build_optimiser(groups, optimiser, lr, 1e-6, 0.9)
    return built, build_schedule(built, schedule, lr, total, per_epoch, **options)


def momentum_of(group):
    return group["betas"][0] if "betas" in group else group["momentum"]


def walk(optimiser, schedule, steps):
    """Learning rates and momenta [steps, groups] that the steps of the optimiser use."""
    rates, momenta = [], []
    for _ in range(steps):
        rates.append([group["lr"] for group in optimiser.param_groups])
        momenta.append([momentum_of(group) for group in optimiser.param_groups])
        optimiser.step()
        schedule.step()
    return np.array(rates), np.array(momenta)


@pytest.mark.parametrize("case", sorted(PUBLISHED))
def test_published_schedules_are_met_where_they_keep_the_scale(case):
    optimiser, schedule, pooling = case.split("_")
    scales, facts = SCALES[pooling], PUBLISHED[case]
    with np.load(GOLDEN / "raml_schedules.npz") as arrays:
        expected, momenta = arrays[f"{case}_lr"], arrays[f"{case}_mom"]
    total = facts["total_steps"] or facts["steps"]  # published: planned for 20, 16 taken
    built = start(optimiser.lower(), schedule, scales, total, 4, decay=1e-3)
    rates, our_momenta = walk(*built, facts["steps"])
    plain = [index for index, scale in enumerate(scales) if scale == 1]
    np.testing.assert_allclose(rates[:, plain], expected[:, plain], rtol=1e-10)
    np.testing.assert_allclose(our_momenta, momenta, rtol=1e-10)
    # The pooling group: ours keeps its multiple, the published one only under "exponential".
    np.testing.assert_allclose(rates, rates[:, :1] * scales, rtol=1e-10)
    if len(plain) < len(scales):
        kept = np.allclose(expected[:, 1], expected[:, 0] * scales[1])
        assert kept == (schedule == "exponential")


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize(("total", "per_epoch"), [(1, 1), (3, 1), (12, 3), (35, 7)])
def test_every_schedule_keeps_the_scale_and_ends_with_the_training(
    schedule, optimiser, total, per_epoch
):
    scales = [1, 10, 100, 0.5]
    rates, _ = walk(*start(optimiser, schedule, scales, total, per_epoch), total)
    assert (rates > 0).all()
    np.testing.assert_allclose(rates, rates[:, :1] * scales, rtol=1e-10)


def test_onecycle_starts_at_a_tenth_peaks_at_lr_and_ends_at_nothing():
    rates, _ = walk(*start("adamw", "onecycle", [1], 100, 10, lr=0.02), 100)
    assert rates[0, 0] == pytest.approx(0.002)
    assert rates.max() == pytest.approx(0.02)
    assert rates.argmax() == 29
    assert rates[-1, 0] == pytest.approx(0.02e-5)
    for step, rate in enumerate(rates[:, 0]):
        if step <= 29:
            expected = 0.002 + 0.018 * (1 - math.cos(math.pi * step / 29)) / 2
        else:
            expected = 2e-7 + (0.02 - 2e-7) * (1 + math.cos(math.pi * (step - 29) / 70)) / 2
        assert rate == pytest.approx(expected, rel=1e-9)


def test_exponential_changes_between_epochs_and_none_never():
    rates, _ = walk(*start("adam", "exponential", [1], 9, 3, lr=1.0), 9)
    assert rates[:, 0] == pytest.approx([math.exp(-0.01 * (step // 3)) for step in range(9)])
    rates, _ = walk(*start("adam", "none", [1, 10], 9, 3, lr=1.0), 9)
    assert (rates == [1.0, 10.0]).all()


def test_cyclic_makes_one_triangle_per_epoch():
    rates, _ = walk(*start("sgd", "cyclic", [1], 10, 5, lr=1.0), 10)
    assert rates[:5, 0] == pytest.approx([0.1, 0.55, 1.0, 0.7, 0.4])
    assert rates[5:, 0] == pytest.approx([0.1, 0.325, 0.55, 0.4, 0.25])


def test_plain_sgd_stays_plain():
    groups = [{"params": [nn.Parameter(torch.ones(1))]}]
    optimiser = build_optimiser(groups, "sgd", 0.1, 0.0, 0.0)
    schedule = build_schedule(optimiser, "onecycle", 0.1, 10, 5)
    _, momenta = walk(optimiser, schedule, 10)
    assert not momenta.any()


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
@pytest.mark.parametrize("taken", [0, 1, 5, 11])
def test_a_resumed_schedule_goes_on_where_it_stopped(schedule, optimiser, taken):
    scales, total = [1, 10], 12
    rates, momenta = walk(*start(optimiser, schedule, scales, total, 4), total)
    first = start(optimiser, schedule, scales, total, 4)
    walk(*first, taken)
    file = io.BytesIO()
    torch.save([part.state_dict() for part in first], file)
    file.seek(0)
    second = start(optimiser, schedule, scales, total, 4)
    for part, state in zip(second, torch.load(file, weights_only=True), strict=True):
        part.load_state_dict(state)
    later_rates, later_momenta = walk(*second, total - taken)
    np.testing.assert_array_equal(later_rates, rates[taken:])
    np.testing.assert_array_equal(later_momenta, momenta[taken:])


def test_names_are_the_choices_of_the_settings():
    choices = pytest.importorskip("ram_cli.settings.choices")
    assert set(SCHEDULES) == set(choices.SchedulerName.__args__)


def test_all_faults_are_reported_together():
    optimiser, _ = start("sgd", "none", [1], 1, 1)
    with pytest.raises(ConfigError) as failure:
        build_schedule(optimiser, "twocycle", 0.0, 0, 0)
    assert len(failure.value.problems) == 3
