"""For the tests of this and other projects: small real things to talk to."""
