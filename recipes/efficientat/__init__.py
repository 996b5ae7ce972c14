"""EfficientAT: MobileNetV3 (MN) and its dynamic sibling (DyMN), by Schmid, Koutini and Widmer."""
