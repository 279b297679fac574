"""`echoflow data`: looking at a dataset before anything is made of it."""
