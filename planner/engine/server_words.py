"""Server settings as the words of a command or as a file of options, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from planner.engine.server_forms import CACHE_TRANSCEIVER, FORMS, Engine, Flag, Form, ServerSettings

_OFF_SGLANG = -1  # --chunked-prefill-size that turns chunks off
_WHOLE_SGLANG = "--max-prefill-tokens"  # of a step whose prompts are whole


def words_of(engine: Engine, settings: ServerSettings, options_path: str = "") -> list[str]:
    """The command that starts a server.

    Parameters
    ----------
    engine : str
    settings : ServerSettings
    options_path : str
        Where the file of options lies, for an engine that has one.
    """
    form = FORMS[engine]
    words = [*form.launch, *([form.model_flag] if form.model_flag else []), settings.model]
    if form.options_flag:
        return [*words, form.options_flag, options_path, *form.roles[settings.role]]
    for flag in form.flags:
        words += _words(flag, _written(engine, flag, settings))
    if engine == "sglang":
        words += [] if settings.chunked else [_WHOLE_SGLANG, str(settings.max_tokens)]
        words += ["--enable-dp-attention"] if settings.data_parallel > 1 else []
    return words + list(form.roles[settings.role])


def options_of(engine: Engine, settings: ServerSettings) -> dict[str, Any]:
    """The file of options of a server; empty for an engine that takes words alone."""
    form = FORMS[engine]
    if not form.options_flag:
        return {}
    found: dict[str, Any] = {}
    for flag in form.flags:
        value = _written(engine, flag, settings)
        if value is not None and value != flag.default:
            *parents, last = flag.name.split(".")
            inner = found
            for parent in parents:
                inner = inner.setdefault(parent, {})
            inner[last] = value
    if settings.role != "mixed":
        found["cache_transceiver_config"] = dict(CACHE_TRANSCEIVER)
    return found


def unsaid(engine: Engine, settings: ServerSettings) -> list[str]:
    """What the engine cannot be told, in words."""
    form, missing = FORMS[engine], []
    for name in ("kv_precision", "quantization"):
        flag = next((f for f in form.flags if f.field == name), None)
        value = getattr(settings, name)
        if flag is None and value != "none":
            missing.append(f"{engine} quantises no weights itself: serve a checkpoint in {value}")
        elif flag is not None and flag.words and value not in flag.words and value != flag.default:
            what = "a KV cache in" if name == "kv_precision" else "weights brought to"
            missing.append(f"{engine} {form.version} has no word for {what} {value}: serve a checkpoint that has it")
    if settings.expert_parallel not in (1, settings.ranks) and engine == "vllm":
        missing.append(f"vLLM spreads experts over all {settings.ranks} ranks, not over {settings.expert_parallel}")
    if engine == "trtllm" and settings.data_parallel > 1 and settings.tensor_parallel > 1:
        missing.append("TensorRT-LLM spreads attention over all ranks, not over groups of several")
    return missing


def engine_of(words: Sequence[str]) -> Engine | None:
    """The engine that a command starts; None where it starts none."""
    joined = " ".join(words)
    for engine, form in FORMS.items():
        if " ".join(form.launch) in joined or f"dynamo.{engine}" in joined:
            return engine
    return None


def settings_of(words: Sequence[str], options: Mapping[str, Any] | None = None) -> ServerSettings:
    """Read a command, with its file of options, back into settings.

    Raises
    ------
    ValueError
        A flag without its value, or a value that is none; says which.
    """
    engine = engine_of(words)
    if engine is None:
        raise ValueError("starts none of the engines known: " + ", ".join(FORMS))
    form, given = FORMS[engine], dict(_pairs(words))
    said = _flattened(options or {}) if form.options_flag else given
    read: dict[str, Any] = {}
    for flag in form.flags:
        value = _read(flag, said, words)
        if value is not None:
            read[flag.field] = value
    return _completed(engine, form, read, given, words)


def _completed(
    engine: Engine, form: Form, read: dict[str, Any], given: Mapping[str, str], words: Sequence[str]
) -> ServerSettings:
    """Settings of what was read, numbers of all groups brought to one."""
    tensor = int(read.get("tensor_parallel", 1))
    if engine == "trtllm":
        dp = tensor if read.pop("data_parallel", False) is True else 1
        read["data_parallel"] = dp
    dp = int(read.get("data_parallel", 1))
    for flag in form.flags:
        if flag.of == "all" and flag.field in read and read[flag.field] != _OFF_SGLANG:
            read[flag.field] = int(read[flag.field]) // dp
    ranks = int(read.get("tensor_parallel", 1)) * dp
    if engine == "vllm":
        read["expert_parallel"] = ranks if read.get("expert_parallel") is True else 1
    if engine == "sglang":
        read["chunked"] = read.get("max_tokens") != _OFF_SGLANG
        if not read["chunked"]:
            read["max_tokens"] = int(given.get(_WHOLE_SGLANG, 0))
    defaults: dict[str, Any] = {
        "pipeline_parallel": 1, "data_parallel": 1, "expert_parallel": 1, "tensor_parallel": 1, "max_sequences": 0,
        "max_tokens": 0, "chunked": True, "prefix_cache": True, "memory_fraction": 0.0, "kv_precision": "auto",
        "quantization": "none", "max_length": 0,
    }  # fmt: skip
    model = given.get(form.model_flag or "--model") or given.get("--model-path") or _model(form, words)
    return ServerSettings(**(defaults | read), model=model, role=_role(form, words))


def _model(form: Form, words: Sequence[str]) -> str:
    """The first word after the launch that is no flag."""
    after = next((i for i, word in enumerate(words) if word == form.launch[-1]), -1)
    return next((word for word in words[after + 1 :] if not word.startswith("-")), "")


def _role(form: Form, words: Sequence[str]) -> Any:
    if "--disaggregation-mode" in words:  # SGLang, and every engine under Dynamo
        return words[words.index("--disaggregation-mode") + 1]
    for role in ("prefill", "decode"):
        said = form.roles[role]
        if said and all(word in words for word in said):
            return role
    return "mixed"


def _written(engine: Engine, flag: Flag, settings: ServerSettings) -> Any:
    """The value of a field as the engine counts and calls it; None where nothing is said."""
    value = getattr(settings, flag.field)
    if flag.field == "data_parallel" and flag.kind == "on":
        return value > 1 or None
    if flag.field == "expert_parallel" and flag.kind == "on":
        return value > 1 or None
    if engine == "sglang" and flag.field == "max_tokens" and not settings.chunked:
        return _OFF_SGLANG
    if flag.of == "all":
        value = value * settings.data_parallel
    if flag.words:
        return flag.words.get(value)
    return value


def _words(flag: Flag, value: Any) -> list[str]:
    if value is None or (value == flag.default and flag.kind == "value"):
        return []
    if flag.kind == "on":
        return [flag.name] if value else []
    if flag.kind == "switch":
        name = flag.name if value else flag.off
        return [name] if name else []
    return [flag.name, f"{value:g}" if isinstance(value, float) else str(value)]


def _pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    found = []
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            found.append((name, value if equals else after))
    return found


def _flattened(options: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in options.items():
        name = f"{above}.{key}" if above else str(key)
        flat |= _flattened(value, name) if isinstance(value, Mapping) else {name: value}
    return flat


def _read(flag: Flag, said: Mapping[str, Any], words: Sequence[str]) -> Any:
    """What a command or file says of one field; None where it says nothing."""
    if flag.kind == "switch":
        if flag.off in words:
            return False
        return True if flag.name in words else None
    if flag.name not in said:
        return None
    raw = said[flag.name]
    if flag.kind == "on":
        return True if raw != "false" and raw is not False else None
    if flag.words:
        back = {word: value for value, word in flag.words.items()}
        return back.get(str(raw), str(raw))
    if isinstance(raw, bool):
        return raw
    try:
        number = float(raw)
    except (TypeError, ValueError):
        raise ValueError(f"{flag.name} takes a number, not {raw!r}") from None
    return number if flag.field == "memory_fraction" else int(number)
