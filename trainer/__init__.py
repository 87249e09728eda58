"""All that runs inside Transform and Trainer."""
