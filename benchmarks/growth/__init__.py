"""What more training scenes bring: R@1 of some rows of Table 1 against the size of the training split (`training-size`)."""
