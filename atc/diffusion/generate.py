"""python -m atc.diffusion.generate reducer=atc_average keep_rate=0.4; everything that can be set: conf/generate.yaml."""

from atc.cli import generate

if __name__ == "__main__":
    generate()
