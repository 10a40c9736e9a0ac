"""The card of a model: a README.md made of what is known about it, and of nothing else."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from huggingface_hub import EvalResult, ModelCardData, constants

from ram_cli.evaluation.cost import QueryCost
from ram_cli.evaluation.report import clean
from ram_cli.export.card_results import results_section
from ram_cli.export.citations import citations
from ram_cli.export.graphs import Graphs
from ram_cli.export.markdown import inline, table
from ram_cli.export.results import Results, row_metrics, row_name
from ram_cli.models import EmbedderConfig
from ram_cli.version import __version__

_TAGS_OF_STUDENTS = ("asymmetric-retrieval", "knowledge-distillation")
_PLAIN = re.compile(r"[\w.][\w./@-]*")
_SHOWN_ALWAYS = (
    "epochs", "images_per_epoch", "batch_size", "accumulate", "optimizer", "scheduler", "lr",
    "weight_decay", "precision", "seed", "fit",
)  # fmt: skip
_SAYS_NOTHING = (("accumulate", 1),)
_SHOWN_FOR = {
    "coupled": ("method", "views", "lambda_ts", "lambda_ss", "mixup_alpha"),
    "distill": ("method", "loss_margin", "negatives"),
    "train": ("loss", "mining", "loss_margin", "negatives"),
}


@dataclass(frozen=True, slots=True)
class Reference:
    """How a card names another model that its reader can have.

    Attributes:
        name: What `load_model` takes: an id of the Hub, or a folder.
        link: Where a click leads.
        base_model: Id on the Hub without revision; empty for a folder.
    """

    name: str
    link: str
    base_model: str = ""

    @classmethod
    def on_hub(cls, name: str) -> "Reference":
        """Of `owner/name[@revision]`."""
        repository, _, revision = name.partition("@")
        tree = f"/tree/{revision}" if revision else ""
        return cls(name, f"{constants.ENDPOINT}/{repository}{tree}", repository)

    def to_markdown(self) -> str:
        """A link."""
        return f"[{inline(self.name)}]({self.link})"


@dataclass(frozen=True, slots=True)
class CardFacts:
    """Everything that a card says.

    Attributes:
        name: Name of the model, for people.
        reference: What loads it: an id of the Hub, or a folder.
        config: What it is made of.
        record: Where it comes from, without paths of this machine.
        cost: Of one query, at its own size.
        machine: Where that was timed.
        results: Of tests.
        picture: Whether `retrievals.png` lies beside the card.
        licence: As its author states it; empty for none.
        teacher: The teacher that it is aligned with, where a reader can have it.
        student: The student that it is exported with.
        graphs: Graphs for ONNX Runtime that lie beside the card.
        whitening: Whose whitening lies beside the card; empty for none.
    """

    name: str
    reference: str
    config: EmbedderConfig
    record: Mapping[str, Any]
    cost: QueryCost
    machine: str
    results: Results = field(default_factory=lambda: Results(""))
    picture: bool = False
    licence: str = ""
    teacher: Reference | None = None
    student: Reference | None = None
    graphs: Graphs | None = None
    whitening: str = ""


def card(facts: CardFacts) -> str:
    """The text of README.md: metadata in YAML, then the page."""
    sections = [
        f"# {inline(facts.name)}",
        _what_it_is(facts),
        _parts(facts),
        _use(facts),
        results_section(facts.results, picture=facts.picture),
        facts.graphs.section() if facts.graphs else "",
        _training(facts),
        _licence(facts),
        _citation(facts),
    ]
    body = "\n\n".join(section for section in sections if section)
    return f"---\n{_metadata(facts).to_yaml()}\n---\n\n{body}\n"


def _metadata(facts: CardFacts) -> ModelCardData:
    evaluations = _evaluations(facts)
    return ModelCardData(
        library_name="ram-cli",
        pipeline_tag="image-feature-extraction",
        tags=[
            "image-retrieval",
            *(_TAGS_OF_STUDENTS if facts.record.get("teacher") else ()),
            "ram",
        ],
        license=facts.licence or None,
        base_model=(facts.teacher and facts.teacher.base_model) or None,
        model_name=clean(facts.name) if evaluations else None,
        eval_results=evaluations or None,
    )


def _evaluations(facts: CardFacts) -> list[EvalResult]:
    return [
        EvalResult(
            task_type="image-feature-extraction",
            task_name="Image retrieval",
            dataset_type=clean(str(row.get("dataset"))),
            dataset_name=clean(str(row.get("dataset"))),
            metric_type=kind,
            metric_name=clean(", ".join([name, *row_name(row)])),
            metric_value=round(value, 2),
        )
        for row in facts.results.rows
        if _is_its_own(row, facts)
        for kind, name, value in row_metrics(row)
    ]


def _is_its_own(row: Mapping[str, Any], facts: CardFacts) -> bool:
    """Whether a row has this model's queries; those of a teacher are shown beside a student's."""
    return not facts.record.get("teacher") or row.get("query") == "student"


def _what_it_is(facts: CardFacts) -> str:
    teacher, dataset = facts.record.get("teacher"), facts.record.get("dataset")
    if isinstance(teacher, Mapping):
        name = inline(teacher.get("name"))
        shown = facts.teacher.to_markdown() if facts.teacher else name
        return (
            f"A student for asymmetric image retrieval. It embeds queries in the space of its "
            f"teacher, {shown}: its vectors are searched in a gallery that the teacher has "
            f"embedded.{_saving(facts)}"
        )
    text = "An image embedder for retrieval"
    if facts.record.get("command") == "train" and isinstance(dataset, Mapping):
        text += f", trained by metric learning on {inline(dataset.get('name'))}"
    if converted := facts.record.get("converted_from"):
        text += f", converted from {inline(converted)}"
    if facts.student:
        text += (
            f". It is the teacher of {facts.student.to_markdown()}: it embeds the gallery, "
            "its student the queries"
        )
    return f"{text}."


def _saving(facts: CardFacts) -> str:
    """A sentence on the cost of a query beside the teacher's, where a test has told that."""
    known = [
        row.get("query_gmac")
        for row in facts.results.rows
        if row.get("query") == row.get("gallery") == "teacher"
    ]
    costs = [cost for cost in known if isinstance(cost, int | float)]
    times = max(costs, default=0.0) / facts.cost.gmac if facts.cost.gmac else 0.0
    return f" A query costs {times:.1f} times less than by the teacher." if times > 1.05 else ""


