"""The page of a method."""

import re
from collections.abc import Iterable, Sequence

from atc.report.display_names import METHODS
from atc.report.report import Report
from pages import cost, golden
from pages.described import linked
from pages.formulas import formulas, letters
from pages.kind import kind
from pages.method import CHECKOUT, Method
from pages.numbers import Part, markdown, of_method
from pages.prose import prose

PICTURES = CHECKOUT / "docs" / "pictures_of_methods"
SITES = {"after_attention": "between the attention and the MLP of a block", "before_block": "before a block"}


def page(method: Method, every: Sequence[Method], reports: Iterable[Report]) -> str:
    """The page of a method.

    Args:
        method: the method.
        every: all methods.
        reports: tables and figures, of which those with numbers of the method are shown.

    Returns:
        Markdown.
    """
    parts = [f"# {METHODS.get(method.name, method.name)}", method.doc.summary, method.doc.text, _facts(method)]
    formula = formulas().get(method.cls.__name__)
    if formula:
        parts += ["## Formula", formula, f":::{{dropdown}} Letters\n{letters()}\n:::"]
    if method.cls.reduces:
        parts += ["## On a photograph", _picture(method)]
    if method.options:
        parts += ["## Options", _options(method)]
    parts += ["## Cost", cost.table(method), *_numbers(of_method(reports, method.name))]
    if method.cited.source:
        parts += ["## As stated, and as released", _released(method)]
    parts += ["## Tests", golden.text(method, every), *_guides(method.name)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(method: Method) -> str:
    cls, stop = method.cls, "threshold=0.3" if method.cls.by_threshold else "keep_rate=0.5"
    cited = [method.cited.source, method.cited.rest if method.cited.rest.startswith("as used in") else ""]
    lines = [f"- Source: {linked(', '.join(part for part in cited if part))}"] if method.cited.source else []
    if cls.reduces:
        lines.append(f"- What it does: {kind(method)}, {SITES[cls.site]}")
        lines.append(
            f"- Needs training: {'yes: layers that it learns start at random' if cls.needs_training else 'no'}"
        )
        lines.append(f"- Log of sizes added to attention: {_yes(cls.proportional_attention)}")
        lines.append(f"- Means weighted by sizes: {_yes(cls.size_weighted)}")
    lines.append(
        f"- Class: {{py:obj}}`{method.target}`, in `{method.file}`; settings in `conf/reducer/{method.name}.yaml`"
    )
    command = "train" if cls.needs_training else "evaluate"
    blocks = " blocks=[4]" if cls.one_stage else ""
    line = (
        f"python {command}.py reducer={method.name} {stop}{blocks}"
        if cls.reduces
        else "python evaluate.py reducer=none"
    )
    return "\n".join(lines) + f"\n\n```\n{line}\n```"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _picture(method: Method) -> str:
    if method.cls.needs_training:
        return "There is no picture: without training, its layers are random."
    if not (PICTURES / f"{method.name}.webp").is_file():
        return ""
    shown = "up to a distance" if method.cls.by_threshold else "at keep rate .5"
    return (
        f"![What it does to the tokens of a photograph](../../pictures_of_methods/{method.name}.webp)\n\n"
        f"DeiT-Tiny off the shelf, {shown}. A token of several patches is shown in their mean colour, a patch that is "
        "still a token of its own keeps its picture, a pruned one is dimmed. "
        "[How it was drawn](../../pictures.md#pictures-of-the-methods)."
    )


def _options(method: Method) -> str:
    rows = ["| `reducer.` | default | |", "| --- | --- | --- |"]
    for one in method.options:
        text = "[see below](#as-stated-and-as-released)" if one.name == "as_released" else one.text.replace("|", "\\|")
        rows.append(f"| `{one.name}` | `{one.default}` | {text} |")
    return "\n".join(rows)


def _numbers(parts: Sequence[Part]) -> list[str]:
    found = []
    for heading, shown in (
        ("## Measured", [part for part in parts if part.measured]),
        ("## Published", [part for part in parts if not part.measured]),
    ):
        if shown:
            found.append(heading)
        for part in shown:
            layout = part.report.layout
            note = layout.notes[0].partition(". ")[0].rstrip(".") + "." if part.measured and layout.notes else ""
            found.append(f"[{layout.title}](../results/{layout.name}.md). {prose(note)}".strip())
            found.append(markdown(part.table))
            if part.sources:
                found.append(f"Published in: {'; '.join(prose(source) for source in part.sources)}.")
            if not part.measured:
                found.append("Ours: not run.")
    return found


def _released(method: Method) -> str:
    said = method.doc.arguments.get("as_released")
    lines = ["The default is what the paper states."]
    if said:
        lines.append(f"With `as_released=true`: {said}")
    else:
        lines.append("There is no `as_released`: no departure of the authors' code from it is known.")
    return " ".join(lines)


def _guides(name: str) -> list[str]:
    pattern = re.compile(rf"`{name}`|reducer=\[?(?:\w+,)*{name}\b|\"{name}\"")
    files = sorted((CHECKOUT / "docs").glob("*.md"))
    named = [path for path in files if path.stem != "formulas" and pattern.search(path.read_text(encoding="utf-8"))]
    links = [f"[{_heading(path.read_text(encoding='utf-8'))}](../../{path.name})" for path in named]
    return ["## See also", ", ".join(links)] if links else []


def _heading(text: str) -> str:
    found = re.search(r"^# (.+)$", text, re.M)
    return found[1] if found else ""
