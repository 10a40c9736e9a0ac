"""`ram info`: what a model is, where it comes from, how well it retrieves and what it costs."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ram_cli.engine import resolve_runtime
from ram_cli.evaluation.cost import QueryCost, machine_name, query_cost
from ram_cli.export import Results, read_results, row_metrics, row_name
from ram_cli.models import (
    EmbedderConfig,
    is_hub_id,
    is_model_folder,
    kept_whitening,
    load_model,
    model_hash,
    read_provenance,
)
from ram_cli.progress import SILENT, Reporter, TableData
from ram_cli.recipes.common import model_folder
from ram_cli.settings import InfoSettings

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class InfoResult:
    """A model described.

    Attributes:
        name: As it was named.
        config: What it is made of.
        costs: One per size.
        provenance: What its folder records.
        machine: Where the times were measured.
        whitening: Whose is kept with it; empty for none.
        commit: Of the Hub; empty where it does not come from there.
        results: Of tests of exactly this model.
    """

    name: str
    config: EmbedderConfig
    costs: list[QueryCost]
    provenance: dict[str, Any]
    machine: str
    whitening: str = ""
    commit: str = ""
    results: Results = field(default_factory=lambda: Results(""))

    def to_json(self) -> dict[str, Any]:
        """The description as one JSON document."""
        return {
            "name": self.name,
            "commit": self.commit or None,
            "model": self.config.to_json(),
            "whitening": self.whitening or None,
            "parameters": self.costs[0].parameters,
            "costs": [
                {"size": cost.size, "gmac": cost.gmac, "ms": cost.milliseconds}
                for cost in self.costs
            ],
            "device": self.machine,
            "provenance": self.provenance,
            "results": self.results.rows,
        }

    def tables(self) -> list[TableData]:
        """The parts and the origin, results of tests, and the cost of a query."""
        config = self.config
        seen = {"whole": ", whole images", "crop": ", centre crops"}.get(config.fit, "")
        parts = [
            ["backbone", config.backbone],
            ["pooling", ("regional " if config.regional else "") + config.pooling],
            ["projection", f"to {config.dimension}" if config.projection else "none"],
            ["dimension", str(config.dimension)],
            ["input", f"{config.input_size} px{seen}"],
            ["parameters", f"{self.costs[0].parameters / 1e6:.2f} M"],
            *([["whitening", self.whitening]] if self.whitening else []),
            *self._origin(),
        ]
        costs = [
            [str(cost.size), f"{cost.gmac:.3f}", f"{cost.milliseconds:.1f}"] for cost in self.costs
        ]
        return [
            TableData(self.name, ["part", "value"], parts),
            *self._results(),
            TableData("cost of a query", ["px", "GMAC", "ms"], costs, numeric={0, 1, 2}),
        ]

    def _origin(self) -> list[list[str]]:
        known = self.provenance
        settings, teacher = known.get("settings", {}), known.get("teacher", {})
        rows = [["from the Hub", f"commit {self.commit}"]] if self.commit else []
        if command := known.get("command"):
            method = settings.get("method") or settings.get("loss")
            rows.append(["made by", f"ram {command}" + (f", {method}" if method else "")])
        if converted := known.get("converted_from"):
            rows.append(["converted from", str(converted)])
        if dataset := known.get("dataset"):
            rows.append(["trained on", str(dataset.get("name"))])
        if teacher:
            size = teacher.get("image_size")
            rows.append(
                ["aligned with", f"{teacher.get('name')}" + (f", {size} px" if size else "")]
            )
        rows += [
            [f"validation {name}", f"{value:.1f}"]
            for name, value in known.get("metrics", {}).items()
            if isinstance(value, int | float) and name != "score"
        ]
        return rows

    def _results(self) -> list[TableData]:
        """Images found by their class, and landmarks, as far as either was tested."""
        tables = []
        for landmarks in (False, True):
            rows = [row for row in self.results.rows if bool(row.get("protocol")) == landmarks]
            names = list(dict.fromkeys(name for row in rows for _, name, _ in row_metrics(row)))
            body = []
            for row in rows:
                values = {name: f"{value:.1f}" for _, name, value in row_metrics(row)}
                told = [str(row.get("dataset")), ", ".join(row_name(row))]
                body.append([*told, *(values.get(name, "–") for name in names)])
            columns = ["tested on", "query → gallery", *names]
            if rows:
                numbers = set(range(2, len(columns)))
                title = "results, landmarks" if landmarks else "results"
                tables.append(TableData(title, columns, body, numeric=numbers))
        return tables

    def notes(self) -> list[str]:
        """Where the times were measured."""
        return [
            f"times of one image, the network alone, by PyTorch in fp32, on {self.machine}",
        ]


def run_info(settings: InfoSettings, reporter: Reporter = SILENT) -> InfoResult:
    """Describe a model.

    Raises:
        RamError: The model cannot be loaded, or takes no such size.
    """
    runtime = resolve_runtime(settings.device, "fp32")
    name = model_folder(settings.model)
    model = load_model(name, pretrained=False)  # costs of a backbone do not depend on weights
    config, costs, known = model.config, [], is_model_folder(name)
    results = read_results(Path(name), model_hash(model)) if known else Results("")
    for size in settings.size or (model.spec.size,):
        model.set_input_size(size)
        costs.append(query_cost(model, runtime=runtime, size=size))
    commit = Path(name).name if is_hub_id(settings.model) else ""
    return InfoResult(
        settings.model,
        config,
        costs,
        read_provenance(name) if known else {},
        machine_name(runtime.device),
        whitening=kept_whitening(name) if known else "",
        commit=commit if _COMMIT.fullmatch(commit) else "",
        results=results,
    )
