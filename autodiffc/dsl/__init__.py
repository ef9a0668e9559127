"""What the user writes beside operators: leaves, index notation, layers, models, optimizers."""
