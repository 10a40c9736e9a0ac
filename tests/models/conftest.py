"""Small networks run fastest on one thread; more of them only wait for each other."""

import torch

torch.set_num_threads(1)
