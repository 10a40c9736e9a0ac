"""Whom to cite for a model: those whose method trained it, or who published it."""

from collections.abc import Mapping
from typing import Any

from ram_cli.models import ZOO

_RAML, _AML, _CIRTORCH = "suma2023large", "budnik2021asymmetric", "radenovic2018finetuning"

CITATIONS: dict[str, str] = {
    _RAML: """@inproceedings{suma2023large,
  title     = {Large-to-small Image Resolution Asymmetry in Deep Metric Learning},
  author    = {Suma, Pavel and Tolias, Giorgos},
  booktitle = {WACV},
  year      = {2023}
}""",
    _AML: """@inproceedings{budnik2021asymmetric,
  title     = {Asymmetric Metric Learning for Knowledge Transfer},
  author    = {Budnik, Mateusz and Avrithis, Yannis},
  booktitle = {CVPR},
  year      = {2021}
}""",
    _CIRTORCH: """@article{radenovic2018finetuning,
  title   = {Fine-tuning {CNN} Image Retrieval with No Human Annotation},
  author  = {Radenovi{\\'c}, Filip and Tolias, Giorgos and Chum, Ond{\\v{r}}ej},
  journal = {TPAMI},
  year    = {2018}
}""",
    "park2019relational": """@inproceedings{park2019relational,
  title     = {Relational Knowledge Distillation},
  author    = {Park, Wonpyo and Kim, Dongju and Lu, Yan and Cho, Minsu},
  booktitle = {CVPR},
  year      = {2019}
}""",
    "chen2018darkrank": """@inproceedings{chen2018darkrank,
  title     = {{DarkRank}: Accelerating Deep Metric Learning via Cross Sample Similarities
               Transfer},
  author    = {Chen, Yuntao and Wang, Naiyan and Zhang, Zhaoxiang},
  booktitle = {AAAI},
  year      = {2018}
}""",
    "wang2019multi": """@inproceedings{wang2019multi,
  title     = {Multi-Similarity Loss with General Pair Weighting for Deep Metric Learning},
  author    = {Wang, Xun and Han, Xintong and Huang, Weilin and Dong, Dengke and Scott, Matthew R.},
  booktitle = {CVPR},
  year      = {2019}
}""",
    "wu2022contextual": """@inproceedings{wu2022contextual,
  title     = {Contextual Similarity Distillation for Asymmetric Image Retrieval},
  author    = {Wu, Hui and Wang, Min and Zhou, Wengang and Li, Houqiang and Tian, Qi},
  booktitle = {CVPR},
  year      = {2022}
}""",
    "xie2024d3still": """@inproceedings{xie2024d3still,
  title     = {{D3still}: Decoupled Differential Distillation for Asymmetric Image Retrieval},
  author    = {Xie, Yi and Lin, Yihong and Cai, Wenjie and Xu, Xuemiao and Zhang, Huaidong and
               Du, Yong and He, Shengfeng},
  booktitle = {CVPR},
  year      = {2024}
}""",
    "wu2024structure": """@article{wu2024structure,
  title   = {Structure Similarity Preservation Learning for Asymmetric Image Retrieval},
  author  = {Wu, Hui and Wang, Min and Zhou, Wengang and Li, Houqiang},
  journal = {arXiv:2403.00648},
  year    = {2024}
}""",
}
"""BibTeX entries by key."""

_OF_METHODS: dict[str, tuple[str, ...]] = {
    "coupled": (_RAML,),
    "cosine-regression": (_RAML,),
    "rkd": (_AML, "park2019relational"),
    "darkrank": (_AML, "chen2018darkrank"),
    "multi-similarity": (_AML, "wang2019multi"),
    "csd": ("wu2022contextual",),
    "d3": ("xie2024d3still",),
    "ssp": ("wu2024structure",),
}
"""Who proposed a distillation method; all others are Budnik and Avrithis'."""

_OF_LOSSES: dict[str, tuple[str, ...]] = {
    "triplet": (_RAML,),
    "contrastive": (_CIRTORCH,),
    "multi-similarity": ("wang2019multi",),
}
"""Who trained networks for retrieval by a loss, as `ram train` does."""

_OF_PAPERS = {"RAML": _RAML, "AML": _AML, "cirtorch": _CIRTORCH}


def citations(record: Mapping[str, Any]) -> list[str]:
    """BibTeX entries for a model, the work it owes most to first; none where nothing is known.

    Args:
        record: Where the model comes from, as its folder says.
    """
    return [CITATIONS[key] for key in _keys(record)]


def _keys(record: Mapping[str, Any]) -> tuple[str, ...]:
    settings = record.get("settings")
    if isinstance(settings, Mapping):
        if record.get("command") == "distill":
            return _OF_METHODS.get(str(settings.get("method")), (_AML,))
        if record.get("command") == "train":
            return _OF_LOSSES.get(str(settings.get("loss")), ())
    origin = record.get("converted_from")
    papers = [
        _OF_PAPERS[entry.paper] for name, entry in ZOO.items() if origin in (name, entry.file)
    ]
    return tuple(papers)
