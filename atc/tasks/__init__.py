"""What is learnt: LightningModules that hold a loss and its metrics, and how the training is driven."""
