"""Training, whatever the method: crops, straight-through rounding, latent layers, schedule, the loop, resuming."""