def _parts(facts: CardFacts) -> str:
    config, cost = facts.config, facts.cost
    projection = f", projected to {config.dimension}" if config.projection else ""
    rows = [
        ["backbone", inline(config.backbone)],
        ["pooling", inline(("regional " if config.regional else "") + config.pooling) + projection],
        ["embedding", f"{config.dimension} dimensions, unit length, compared by dot product"],
        ["input", _input(config)],
        ["normalisation", f"mean {_of_channels(config.mean)}; std {_of_channels(config.std)}"],
        *([["whitening", _whitening(facts)]] if facts.whitening else []),
        ["parameters", f"{cost.parameters / 1e6:.2f} M"],
        [f"one query of {cost.size} px", f"{cost.gmac:.3f} GMAC, {cost.milliseconds:.1f} ms"],
    ]
    remark = (
        "The time is that of the network alone, fp32, one image, the fastest of several runs, on "
        f"{inline(facts.machine)}."
    )
    return f"{table(['part', 'value'], rows)}\n\n{remark}"


def _input(config: EmbedderConfig) -> str:
    if config.fit == "whole":
        return f"RGB, whole images of at most {config.input_size} px on the longer side"
    return f"RGB, {config.input_size} px{', centre crops' if config.fit else ''}"


def _whitening(facts: CardFacts) -> str:
    """Whose it is, and how to have it: `embed` whitens vectors of whole images by itself."""
    by_embed = "`embed`" if facts.config.fit == "whole" else "`embed(…, whitening=True)`"
    return f"{inline(facts.whitening)}, applied by {by_embed} and `ram test --whiten`"


def _of_channels(values: Sequence[float]) -> str:
    """One number where red, green and blue have the same, else three."""
    return ", ".join(f"{value:g}" for value in (values[:1] if len(set(values)) == 1 else values))


def _use(facts: CardFacts) -> str:
    own = _in_code(facts.reference, "this")
    if facts.teacher or facts.student:
        teacher = _in_code(facts.teacher.name, "the/teacher") if facts.teacher else own
        student = _in_code(facts.student.name, "the/student") if facts.student else own
        code = (
            f'teacher = ram_cli.load_model("{teacher}")\n'
            f'student = ram_cli.load_model("{student}")\n'
            f'gallery = teacher.embed(["a.jpg", "b.jpg"])  # [2, {facts.config.dimension}]\n'
            'scores = student.embed("query.jpg") @ gallery.T  # [1, 2]'
        )
        command = f"ram test --student {student} --teacher {teacher} --asym --dataset FOLDER"
    else:
        code = (
            f'model = ram_cli.load_model("{own}")\n'
            f'vectors = model.embed(["a.jpg", "b.jpg"])  # [2, {facts.config.dimension}]'
        )
        command = f"ram test --student {own} --dataset FOLDER"
    return (
        "## Use\n\nWith the Python package `ram-cli` (these files are of version "
        f"{__version__}):\n\n"
        f"```python\nimport ram_cli\n\n{code}\n```\n\n"
        "Or measured on your images, a folder of class folders:\n\n"
        f"```bash\n{command}\n```"
    )


def _training(facts: CardFacts) -> str:
    record = facts.record
    command, dataset, settings = (record.get(key) for key in ("command", "dataset", "settings"))
    if not isinstance(settings, Mapping):
        return ""
    method = str(settings.get("method")) if command == "distill" else str(command)
    first = _SHOWN_FOR.get(method, _SHOWN_FOR["distill"])
    rows = [["data", inline(dataset.get("name"))]] if isinstance(dataset, Mapping) else []
    rows += [
        [inline(name.replace("_", " ")), inline(settings[name])]
        for name in (*first, *_SHOWN_ALWAYS)
        if settings.get(name) not in (None, "auto") and (name, settings[name]) not in _SAYS_NOTHING
    ]
    metrics = record.get("metrics")
    if isinstance(metrics, Mapping):
        rows += [
            [f"validation {inline(name)}", f"{value:.1f}"]
            for name, value in metrics.items()
            if isinstance(value, int | float) and name != "score"
        ]
    return (
        f"## Training\n\n{table(['setting', 'value'], rows)}\n\n"
        "The whole record, with every setting, is in `config.json`."
    )


def _licence(facts: CardFacts) -> str:
    return f"## Licence\n\n{inline(facts.licence) if facts.licence else 'None is stated.'}"


def _citation(facts: CardFacts) -> str:
    entries = citations(facts.record)
    if not entries:
        return ""
    text = "\n\n".join(entries)
    return f"## Citation\n\nThe method of this model:\n\n```bibtex\n{text}\n```"


def _in_code(reference: str, otherwise: str) -> str:
    """A name that can stand in code; a folder whose name cannot is only hinted at."""
    return reference if _PLAIN.fullmatch(reference) else f"path/of/{otherwise}/folder"
