"""python -m atc.dense.predict checkpoint=RUN images=FOLDER; all settings: conf/predict.yaml."""

from atc.cli import predict

if __name__ == "__main__":
    predict()
