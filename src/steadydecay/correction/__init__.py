"""Weight decay that follows the schedule (`correct_weight_decay`), and its rivals."""
