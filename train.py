"""python train.py reducer=atc_average keep_rate=0.25; everything that can be set: conf/train.yaml."""

from atc.cli import train

if __name__ == "__main__":
    train()
