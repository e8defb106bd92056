"""The command python -m atc.diffusion.fid."""

import sys

from atc.diffusion.fid.command import main

if __name__ == "__main__":
    sys.exit(main())
