"""What checks the library's annotations while the tests run."""

from beartype import BeartypeConf, beartype

# An int where a float is asked for is right, as it is in Python's own rules of typing (PEP 484).
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
