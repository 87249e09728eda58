"""The nets of `trainer.nets` as users of other libraries would write them."""
