"""Language models: loading, what they say of tokens, and which of their weights learn."""

import logging

# peft imports bitsandbytes where it is installed, which on some processors looks for 4-bit kernels on a hub, and
# warns that there are none; nothing here uses them.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
