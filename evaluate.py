"""python evaluate.py reducer=tome keep_rate=0.5; everything that can be set: conf/evaluate.yaml."""

from atc.cli import evaluate

if __name__ == "__main__":
    evaluate()
