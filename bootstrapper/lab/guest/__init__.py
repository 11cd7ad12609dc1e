"""What runs inside the lab's small test system. Copied into it as it is: only the standard library, PyYAML and each
other may be imported here, and nothing outside the lab uses it."""
