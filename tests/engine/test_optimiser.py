import pytest
import torch
from torch import nn

from ram_cli.engine.optimiser import OPTIMISERS, build_optimiser
from ram_cli.errors import ConfigError, ModelError


def groups():
    return [
        {"params": nn.Linear(3, 2).parameters()},
        {"params": [nn.Parameter(torch.ones(1))], "lr_scale": 10.0, "weight_decay": 0.0},
        {"params": [nn.Parameter(torch.ones(1))], "lr": 0.05},
    ]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("sgd", torch.optim.SGD), ("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)],
)
def test_groups_keep_their_scale_and_decay(name, kind):
    optimiser = build_optimiser(groups(), name, 0.01, 1e-6, 0.8)
    assert type(optimiser) is kind
    assert [g["lr"] for g in optimiser.param_groups] == pytest.approx([0.01, 0.1, 0.05])
    assert [g["lr_scale"] for g in optimiser.param_groups] == pytest.approx([1, 10, 5])
    assert [g["weight_decay"] for g in optimiser.param_groups] == [1e-6, 0.0, 1e-6]
    assert [len(g["params"]) for g in optimiser.param_groups] == [2, 1, 1]
    if name == "sgd":
        assert [g["momentum"] for g in optimiser.param_groups] == [0.8] * 3
    else:
        assert [g["betas"] for g in optimiser.param_groups] == [(0.9, 0.999)] * 3


def test_names_are_the_choices_of_the_settings():
    choices = pytest.importorskip("ram_cli.settings.choices")
    assert set(OPTIMISERS) == set(choices.OptimizerName.__args__)


def test_the_step_of_a_group_is_in_proportion_to_its_scale():
    slow, fast = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(1))
    scaled = [{"params": [slow]}, {"params": [fast], "lr_scale": 10}]
    optimiser = build_optimiser(scaled, "adamw", 1e-3, 0.0, 0.9)
    (slow + fast).backward()
    optimiser.step()
    assert fast.item() / slow.item() == pytest.approx(10)


def test_all_faults_are_reported_together():
    with pytest.raises(ConfigError) as failure:
        build_optimiser(groups(), "lion", 0.0, -1.0, 1.0)
    assert len(failure.value.problems) == 4


@pytest.mark.parametrize("lr", [float("nan"), -1.0])
def test_a_useless_rate_is_refused(lr):
    with pytest.raises(ConfigError):
        build_optimiser(groups(), "sgd", lr, 0.0, 0.9)


def test_nothing_to_train_is_refused():
    with pytest.raises(ModelError):
        build_optimiser([{"params": []}], "adamw", 0.1, 0.0, 0.9)
