"""`ram info`: what a model is and what it costs."""

from dataclasses import dataclass
from typing import Any

from ram_cli.engine import resolve_runtime
from ram_cli.evaluation.cost import QueryCost, query_cost
from ram_cli.models import EmbedderConfig, is_model_folder, load_model, read_provenance
from ram_cli.progress import SILENT, Reporter, TableData
from ram_cli.recipes.common import model_folder
from ram_cli.settings import InfoSettings


@dataclass(frozen=True, slots=True)
class InfoResult:
    """A model described.

    Attributes:
        name: As it was named.
        config: What it is made of.
        costs: One per size.
        provenance: What its folder records.
        device: Where the times were measured.
    """

    name: str
    config: EmbedderConfig
    costs: list[QueryCost]
    provenance: dict[str, Any]
    device: str

    def to_json(self) -> dict[str, Any]:
        """The description as one JSON document."""
        return {
            "name": self.name,
            "model": self.config.to_json(),
            "parameters": self.costs[0].parameters,
            "costs": [
                {"size": cost.size, "gmac": cost.gmac, "ms": cost.milliseconds}
                for cost in self.costs
            ],
            "device": self.device,
            "provenance": self.provenance,
        }

    def tables(self) -> list[TableData]:
        """The parts, and the cost of a query."""
        config = self.config
        parts = [
            ["backbone", config.backbone],
            ["pooling", config.pooling],
            ["projection", f"to {config.dimension}" if config.projection else "none"],
            ["dimension", str(config.dimension)],
            ["input", f"{config.input_size} px"],
            ["parameters", f"{self.costs[0].parameters / 1e6:.2f} M"],
            *self._origin(),
        ]
        costs = [
            [str(cost.size), f"{cost.gmac:.3f}", f"{cost.milliseconds:.1f}"] for cost in self.costs
        ]
        return [
            TableData(self.name, ["part", "value"], parts),
            TableData("cost of a query", ["px", "GMAC", "ms"], costs, numeric={0, 1, 2}),
        ]

    def _origin(self) -> list[list[str]]:
        rows = []
        if dataset := self.provenance.get("dataset"):
            rows.append(["trained on", str(dataset.get("name"))])
        if teacher := self.provenance.get("teacher"):
            rows.append(["aligned with", str(teacher.get("name"))])
        for name, value in self.provenance.get("metrics", {}).items():
            rows.append([f"validation {name}", f"{value:.1f}"])
        return rows

    def notes(self) -> list[str]:
        """Where the times were measured."""
        return [f"times of one image on {self.device}"]


def run_info(settings: InfoSettings, reporter: Reporter = SILENT) -> InfoResult:
    """Describe a model.

    Raises:
        RamError: The model cannot be loaded, or takes no such size.
    """
    runtime = resolve_runtime(settings.device, "fp32")
    name = model_folder(settings.model)
    model = load_model(name, pretrained=False)  # costs of a backbone do not depend on weights
    config, costs = model.config, []
    for size in settings.size or (model.spec.size,):
        model.set_input_size(size)
        costs.append(query_cost(model, runtime=runtime, size=size))
    record = read_provenance(name) if is_model_folder(name) else {}
    return InfoResult(settings.model, config, costs, record, runtime.describe())
