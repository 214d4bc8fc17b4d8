"""Layers: attention, rotary codes, SEANet, sensor geometry. They know nothing of data."""
