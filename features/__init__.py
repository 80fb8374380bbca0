"""Point-in-time features of leads: frames in, frames out, no clock and no input or output."""
