"""One call of each command, as help shows it."""

EXAMPLES = {
    "demo": "ram demo",
    "download": "ram download cub",
    "prepare": "ram prepare photos --teacher runs/train-photos-…",
    "train": "ram train --dataset photos --backbone resnet50 --image-size 448",
    "distill": "ram distill --teacher runs/train-photos-… --image-size 224",
    "tune": "ram tune --teacher runs/train-photos-… --image-size 224 --output study",
    "compare": "ram compare --teacher runs/train-photos-… --methods coupled,csd --seeds 1,2",
    "test": "ram test --asym --sym --report page.html",
    "export": "ram export runs/distill-photos-… --to shared --pair",
    "info": "ram info resnet50 --size 224,448",
    "list": "ram list models",
}


def epilog(command: str) -> str:
    """Return what stands below the help of a command.

    Args:
        command: Name of the command.
    """
    sources = (
        f"A value can also come from a variable (`RAM_CONFIG` for `--config`) or from the table "
        f"`[{command}]` of a settings file; a flag wins."
    )
    return f"Example: `{EXAMPLES[command]}`\n\n{sources}"
