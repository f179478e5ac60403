"""Every picture that the package draws, with matplotlib imported only then."""
