"""What is wrong with an argument that Hydra's grammar cannot read, as far as its text shows it."""

import re

_PAIRS = {")": "(", "]": "[", "}": "{"}
_LIST = re.compile(r"[\[(]([^\[\](){}'\"]*)[\])]")
_CALL = re.compile(r"(choice|range|interval|glob|shuffle|sort|tag|extend_list)\(\s*\)")


def advice(override: str) -> str:
    """One line about an argument.

    Args:
        override: as it was given.

    Returns:
        What it is and what would be right.
    """
    if not override.strip():
        return "an argument is empty: settings are of the form NAME=VALUE"
    key, _, value = override.partition("=")
    text = f"text with special characters is quoted twice, as in {key}=\"'TEXT'\""
    if not _in_pairs(value):
        return f"cannot read {override}: brackets and quotes come in pairs, and {text}"
    if call := _CALL.fullmatch(value.strip()):
        return f"cannot read {override}: {call[1]}() needs values, as in {key}={call[1]}(A,B)"
    inside = _LIST.fullmatch(value.strip())
    parts = re.split(r"[,;]" if inside else ",", inside[1] if inside else value)
    kept = [part.strip() for part in parts if part.strip()]
    if inside and len(kept) > 1 and all(re.fullmatch(r"[\w.+-]+", part) for part in kept):
        return f"cannot read {override}: a list is written {key}=[{','.join(kept)}]"
    if len(kept) < len(parts) and kept:
        several = f"[{','.join(kept)}]" if inside else ",".join(kept)
        return f"cannot read {override}: there is a comma without a value beside it; {key}={several}"
    return f"cannot read {override}: {text}"


def _in_pairs(text: str) -> bool:
    opened: list[str] = []
    quote = ""
    for place, sign in enumerate(text):
        if text[place - 1 : place] == "\\":
            continue
        if quote:
            quote = "" if sign == quote else quote
        elif sign in "'\"":
            quote = sign
        elif sign in _PAIRS.values():
            opened.append(sign)
        elif sign in _PAIRS and (not opened or opened.pop() != _PAIRS[sign]):
            return False
    return not opened and not quote
