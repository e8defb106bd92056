"""How the commands of reports read their arguments."""

import argparse
from typing import NoReturn

from atc.printable import printable


class Parser(argparse.ArgumentParser):
    """Answers a mistake in one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and end the process."""
        self.exit(2, f"error: {printable(message)}\n")


class AsWritten(argparse.RawDescriptionHelpFormatter):
    """Keeps the examples' lines."""
