"""What fills arrays whose rows are of several lengths: identifiers shorter than the longest, rankings that list fewer images."""

PAD = -1
