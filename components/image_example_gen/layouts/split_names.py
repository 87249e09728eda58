"""Recognises the names of splits."""

import re
from collections.abc import Iterable, Mapping

from schema import features
from schema.spelling import vocabulary

# Names of split folders and list files, in lower case; also in German, French, Spanish,
# Portuguese, Italian, Russian, Chinese and Japanese.
_NAMES = {
    features.TRAIN: "train training trainset trainingsdaten entrainement entraînement"
    " entrenamiento treino treinamento addestramento обучение 训练 训练集 学習",
    features.EVAL: "val valid validation valset eval dev validierung validierungsdaten"
    " validación validacion validação validacao validazione валидация 验证 验证集 検証",
    features.TEST: "test testing testset holdout testdaten prueba pruebas teste тест 测试"
    " 测试集",
}
SPLIT_OF_NAME = {
    name: split for split, names in _NAMES.items() for name in names.split()
}
# Words that stand beside the name of a split and say nothing of their own.
_NEUTRAL = vocabulary(
    "image images img imgs photo photos picture pictures data dataset set split seg "
    "label labels jpg jpeg png list annotations trainval zip"
)
_WORD = re.compile(r"[^\W\d_]+|\d+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def split_of(name: str) -> str:
    """Split that a name stands for beyond doubt, as 'train', 'seg_test', 'valImages'.

    Returns:
      'train', 'eval' or 'test'; '' where the name has other words or two splits.
    """
    rest, split = divide(name)
    return split if not rest else ""


def divide(name: str) -> tuple[str, str]:
    """A name without its split, and the split: 'flowers_val' gives 'flowers' and 'eval'."""
    words = _WORD.findall(_CAMEL.sub("_", name).lower())
    splits = {SPLIT_OF_NAME[word] for word in words if word in SPLIT_OF_NAME}
    rest = "_".join(
        word
        for word in words
        if word not in SPLIT_OF_NAME and word not in _NEUTRAL and not word.isdecimal()
    )
    return (rest, splits.pop()) if len(splits) == 1 else (name, "")


def of_path(folders: Iterable[str], given: Mapping[str, str]) -> str:
    """Split that the first of `folders` to be one stands for, '' for none.

    Args:
      folders: the parts of a path.
      given: splits that a person gave to names.
    """
    splits = (given.get(folder) or split_of(folder) for folder in folders)
    return next(filter(None, splits), "")


def of_folders(
    names: frozenset[str], given: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Folder -> split, of those side by side that are splits.

    Args:
      names: folders side by side.
      given: splits that a person gave to names.

    Returns:
      Those whose names say so alone ('test', 'seg_test'), and all of them where they agree
      but for the split ('flowers_train', 'flowers_val').
    """
    known = {name: split_of(name) for name in names} | {
        name: split for name, split in (given or {}).items() if name in names
    }
    found = {name: split for name, split in known.items() if split}
    divided = {name: divide(name) for name in names}
    if (
        len(names) > 1
        and len({rest for rest, _ in divided.values()}) == 1
        and len({split for _, split in divided.values()}) == len(names)
        and all(split for _, split in divided.values())
    ):
        return {name: split for name, (_, split) in divided.items()} | found
    return found
