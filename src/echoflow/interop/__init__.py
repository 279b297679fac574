"""Published weights of other code bases: rule tables from their layout to ours and back."""
