"""Training on accelerate: objectives, the loop, run folders that survive any interruption."""

from ram_cli.engine.distillation import CoupledObjective, VectorsObjective
from ram_cli.engine.fit import Trainer
from ram_cli.engine.objective import Objective
from ram_cli.engine.optimiser import build_optimiser
from ram_cli.engine.plan import FitPlan, total_steps
from ram_cli.engine.run_folder import Position, RunFolder
from ram_cli.engine.runtime import Runtime, make_accelerator, resolve_runtime
from ram_cli.engine.schedule import build_schedule
from ram_cli.engine.symmetric import SymmetricObjective
from ram_cli.engine.tuple_sources import LabelledTuples, RankedTuples, TupleSource
from ram_cli.engine.tuples import TuplesObjective

__all__ = [
    "CoupledObjective",
    "FitPlan",
    "LabelledTuples",
    "Objective",
    "Position",
    "RankedTuples",
    "RunFolder",
    "Runtime",
    "SymmetricObjective",
    "Trainer",
    "TupleSource",
    "TuplesObjective",
    "VectorsObjective",
    "build_optimiser",
    "build_schedule",
    "make_accelerator",
    "resolve_runtime",
    "total_steps",
]
