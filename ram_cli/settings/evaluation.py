"""Settings of a test: which networks, on which images, by which protocol."""

from typing import Annotated

from pydantic import BaseModel, Field, PositiveInt

from ram_cli.settings.choices import KeepVectors, Split
from ram_cli.settings.fields import AutoSize, Counts, Datasets, Flag, FolderPath, Scales
from ram_cli.settings.groups import SplitGroup


class EvaluationNetworksGroup(BaseModel):
    """Network."""

    student: Annotated[
        str | None,
        Flag(
            ("student-path", "network-path", "network-offtheshelf", "arch"),
            metavar="NAME",
            shown="the newest run",
            offers=("models", "runs"),
        ),
    ] = Field(None, description="Query network: a folder, a file, a published or a Hub name.")
    teacher: Annotated[
        str | None,
        Flag(
            ("teacher-path",),
            metavar="NAME",
            shown="with --asym, the student's own",
            offers=("models", "runs"),
        ),
    ] = Field(None, description="Gallery network, for an asymmetric test.")
    image_size: Annotated[AutoSize, Flag(("query-size",))] = Field(
        None, description="Side of a query, pixels; auto is the student's own."
    )
    teacher_image_size: Annotated[AutoSize, Flag(("gallery-size",))] = Field(
        None, description="Side of a gallery image, pixels; auto is the teacher's own."
    )


class EvaluationDataGroup(SplitGroup):
    """Data."""

    dataset: Annotated[
        Datasets,
        Flag(
            ("datasets", "test-datasets"),
            metavar="NAMES",
            shown="the one trained on",
            offers=("datasets",),
        ),
    ] = Field(
        (),
        description="Datasets to test on: folders, furniture, cub, cars, sop, inshop, "
        "or landmarks: roxford5k, rparis6k, oxford5k, paris6k, instre.",
    )
    split: Split = Field("test", description="Part of the dataset to test on.")
    keep_vectors: KeepVectors = Field(
        "auto",
        description="Write vectors to the data folder as they are made: a test goes on where it "
        "stopped, and nothing need fit into memory; auto does from 1 GiB on.",
    )


class ProtocolGroup(BaseModel):
    """Protocol."""

    sym: Annotated[bool, Flag(shown="on, unless --asym is given")] = Field(
        False, description="Test the student alone, as query and as gallery network."
    )
    asym: Annotated[bool, Flag(shown="on, if a --teacher is given")] = Field(
        False, description="Test queries by the student in the gallery of the teacher."
    )
    baselines: bool = Field(
        False,
        description="Also test the teacher alone, on images of its own and of the query's size.",
    )
    scales: Annotated[Scales, Flag(("multiscale",), metavar="LIST")] = Field(
        (1.0,), description="Scales to average over; numbers, sqrt(…), / and **."
    )
    ks: Annotated[Counts, Field(min_length=1), Flag(metavar="LIST")] = Field(
        (1, 4, 8), description="Cut-offs k of R@k, mP@k and mAP@k; 1,5,10 for landmarks."
    )
    batch_size: PositiveInt = Field(64, description="Images in a batch.")
    report: Annotated[FolderPath | None, Flag(metavar="FILE")] = Field(
        None, description="HTML page to write, with queries and what they found."
    )
    save: bool = Field(
        False, description="Keep results and a picture in the student's folder, for ram export."
    )
