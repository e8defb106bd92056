"""Libraries that an extra of this project installs, and the one line where they are missing."""

import importlib.util


def needs(what: str, module: str, extra: str) -> None:
    """Refuse what a library is missing for, before any work is done.

    Args:
        what: that needs it, as a user names it: a setting or a command.
        module: of the library.
        extra: of this project, which installs it.

    Raises:
        ValueError: it is not installed; one line with the command that installs it.
    """
    if importlib.util.find_spec(module) is None:
        raise ValueError(f"{what} needs {module}, which is not installed: pip install 'atc-toolkit[{extra}]'")
