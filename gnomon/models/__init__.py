"""Language models: loading, log-probabilities, scores and values of tokens, trainable weights, saving."""

import logging

# peft imports bitsandbytes if it is installed, which on some processors looks for 4-bit kernels on a hub, and
# warns that there are none; Gnomon does not use them.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
