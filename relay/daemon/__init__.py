"""The composition root: builds the parts, supervises them, reloads, and answers administrators on a socket."""
