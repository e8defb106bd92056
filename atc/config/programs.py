"""What a user types to start a command: a script in a checkout, elsewhere the program that is installed."""

from pathlib import Path


def program(name: str) -> list[str]:
    """The words that start a command from the current directory.

    Args:
        name: "train" or "evaluate".

    Returns:
        ``["python", "evaluate.py"]`` where that file is, else ``["atc-evaluate"]``.
    """
    script = f"{name}.py"
    return ["python", script] if Path(script).is_file() else [f"atc-{name}"]
