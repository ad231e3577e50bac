"""The rules, pure: no Django, no clock and no randomness of their own, no I/O. Accept, claim, judge and explain ask them."""
