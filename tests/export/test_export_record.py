"""What a shared model says of its origin, and what stays at home."""

from pathlib import Path

import pytest

from ram_cli.export import public_record


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    monkeypatch.chdir(tmp_path)
    Path("runs/big/best").mkdir(parents=True)
    return {
        "command": "distill",
        "dataset": {"name": "photos", "source": str(tmp_path / "photos")},
        "teacher": {"name": "runs/big/best", "hash": "h"},
        "settings": {
            "gone": "/home/someone/secret/runs/other/best",
            "home": "~/secret/model.pth",
            "above": "../secret/photos",
            "several": ["runs/big", "cub"],
            "by_name": {"x": str(tmp_path / "runs")},
            "student": "resnet50",
            "hub": "someone/birds@v1",
            "long": "x" * 5000,
            "lr": 1e-4,
        },
    }


def test_no_place_of_this_machine_is_told(record: dict, tmp_path: Path) -> None:
    public = public_record(record)
    assert public["dataset"] == {"name": "photos"}
    assert public["teacher"] == {"name": "big/best", "hash": "h"}
    assert public["settings"] == record["settings"] | {
        "gone": "other/best", "home": "model.pth", "above": "photos",
        "several": ["big", "cub"], "by_name": {"x": "runs"},
    }  # fmt: skip
    assert record["dataset"]["source"] == str(tmp_path / "photos")  # left as it was
