"""For tests of this project and of plugins: contracts, a world without a network, a backend."""
