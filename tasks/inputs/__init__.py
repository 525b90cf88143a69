"""Files or codes of a run, into w on the device."""
