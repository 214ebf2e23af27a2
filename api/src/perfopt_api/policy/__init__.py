"""Whether, when and how far changes may be made without anybody asking. Pure."""
