"""python -m atc.diffusion.generate reducer=atc_average keep_rate=0.4; all settings: conf/generate.yaml."""

from atc.cli import generate

if __name__ == "__main__":
    generate()
