"""Settings of graphs for ONNX Runtime."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, model_validator

from ram_cli.settings.fields import Dataset, Flag, FolderPath

OnnxInput = Literal["float", "uint8"]


class OnnxGroup(BaseModel):
    """ONNX."""

    onnx: bool = Field(False, description="Also write model.onnx, compared with the model.")
    onnx_input: OnnxInput = Field(
        "float",
        description="What the graph takes: normalised [B, 3, H, W], or pixels [B, H, W, 3].",
    )
    int8: bool = Field(
        False, description="Also write model.int8.onnx, and measure what it loses in mAP."
    )
    int8_bits: Annotated[int, Field(ge=7, le=8)] = Field(
        8,
        description="Bits of its weights: 7 for x86 processors without VNNI, which may overflow "
        "with 8.",
    )
    onnx_dataset: Annotated[
        Dataset | None,
        Flag(metavar="NAME", shown="the one trained on, else furniture", offers=("datasets",)),
    ] = Field(None, description="Images to compare, calibrate and measure with.")
    data_root: FolderPath = Field(Path("data"), description="Folder that holds the datasets.")

    @model_validator(mode="after")
    def _goes_with_onnx(self) -> "OnnxGroup":
        if self.int8 and not self.onnx:
            raise ValueError("int8: an 8-bit graph is made of a float one: add --onnx.")
        return self
