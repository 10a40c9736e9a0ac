"""Images embedded per second: `ram` against a plain fp32 loop in torch's default memory format.

Both decode in as many worker processes, in batches of 64 at most. The limits: JPEG decoding alone,
and forward passes alone. Vectors of both go through the same evaluation.

    python benchmarks/extraction.py --images FOLDER_OF_CLASS_FOLDERS --model efficientnet-lite0
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from peers import find_classes, find_images, machine, print_table, take_turns
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.transforms import InterpolationMode

from ram_cli.datasets import ImageSet
from ram_cli.engine import Runtime
from ram_cli.engine.inference import Embed, fast_inference
from ram_cli.evaluation import label_metrics
from ram_cli.evaluation.extract import embed_batch, place
from ram_cli.models import Embedder, build_embedder
from ram_cli.views import EvaluationViews, decode_image

CPU = torch.device("cpu")


class PlainImages(Dataset[Tensor]):
    """What one writes with Pillow and torchvision."""

    def __init__(self, images: ImageSet, model: Embedder) -> None:
        self.images, size = images, model.spec.size
        self.transform = transforms.Compose(
            [
                transforms.Resize(round(size * 8 / 7), InterpolationMode.LANCZOS),
                transforms.CenterCrop(size),
                transforms.ToTensor(),
                transforms.Normalize(model.spec.mean, model.spec.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        view: Tensor = self.transform(Image.open(self.images.path(index)).convert("RGB"))
        return view


class Decoding(Dataset[int]):
    """A limit: images decoded, and nothing done with them."""

    def __init__(self, images: ImageSet) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> int:
        return decode_image(self.images.path(index)).nbytes


def network(name: str, size: int) -> Embedder:
    torch.manual_seed(0)
    pretrained = name == "efficientnet-lite0"  # whose weights come with a package
    return build_embedder(name, pretrained=pretrained, dimension=0, input_size=size).eval()


class Peers:
    """Ways to embed the same images."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.workers, self.batch = arguments.workers, arguments.batch_size
        self.plain_model = network(arguments.model, arguments.size)
        self.model = place(network(arguments.model, arguments.size), Runtime(CPU, "fp32"))
        start = time.perf_counter()
        self.fast: Embed = fast_inference(
            self.model,
            Runtime(CPU, "fp32", "onnxruntime"),
            size=arguments.size,
            images=1,
        )
        self.started = time.perf_counter() - start

    def loader(self, dataset: Dataset) -> DataLoader:
        return DataLoader(dataset, self.batch, num_workers=self.workers)

    def plain(self, images: ImageSet) -> Tensor:
        with torch.no_grad():
            loader = self.loader(PlainImages(images, self.plain_model))
            return torch.cat([self.plain_model(batch) for batch in loader])

    def ram(self, images: ImageSet, embed: Embed | None) -> Tensor:
        spec, runtime = self.model.spec, Runtime(CPU, "fp32")
        parts = [
            embed_batch(self.model, views, spec, runtime=runtime, embed=embed)
            for views in self.loader(EvaluationViews(images, spec.size))
        ]
        return torch.cat(parts)

    def forward(self, embed: Embed, inputs: Tensor) -> None:
        with torch.no_grad():
            for batch in inputs.split(self.batch):
                embed(batch)

    def runs(self, images: ImageSet) -> dict[str, Callable[[], object]]:
        inputs = torch.stack(list(PlainImages(images, self.model)))
        return {
            "plain fp32 loop": lambda: self.plain(images),
            "ram, `--engine torch`": lambda: self.ram(images, None),
            "ram, `--engine onnxruntime`": lambda: self.ram(images, self.fast),
            "forward passes alone, plain": lambda: self.forward(self.plain_model, inputs),
            "forward passes alone, ONNX Runtime": lambda: self.forward(self.fast, inputs),
            "JPEG decoding alone": lambda: list(self.loader(Decoding(images))),
        }


def compare(peers: Peers, images: ImageSet) -> None:
    """Print mAP of the vectors of both ways."""
    labels = images.labels
    for name, vectors in (("plain", peers.plain(images)), ("ram", peers.ram(images, peers.fast))):
        metrics = label_metrics(vectors, vectors, labels, labels, [1], same_set=True)
        print(f"mAP of {name}: {100 * metrics.map:.2f}", flush=True)


def parsed(words: list[str] | None = None) -> argparse.Namespace:
    """Options, of the command line if none are given."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=Path, required=True, help="folder of class folders")
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--count", type=int, default=64, help="images per round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--classes", type=int, default=0, help="compare mAP on so many classes")
    return parser.parse_args(words)


def main() -> None:
    arguments = parsed()
    torch.set_num_threads(arguments.threads)
    print(machine())
    peers = Peers(arguments)
    print(f"handing over to ONNX Runtime, once: {peers.started:.1f} s")
    if arguments.rounds:
        images = find_images(arguments.images, arguments.count)
        times = take_turns(peers.runs(images), arguments.rounds)
        print(
            f"{arguments.model}, {arguments.size} px, {len(images)} images, {arguments.workers} "
            f"workers, median of {arguments.rounds} rounds\n"
        )
        print_table(times, len(images), "image")
    if arguments.classes:
        compare(peers, find_classes(arguments.images, arguments.classes))


if __name__ == "__main__":
    main()
