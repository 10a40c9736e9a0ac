"""Settings of searches with landmarks as queries: whitening and distractors."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, NonNegativeFloat, PositiveInt

from ram_cli.settings.choices import Folded
from ram_cli.settings.fields import Auto, Flag

WhiteningName = Literal["supervised", "pca"]


def _pairs_name(value: str) -> str:
    """Read the published `retrieval-SfM-120k` as `sfm120k`."""
    name = value.strip()
    if not name:
        raise ValueError("is empty")
    published = name.lower()
    if published.startswith("retrieval-sfm-"):
        return f"sfm{published.removeprefix('retrieval-sfm-')}"
    return published if published.startswith("sfm") else name


class SearchGroup(BaseModel):
    """Landmark search."""

    whiten: bool = Field(
        False, description="Whiten vectors as stored with the gallery network, on both sides."
    )
    learn_whitening: Annotated[
        Annotated[str, AfterValidator(_pairs_name)] | None,
        Flag(("test-whiten", "whitening"), metavar="DATASET", offers=("datasets",)),
    ] = Field(
        None,
        description="Learn the whitening of the gallery network from matching pairs: sfm30k, "
        "sfm120k, or a dataset with labels.",
    )
    whitening_kind: Annotated[WhiteningName, Folded] = Field(
        "supervised", description="Whitening to learn."
    )
    whitening_dimension: Annotated[
        PositiveInt | None, Auto, Flag(metavar="DIM", shown="all of them")
    ] = Field(None, description="Dimensions kept by whitening, the first ones.")
    whitening_shrinkage: Annotated[NonNegativeFloat | None, Auto] = Field(
        None,
        description="Added to the diagonal of the covariance of pairs, as a multiple of its mean: "
        "0 as published; auto is 0 from ten pairs per dimension on, else 0.3.",
    )
    store_whitening: bool = Field(
        False, description="Keep the learned whitening in the folder of the gallery network."
    )
    distractors: Annotated[str | None, Flag(metavar="NAME", offers=("datasets",))] = Field(
        None, description="Images added to the gallery: revisitop1m, or a folder."
    )
