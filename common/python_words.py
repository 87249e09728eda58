"""Flags and commands in the sentences of errors, as Python code writes them."""

import json
import re

# Flag -> keyword argument of the Python API. One that takes no value is True or False there.
_KEYWORDS = {
    "data": "data",
    "root": "root",
    "output": "output",
    "model": "model",
    "keep": "keep",
    "ca-file": "ca_file",
    "format": 'settings={"data.format": "..."}',
    "run": "run",
    "accept-classes": 'settings={"evaluation.class_changes": "allow"}',
    "force-push": 'settings={"serving.force_push": "..."}',
    "force": "replaces=True",
    "by-number": "by_number=True",
    "skip-unknown": "skips_unknown=True",
    "split all": 'split="all"',
    "no-cache": "use_cache=False",
}
# Commands with a function of the same name; those in the second group need no argument.
_COMMANDS = (
    "run|sweep|compare|evaluate|predict|why|lineage|data inspect|data init|data check"
)
_LISTS = "runs|nets|experiments"
_OF_A_MODEL = "promote|canary|rollback|prune|verify|history"
# What may follow a command in a sentence and is no argument of it.
VERBS = "goes|lists|looks|makes|names|reads|says|shows|starts|trains|writes|and|or"
_WORD = rf"(?!(?:{VERBS})\b)[^\s,;:()`-][^\s,;()`]*"
_VALUE = r"(?:\[[^]]*\]|[^\s,;()`']+)"
_ASSIGNMENT = rf"--(?:set|beam-option) (?:'[^']*'|(?=[^\s,;()`']+=){_VALUE})"
_FLAG = rf"--(?:{'|'.join(_KEYWORDS)})\b(?: (?:[A-Z]+|\d+)\b)?"
_CALL = re.compile(
    rf"\bslimline (?:models (?P<method>{_OF_A_MODEL})|(?P<name>{_LISTS}|{_COMMANDS})\b)"
    rf"(?P<word> {_WORD})?(?P<flags>(?: (?:{_ASSIGNMENT}|{_FLAG}))*)"
)
_ASSIGNMENTS = re.compile(rf"{_ASSIGNMENT}(?: {_ASSIGNMENT})*")
_ONE_ASSIGNMENT = re.compile(
    rf"--(set|beam-option) (?:'([^']*)'|(?=[^\s,;()`']+=)({_VALUE}))"
)
_ITEM = re.compile(r'"(?:[^"\\]|\\.)*"|[^,]+')
_ONE_FLAG = re.compile(rf"--({'|'.join(_KEYWORDS)})\b(?: ([A-Z]+|\d+)\b)?")


def in_python(text: str) -> str:
    """`text` with flags as keyword arguments, and commands as calls of `sl`.

    Commands without a function, such as `slimline weights list`, stay as they are.
    """
    return _flags(_CALL.sub(_call, text))


def _call(match: re.Match[str]) -> str:
    word = (match["word"] or "").strip()
    flags = (match["flags"] or "").strip()
    arguments = _flags(flags).replace(" settings=", ", settings=") if flags else ""
    if match["method"]:
        return f'sl.models("{word or "NAME"}").{match["method"]}({arguments})'
    name = match["name"].replace(" ", ".")
    inside = ", ".join(filter(None, (f'"{word}"' if word else "", arguments)))
    is_list = name in _LISTS.split("|")
    return f"sl.{name}({inside or ('' if is_list else '...')})"


def _flags(text: str) -> str:
    return _ONE_FLAG.sub(_keyword, _ASSIGNMENTS.sub(_settings, text))


def _settings(match: re.Match[str]) -> str:
    pairs = []
    for kind, quoted, plain in _ONE_ASSIGNMENT.findall(match[0]):
        key, _, value = (quoted or plain).partition("=")
        key = f"engine.{key}" if kind == "beam-option" else key
        pairs.append(f'"{key}": {_literal(value)}')
    return f"settings={{{', '.join(pairs)}}}"


def _literal(value: str) -> str:
    """A value of `--set` as a literal of Python; text that is no number is quoted."""
    if value in ("true", "false"):
        return value.capitalize()
    if value.startswith('"'):
        return value
    if value.startswith("["):
        items = [item.strip() for item in _ITEM.findall(value[1:-1])]
        return f"[{', '.join(map(_literal, filter(None, items)))}]"
    try:
        float(value)
    except ValueError:
        return json.dumps(value, ensure_ascii=False)
    return value


def _keyword(match: re.Match[str]) -> str:
    keyword, value = _KEYWORDS[match[1]], match[2]
    if "=" in keyword:
        return keyword
    if not value:
        return f"{keyword}=..."
    return f"{keyword}={value}" if value.isdigit() else f'{keyword}="{value}"'
