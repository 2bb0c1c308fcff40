"""What providers, augmenters and stores are built from."""
