"""What a card says of the graphs for ONNX Runtime that lie beside it.

Letters: B images of H × W pixels, D dimensions.
"""

from dataclasses import dataclass

from ram_cli.export.markdown import inline, table


@dataclass(frozen=True, slots=True)
class Graphs:
    """The graphs of one model.

    Attributes:
        files: Names of the files of the float graph; the graph itself first.
        pixels: Whether it takes pixels and normalises them by itself.
        size: Side of the model's own input in pixels.
        any_size: Whether it takes other sizes too.
        dimension: D.
        difference: Largest difference between components of its vectors and PyTorch's.
        int8_files: The same of the graph with 8-bit integers; empty where there is none.
        measured_on: What the loss of 8-bit integers was measured on.
        losses: Name of a search, its mAP in percent by the float graph, and by the integers.
    """

    files: tuple[str, ...]
    pixels: bool
    size: int
    any_size: bool
    dimension: int
    difference: float
    int8_files: tuple[str, ...] = ()
    measured_on: str = ""
    losses: tuple[tuple[str, float, float], ...] = ()

    def section(self) -> str:
        """A section of the card."""
        side = "H" if self.any_size else str(self.size)
        width = "W" if self.any_size else str(self.size)
        takes = (
            f"RGB pixels, uint8 `[B, {side}, {width}, 3]`, and normalises them by itself"
            if self.pixels
            else f"normalised images, float32 `[B, 3, {side}, {width}]`"
        )
        own = f" The model was made for {self.size} × {self.size}." if self.any_size else ""
        text = (
            f"## ONNX\n\n{_code(self.files)}: the same network for ONNX Runtime, without PyTorch. "
            f"`images` takes {takes}; `embeddings` are unit vectors, float32 "
            f"`[B, {self.dimension}]`.{own} The file's metadata (`ram.…`) say how images are "
            f"resized and cropped. On real images its vectors differ from PyTorch's by "
            f"{self.difference:.1e} at most."
        )
        if not self.int8_files:
            return text
        rows = [
            [inline(name), f"{before:.1f}", f"{after:.1f}"] for name, before, after in self.losses
        ]
        heading = f"mAP on {inline(self.measured_on)}"
        return (
            f"{text}\n\n{_code(self.int8_files)}: its backbone computes with 8-bit integers.\n\n"
            f"{table([heading, 'float', 'int8'], rows, numeric=2)}"
        )


def _code(names: tuple[str, ...]) -> str:
    return " and ".join(f"`{name}`" for name in names)
